"""Access control lists: canned lists, grants, and what a grant allows. Pure.

Stored and returned in the protocol's structure: `{"Owner": {"ID": …}, "Grants": [{"Grantee": {…}, "Permission": …}]}`.
An account's canonical id is its name. An anonymous writer's name is empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

Acl = dict[str, Any]
Scope = Literal["bucket", "object"]

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS = (ALL_USERS, AUTHENTICATED, LOG_DELIVERY)
PUBLIC_GROUPS = (ALL_USERS, AUTHENTICATED)
PERMISSIONS = ("FULL_CONTROL", "WRITE", "WRITE_ACP", "READ", "READ_ACP")
MAX_GRANTS = 100
CANNED_FOR_OWNER = "bucket-owner-full-control"

# What each permission lets its grantee do. Source: the user guide's table of permissions and actions.
_ALLOWS: dict[Scope, dict[str, frozenset[str]]] = {
    "bucket": {
        "READ": frozenset({"s3:listbucket", "s3:listbucketversions", "s3:listbucketmultipartuploads"}),
        "WRITE": frozenset(
            {
                "s3:putobject",
                "s3:deleteobject",
                "s3:abortmultipartupload",
                "s3:listmultipartuploadparts",
            }
        ),
        "READ_ACP": frozenset({"s3:getbucketacl"}),
        "WRITE_ACP": frozenset({"s3:putbucketacl"}),
    },
    "object": {
        "READ": frozenset(
            {"s3:getobject", "s3:getobjectversion", "s3:getobjectattributes", "s3:getobjectversionattributes"}
        ),
        "READ_ACP": frozenset({"s3:getobjectacl", "s3:getobjectversionacl"}),
        "WRITE_ACP": frozenset({"s3:putobjectacl", "s3:putobjectversionacl"}),
    },
}
_CANNED: dict[str, list[tuple[str, str]]] = {
    "private": [],
    "public-read": [(ALL_USERS, "READ")],
    "public-read-write": [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")],
    "authenticated-read": [(AUTHENTICATED, "READ")],
    "log-delivery-write": [(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")],
    "aws-exec-read": [],
    "bucket-owner-read": [],
    "bucket-owner-full-control": [],
}


class BadAcl(ValueError):
    """An invalid list. `code` is S3's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def default(owner: str) -> Acl:
    """Return the default list: full control for the owner."""
    return {"Owner": _user(owner), "Grants": [_grant(owner, "FULL_CONTROL")]}


def is_private(asked: str) -> bool:
    """Whether the list in a request grants nothing to anybody but the owner."""
    try:
        return read_asked(asked) == {"canned": "private"}
    except BadAcl:
        return False


def settled(asked: str, scope: Scope, owner: str, bucket_owner: str, is_account: Callable[[str], bool]) -> Acl:
    """Return the list that a request asks for: `{"canned": name}`, or `{"Grants": […]}` with an optional Owner.

    Raises BadAcl if it is invalid; the code is AccessDenied if the request names another owner.
    """
    given = read_asked(asked)
    if "canned" in given:
        return _canned(_text(given, "canned"), scope, owner, bucket_owner)
    named = _part(given, "Owner").get("ID")
    if named is not None and named != owner:
        raise BadAcl("AccessDenied", "the Owner of an access control list cannot be changed")
    grants = [] if given.get("Grants") is None else given["Grants"]
    if not isinstance(grants, list) or not all(isinstance(grant, dict) for grant in grants):
        raise BadAcl("MalformedACLError", "the Grants of an access control list must be a list of grants")
    if len(grants) > MAX_GRANTS:
        raise BadAcl("MalformedACLError", f"an access control list may have at most {MAX_GRANTS} grants")
    return {"Owner": _user(owner), "Grants": [_checked(grant, is_account) for grant in grants]}


def read_asked(asked: str) -> dict[str, Any]:
    """Return the list in a request as it came; BadAcl unless it is an object."""
    try:
        given = json.loads(asked)
    except (ValueError, RecursionError) as error:
        raise BadAcl("MalformedACLError", "the access control list is malformed") from error
    if not isinstance(given, dict):
        raise BadAcl("MalformedACLError", "an access control list must be an object")
    return given


def _part(given: dict[str, Any], name: str) -> dict[str, Any]:
    found = given.get(name) or {}
    if not isinstance(found, dict):
        raise BadAcl("MalformedACLError", f"the {name} in an access control list must be an object")
    return found


def _text(given: dict[str, Any], name: str) -> str:
    found = given.get(name) or ""
    if not isinstance(found, str):
        raise BadAcl("MalformedACLError", f"the {name} in an access control list must be text")
    return found


def _canned(name: str, scope: Scope, owner: str, bucket_owner: str) -> Acl:
    if name not in _CANNED:
        raise BadAcl("InvalidArgument", f"there is no canned ACL {name[:40]!r}")
    found = default(owner)
    found["Grants"] += [_grant(uri, permission) for uri, permission in _CANNED[name]]
    if scope == "object" and owner != bucket_owner:
        if name == "bucket-owner-read":
            found["Grants"].append(_grant(bucket_owner, "READ"))
        elif name == CANNED_FOR_OWNER:
            found["Grants"].append(_grant(bucket_owner, "FULL_CONTROL"))
    return found


def _checked(grant: dict[str, Any], is_account: Callable[[str], bool]) -> Any:
    grantee, permission = _part(grant, "Grantee"), _text(grant, "Permission")
    if permission not in PERMISSIONS:
        raise BadAcl("MalformedACLError", "a grant needs a Permission")
    kind, id, uri, address = (_text(grantee, name) for name in ("Type", "ID", "URI", "EmailAddress"))
    if kind == "AmazonCustomerByEmail" or address:
        if not address or not is_account(address):
            raise BadAcl("UnresolvableGrantByEmailAddress", "no account here has this e-mail address as its name")
        return _grant(address, permission)
    if kind == "Group" or (not kind and uri):
        if uri not in GROUPS:
            raise BadAcl("InvalidArgument", "Invalid group uri")
        return _grant(uri, permission)
    if kind not in ("CanonicalUser", "") or not id:
        raise BadAcl("MalformedACLError", "a Grantee is a CanonicalUser with an ID, or a Group with a URI")
    if not is_account(id):
        raise BadAcl("InvalidArgument", f"Invalid id: there is no account {id[:64]!r}")
    return _grant(id, permission)


def allows(acl: Acl, scope: Scope, account: str, action: str, *, ignore_public: bool = False) -> bool:
    """Whether a grant allows `account` (empty: an anonymous caller) the action.

    The owner may always read and write the list itself.
    """
    wanted = action.lower()
    if account and acl["Owner"]["ID"] == account:
        by_owner = _ALLOWS[scope]
        if wanted in by_owner["READ_ACP"] or wanted in by_owner["WRITE_ACP"]:
            return True
    return any(
        _covers(grant["Permission"], scope, wanted) and _includes(grant["Grantee"], account, ignore_public)
        for grant in acl["Grants"]
    )


def concerns_objects(action: str) -> bool:
    """Whether an object's own list can grant the action at all."""
    return _covers("FULL_CONTROL", "object", action.lower())


def _covers(permission: str, scope: Scope, action: str) -> bool:
    by_permission = _ALLOWS[scope]
    if permission == "FULL_CONTROL":
        return any(action in actions for actions in by_permission.values())
    return action in by_permission.get(permission, ())


def _includes(grantee: dict[str, str], account: str, ignore_public: bool) -> bool:
    uri = grantee.get("URI")
    if uri is None:
        return bool(account) and grantee.get("ID") == account
    if ignore_public:
        return False
    return uri == ALL_USERS or (uri == AUTHENTICATED and bool(account))


def is_public(acl: Acl) -> bool:
    """Whether the list grants anything to everybody, or to everybody with an account."""
    return any(grant["Grantee"].get("URI") in PUBLIC_GROUPS for grant in acl["Grants"])


def is_only_owners(acl: Acl) -> bool:
    """Whether the list grants nothing to anybody but its owner."""
    return all(grant["Grantee"].get("ID") == acl["Owner"]["ID"] for grant in acl["Grants"])


def _user(name: str) -> dict[str, str]:
    return {"ID": name, "DisplayName": name}


def _grant(grantee: str, permission: str) -> dict[str, Any]:
    if grantee in GROUPS:
        return {"Grantee": {"Type": "Group", "URI": grantee}, "Permission": permission}
    return {"Grantee": {"Type": "CanonicalUser", **_user(grantee)}, "Permission": permission}
