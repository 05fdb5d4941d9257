"""Describes an S3 request for authorization: its action and condition keys.

They are sent to the directory with every call made for the request. The directory knows the account, the time and the
object's tags, and it decides.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from client_proxy.doors.s3.auth.gate import Principal
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.timestamps import read_amz_date, write_time
from lockstep_store.runtime.tracing import request_id
from lockstep_store.wire.messages.s3_access import FORM_OPERATION, S3Access

# Operations whose action has another name. Source: the service authorization reference, "Actions for Amazon S3".
_ACTIONS = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "RenameObject": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}
# Actions that have another name when the request names a version.
_OF_VERSIONS = {
    "DeleteObject": "DeleteObjectVersion",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObject": "GetObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "GetObjectAttributes": "GetObjectVersionAttributes",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectAcl": "PutObjectVersionAcl",
    "PutObjectTagging": "PutObjectVersionTagging",
}
_HEADERS = {
    "s3:x-amz-acl": "x-amz-acl",
    "s3:x-amz-copy-source": "x-amz-copy-source",
    "s3:x-amz-grant-full-control": "x-amz-grant-full-control",
    "s3:x-amz-grant-read": "x-amz-grant-read",
    "s3:x-amz-grant-read-acp": "x-amz-grant-read-acp",
    "s3:x-amz-grant-write": "x-amz-grant-write",
    "s3:x-amz-grant-write-acp": "x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive": "x-amz-metadata-directive",
    "s3:x-amz-object-ownership": "x-amz-object-ownership",
    "s3:x-amz-server-side-encryption": "x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id": "x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm": "x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class": "x-amz-storage-class",
    "s3:x-amz-website-redirect-location": "x-amz-website-redirect-location",
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
    "aws:useragent": "user-agent",
    "aws:referer": "referer",
}
_SOURCES = ("CopySource", "RenameSource")
_TAG = "s3:requestobjecttag/"


def action_of(operation: str, values: Values) -> str:
    """The action of an operation, such as `s3:GetObject`."""
    name = _ACTIONS.get(operation, operation)
    if values.get("VersionId") is not None:
        name = _OF_VERSIONS.get(name, name)
    return f"s3:{name}"


def access_of(
    operation: str, request: S3Request, principal: Principal, values: Values, *, is_form: bool = False
) -> S3Access:
    """Return what the directory needs to authorize an operation, with the principal's proof."""
    source = next((values[name] for name in _SOURCES if values.get(name) is not None), None)
    return S3Access(
        credential=principal.credential,
        action=action_of(operation, values),
        bucket=request.bucket,
        path=request.key,
        owner=values.get("ExpectedBucketOwner") or "",
        source_action=_source_action(source),
        source_owner=values.get("ExpectedSourceBucketOwner") or "",
        keys=_condition_keys(request, principal, values),
        operation=FORM_OPERATION if is_form else operation,
        request_id=request_id(),
    )


def _source_action(source: str | None) -> str:
    if source is None:
        return ""
    return "s3:GetObjectVersion" if "?versionId=" in source else "s3:GetObject"


def _condition_keys(request: S3Request, principal: Principal, values: Values) -> dict[str, list[str]]:
    claim = principal.claim
    headers, environ = request.headers, request.environ
    keys: dict[str, list[str]] = {key: [headers[name]] for key, name in _HEADERS.items() if name in headers}
    keys["aws:sourceip"] = [environ.get("REMOTE_ADDR") or ""]
    keys["aws:securetransport"] = ["true" if environ.get("wsgi.url_scheme") == "https" else "false"]
    if claim is not None:
        keys["s3:signatureversion"] = ["AWS4-HMAC-SHA256"]
        keys["s3:authtype"] = ["REST-HEADER" if claim.form == "header" else "REST-QUERY-STRING"]
        keys["s3:x-amz-content-sha256"] = [claim.payload]
        keys["s3:signatureage"] = [str(max(0, int(1000 * (principal.seen_at - read_amz_date(claim.amz_date)))))]
    elif principal.access_key:
        keys["s3:signatureversion"] = ["AWS4-HMAC-SHA256"]
        keys["s3:authtype"] = ["POST"]
    source = keys.get("s3:x-amz-copy-source")
    if source is not None:  # policies compare it without leading slash and escapes
        keys["s3:x-amz-copy-source"] = [unquote(source[0]).removeprefix("/")]
    keys |= _lock_keys(values)
    tags = _tags(values)
    if tags:
        keys |= {f"{_TAG}{name.lower()}": [value] for name, value in tags}
        keys["s3:requestobjecttagkeys"] = [name for name, _ in tags]
    return keys


def _lock_keys(values: Values) -> dict[str, list[str]]:
    """The lock in a request's body; writes have it in headers, with the date in any form."""
    retention, hold = values.get("Retention") or {}, values.get("LegalHold") or {}
    until = retention.get("RetainUntilDate", values.get("ObjectLockRetainUntilDate"))
    said = {
        "s3:object-lock-mode": retention.get("Mode"),
        "s3:object-lock-retain-until-date": None if until is None else write_time(until, "iso8601"),
        "s3:object-lock-legal-hold": hold.get("Status"),
    }
    return {key: [value] for key, value in said.items() if value is not None}


def _tags(values: Values) -> list[tuple[str, str]]:
    """The tags in a write's header or body. A copy that keeps its source's tags has none, whatever its header says."""
    given = values.get("Tagging")
    if values.get("CopySource") is not None and values.get("TaggingDirective") != "REPLACE":
        return []
    if isinstance(given, dict):
        return [(tag["Key"], tag.get("Value") or "") for tag in given.get("TagSet") or []]
    return parse_qsl(given, keep_blank_values=True) if isinstance(given, str) else []
