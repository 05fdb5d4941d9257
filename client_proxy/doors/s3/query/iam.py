"""IAM: users, roles and groups of the caller's account, with inline policies, members and access keys.

The three kinds have the same operations under different names, such as CreateUser, CreateRole and CreateGroup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.query.api import QueryCall, QueryHandler, QueryHandlers
from client_proxy.doors.s3.query.errors import QueryError
from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages import identities as im
from lockstep_store.wire.messages.base import MAX_LISTING, Nothing
from lockstep_store.wire.messages.s3 import S3KeyInfo

KINDS: dict[im.IdentityKind, str] = {"user": "User", "role": "Role", "group": "Group"}
PAGE = 100
T = TypeVar("T")
_NOT_HERE = ("PermissionsBoundary", "Tags")
"""Parameters that limit or mark an identity, and that nothing here has."""


class IamHandlers:
    """The operations of IAM on identities, policies and members."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def handlers(self) -> QueryHandlers:
        found: dict[tuple[str, str], QueryHandler] = {}
        for kind, name in KINDS.items():
            found |= {
                ("iam", f"Create{name}"): partial(self.create, kind),
                ("iam", f"Get{name}"): partial(self.get, kind),
                ("iam", f"List{name}s"): partial(self.list, kind),
                ("iam", f"Delete{name}"): partial(self.delete, kind),
                ("iam", f"Put{name}Policy"): partial(self.put_policy, kind),
                ("iam", f"Get{name}Policy"): partial(self.policy, kind),
                ("iam", f"List{name}Policies"): partial(self.policies, kind),
                ("iam", f"Delete{name}Policy"): partial(self.delete_policy, kind),
                ("iam", f"ListAttached{name}Policies"): partial(self.attached, kind),
            }
        return found | {
            ("iam", "GetGroup"): self.group,
            ("iam", "UpdateRole"): self.change_role,
            ("iam", "UpdateAssumeRolePolicy"): self.change_trust,
            ("iam", "AddUserToGroup"): partial(self.change_member, im.ADD_GROUP_MEMBER),
            ("iam", "RemoveUserFromGroup"): partial(self.change_member, im.REMOVE_GROUP_MEMBER),
            ("iam", "ListGroupsForUser"): self.groups_of_user,
        }

    # ------------------------------------------------------------ identities

    def create(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        for name in _NOT_HERE:
            if call.values.get(name):
                raise QueryError("NotImplemented", f"{call.operation.name} does not support the parameter {name}")
        values = call.values
        request = im.NewIdentityRequest(
            call.credential,
            kind,
            values[f"{KINDS[kind]}Name"],
            values.get("Path", "/"),
            values.get("Description", ""),
            values.get("AssumeRolePolicyDocument", ""),
            values.get("MaxSessionDuration", 3600),
        )
        return {KINDS[kind]: shown(self._directory.call(im.CREATE_IDENTITY, request))}

    def get(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        return {KINDS[kind]: shown(self._directory.call(im.IDENTITY, _one(kind, call)))}

    def list(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        request = im.IdentitiesRequest(
            call.credential,
            kind,
            call.values.get("PathPrefix", "/"),
            call.values.get("Marker", ""),
            min(call.values.get("MaxItems", PAGE), MAX_LISTING),
        )
        reply = self._directory.call(im.IDENTITIES, request)
        output: Values = {f"{KINDS[kind]}s": [shown(one) for one in reply.identities], "IsTruncated": reply.more}
        if reply.more:
            output["Marker"] = reply.identities[-1].name
        return output

    def delete(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        name = call.values[f"{KINDS[kind]}Name"]
        self._directory.call(im.DELETE_IDENTITY, im.DeleteIdentityRequest(call.credential, kind, name))
        return {}

    def change_role(self, call: QueryCall) -> Values:
        values = call.values
        request = im.ChangeRoleRequest(
            call.credential,
            values["RoleName"],
            values.get("Description"),
            max_session_seconds=values.get("MaxSessionDuration"),
        )
        self._directory.call(im.CHANGE_ROLE, request)
        return {}

    def change_trust(self, call: QueryCall) -> Values:
        trust = call.values["PolicyDocument"]
        self._directory.call(
            im.CHANGE_ROLE, im.ChangeRoleRequest(call.credential, call.values["RoleName"], trust=trust)
        )
        return {}

    # ------------------------------------------------------------ policies

    def put_policy(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        name, policy = call.values[f"{KINDS[kind]}Name"], call.values["PolicyName"]
        document = call.values["PolicyDocument"]
        if len(document) > im.MAX_POLICY_CHARACTERS:
            raise QueryError("LimitExceeded", f"a policy may have at most {im.MAX_POLICY_CHARACTERS} characters")
        self._directory.call(
            im.PUT_IDENTITY_POLICY, im.PutIdentityPolicyRequest(call.credential, kind, name, policy, document)
        )
        return {}

    def policy(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        document = self._directory.call(im.IDENTITY_POLICY, _policy(kind, call)).document
        name = f"{KINDS[kind]}Name"
        return {
            name: call.values[name],
            "PolicyName": call.values["PolicyName"],
            "PolicyDocument": quote(document, safe="-_.~"),
        }

    def policies(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        names = self._directory.call(im.IDENTITY_POLICIES, _one(kind, call)).policies
        return _page(call, "PolicyNames", names, lambda name: name)

    def delete_policy(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        self._directory.call(im.DELETE_IDENTITY_POLICY, _policy(kind, call))
        return {}

    def attached(self, kind: im.IdentityKind, call: QueryCall) -> Values:
        """There are no managed policies, so none is attached to anything that exists."""
        self._directory.call(im.IDENTITY, _one(kind, call))
        return {"AttachedPolicies": [], "IsTruncated": False}

    # ------------------------------------------------------------ groups

    def group(self, call: QueryCall) -> Values:
        found = self._directory.call(im.IDENTITY, _one("group", call))
        members = self._directory.call(im.GROUP_MEMBERS, _one("group", call)).identities
        return {"Group": shown(found)} | _page(
            call, "Users", [shown(one) for one in members], lambda one: one["UserName"]
        )

    def change_member(self, wire_call: Call[im.GroupMemberRequest, Nothing], call: QueryCall) -> Values:
        request = im.GroupMemberRequest(call.credential, call.values["GroupName"], call.values["UserName"])
        self._directory.call(wire_call, request)
        return {}

    def groups_of_user(self, call: QueryCall) -> Values:
        groups = self._directory.call(im.GROUPS_OF_USER, _one("user", call)).identities
        return _page(call, "Groups", [shown(one) for one in groups], lambda one: one["GroupName"])


class IamKeyHandlers:
    """The operations of IAM on access keys."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def handlers(self) -> QueryHandlers:
        return {
            ("iam", "CreateAccessKey"): self.create,
            ("iam", "ListAccessKeys"): self.list,
            ("iam", "UpdateAccessKey"): self.change,
            ("iam", "DeleteAccessKey"): self.delete,
        }

    def create(self, call: QueryCall) -> Values:
        user = call.values.get("UserName", "")
        made = self._directory.call(im.CREATE_USER_KEY, im.NewUserKeyRequest(call.credential, user))
        return {"AccessKey": _shown_key(made, user) | {"SecretAccessKey": made.secret}}

    def list(self, call: QueryCall) -> Values:
        user = call.values.get("UserName", "")
        keys = self._directory.call(im.USER_KEYS, im.UserKeysRequest(call.credential, user)).keys
        shown_keys = [_shown_key(key, user) for key in keys]
        return _page(call, "AccessKeyMetadata", shown_keys, lambda key: key["AccessKeyId"])

    def change(self, call: QueryCall) -> Values:
        values = call.values
        status = values["Status"]
        if status not in ("Active", "Inactive"):
            raise QueryError("ValidationError", "Status must be Active or Inactive")
        request = im.UserKeyStateRequest(
            call.credential, values["AccessKeyId"], values.get("UserName", ""), status == "Active"
        )
        self._directory.call(im.CHANGE_USER_KEY, request)
        return {}

    def delete(self, call: QueryCall) -> Values:
        request = im.UserKeyRequest(call.credential, call.values["AccessKeyId"], call.values.get("UserName", ""))
        self._directory.call(im.DELETE_USER_KEY, request)
        return {}


def shown(found: im.IdentityInfo) -> Values:
    """An identity as replies have it."""
    name = KINDS[found.kind]
    values: Values = {
        "Path": found.path,
        f"{name}Name": found.name,
        f"{name}Id": found.id,
        "Arn": found.arn,
        "CreateDate": found.created_at,
    }
    if found.kind == "role":
        values["AssumeRolePolicyDocument"] = quote(found.trust, safe="-_.~")
        values["MaxSessionDuration"] = int(found.max_session_seconds)
        if found.description:
            values["Description"] = found.description
    return values


def _shown_key(key: S3KeyInfo, user: str) -> Values:
    return {
        "UserName": user or key.account,
        "AccessKeyId": key.access_key_id,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": key.created_at,
    }


def _one(kind: im.IdentityKind, call: QueryCall) -> im.IdentityRequest:
    return im.IdentityRequest(call.credential, kind, call.values.get(f"{KINDS[kind]}Name", ""))


def _policy(kind: im.IdentityKind, call: QueryCall) -> im.IdentityPolicyRequest:
    return im.IdentityPolicyRequest(call.credential, kind, call.values[f"{KINDS[kind]}Name"], call.values["PolicyName"])


def _page(call: QueryCall, name: str, found: Sequence[T], position: Callable[[T], str]) -> Values:
    """A page of what the directory lists whole; a marker is the position of the last one before."""
    marker, count = call.values.get("Marker"), min(call.values.get("MaxItems", PAGE), MAX_LISTING)
    places = [position(one) for one in found]
    begin = places.index(marker) + 1 if marker in places else 0
    page = list(found[begin : begin + count])
    output: Values = {name: page, "IsTruncated": begin + count < len(found)}
    if output["IsTruncated"]:
        output["Marker"] = position(page[-1])
    return output
