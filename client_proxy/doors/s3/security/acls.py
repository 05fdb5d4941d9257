"""Access control lists, read from headers and bodies.

The directory gets a list as it was sent, `{"canned": name}` or `{"Grants": […]}`. It knows the owners of bucket and
object, completes the list, stores it and decides by it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.delete_markers import check_no_marker
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import version_id_of
from client_proxy.doors.s3.stored_settings import StoredSettings

ACL = "acl"
_GRANT_HEADERS = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}
ACL_MEMBERS = frozenset({"ACL", *_GRANT_HEADERS})
_KINDS = {"id": "ID", "uri": "URI", "emailaddress": "EmailAddress"}
_GRANTEE = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^",\s]*))\s*', re.IGNORECASE)


def acl_settings(values: Values) -> dict[str, str]:
    """The setting that x-amz-acl or x-amz-grant- headers request, from the members in ACL_MEMBERS; empty without."""
    given = _from_headers(values)
    return {} if given is None else {ACL: json.dumps(given)}


class AclHandlers:
    """ACLs of buckets and objects."""

    def __init__(self, settings: StoredSettings) -> None:
        self._settings = settings

    def handlers(self) -> Handlers:
        return {
            "GetBucketAcl": self.of_bucket,
            "PutBucketAcl": self.put_of_bucket,
            "GetObjectAcl": self.of_object,
            "PutObjectAcl": self.put_of_object,
        }

    def of_bucket(self, call: S3Call) -> Values:
        return _shown(self._settings.of_bucket(call, ACL))

    def put_of_bucket(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, ACL, _asked(call))
        return {}

    def of_object(self, call: S3Call) -> Values:
        reply = self._settings.of_version(call)
        check_no_marker(call.key, reply.version, "access control list")
        return _shown(reply.settings.get(ACL))

    def put_of_object(self, call: S3Call) -> Values:
        version = self._settings.put_of_version(call, ACL, _asked(call))
        call.headers += [("x-amz-version-id", id) for id in version_id_of(version).values()]
        return {}


def _shown(value: str | None) -> Values:
    found: Values = json.loads(value or "{}")
    return {"Owner": found.get("Owner", {}), "Grants": found.get("Grants", [])}


def _asked(call: S3Call) -> str:
    """The list that PutBucketAcl or PutObjectAcl sends in headers or body."""
    by_header, body = _from_headers(call.values), call.get("AccessControlPolicy")
    if by_header is not None:
        if body is not None:
            raise S3Error("UnexpectedContent", "This request does not support content")
        return json.dumps(by_header)
    if body is None:
        raise S3Error("MissingSecurityHeader", "Your request was missing a required header: x-amz-acl")
    if not (body.get("Owner") or {}).get("ID") or "Grants" not in body:
        raise S3Error(
            "MalformedACLError", "an access control list must have an Owner with an ID, and an AccessControlList"
        )
    return json.dumps({"Owner": body["Owner"], "Grants": body["Grants"]})


def _from_headers(values: Values) -> dict[str, Any] | None:
    canned = values.get("ACL")
    grants = [
        {"Grantee": grantee, "Permission": permission}
        for member, permission in _GRANT_HEADERS.items()
        if values.get(member)
        for grantee in _grantees(values[member])
    ]
    if canned is not None and grants:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    if canned is not None:
        return {"canned": canned}
    return {"Grants": grants} if grants else None


def _grantees(header: str) -> list[dict[str, str]]:
    """The grantees that a header lists: `id="name", uri="…"`."""
    found = []
    place = 0
    while place < len(header):
        match = _GRANTEE.match(header, place)
        if match is None or (match.end() < len(header) and header[match.end()] != ","):
            raise S3Error("InvalidArgument", 'a grant header must be a list of id="account" or uri="group"')
        place = match.end() + 1
        kind = _KINDS[match[1].lower()]
        types = {"ID": "CanonicalUser", "URI": "Group", "EmailAddress": "AmazonCustomerByEmail"}
        found.append({"Type": types[kind], kind: match[2] if match[2] is not None else match[3]})
    return found
