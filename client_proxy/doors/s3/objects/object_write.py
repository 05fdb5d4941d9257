"""ObjectWrite: what a request specifies about the version that it creates, parsed once.

PutObject, PostObject, CopyObject and CreateMultipartUpload read their request here, and nothing behind them looks at
the request again. Each kind of setting has its own small parser, which gets only the parameters it needs, and is not
called when the request has none of them.
"""

from __future__ import annotations

import msgspec

from client_proxy.doors.s3.auth.claims import STREAMING
from client_proxy.doors.s3.call import S3Call
from client_proxy.doors.s3.objects.body_checks import unsigned_framing
from client_proxy.doors.s3.objects.conditional import WriteConditions
from client_proxy.doors.s3.objects.object_lock import LOCK_MEMBERS, lock_settings
from client_proxy.doors.s3.objects.object_metadata import (
    HEADER_MEMBERS,
    UNKNOWN_TYPE,
    header_metadata,
    storage_metadata,
    user_metadata,
)
from client_proxy.doors.s3.objects.tagging import header_tags, tag_settings
from client_proxy.doors.s3.protocol.checksums import Algorithm, by_name
from client_proxy.doors.s3.protocol.parameters import Values, select
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.security.acls import ACL_MEMBERS, acl_settings
from client_proxy.doors.s3.security.encryption import (
    ENCRYPTION_MEMBERS,
    NOT_REQUESTED,
    RequestedEncryption,
    read_encryption,
)
from lockstep_store.wire.names import check_key

LOCK_HEADER = "x-lockstep-lock"


class NewObject(msgspec.Struct, frozen=True):
    """What a request sets on a new version, apart from its content."""

    content_type: str
    metadata: dict[str, str]
    """The user's own, and under names of ours the headers that reads repeat."""
    settings: dict[str, str]
    """Tags, retention, legal hold and ACL, which may change later."""
    encryption: RequestedEncryption
    checksum: Algorithm | None
    """The checksum to store beside those that the client sends."""


class ObjectWrite(msgspec.Struct, frozen=True):
    """A version to create: where, with what, and on which conditions."""

    credential: str
    bucket: str
    path: str
    version: NewObject
    conditions: WriteConditions
    expects_continue: bool = False
    """The client sends the body after `100 Continue`."""


def read_object_write(call: S3Call, *, with_metadata: bool = True, with_tags: bool = True) -> ObjectWrite:
    """The write that a call requests; S3Error names a parameter that is not valid."""
    return ObjectWrite(
        credential=call.credential,
        bucket=call.bucket,
        path=check_key(call.key),
        version=read_new_version(call, with_metadata=with_metadata, with_tags=with_tags),
        conditions=read_write_conditions(call),
        expects_continue="expect" in call.request.headers,
    )


def read_new_version(call: S3Call, *, with_metadata: bool = True, with_tags: bool = True) -> NewObject:
    """Return what a call sets on its version. A copy that keeps its source's metadata or tags reads none."""
    values = call.values
    algorithm = values.get("ChecksumAlgorithm")
    encryption = NOT_REQUESTED
    if ENCRYPTION_MEMBERS & values.keys():
        encryption = read_encryption(values, anonymous=call.principal.anonymous)
    return NewObject(
        content_type=values.get("ContentType") or UNKNOWN_TYPE,
        metadata=_metadata(call, with_metadata=with_metadata),
        settings=_settings(values, with_tags=with_tags),
        encryption=encryption,
        checksum=by_name(algorithm) if algorithm else None,
    )


def read_write_conditions(call: S3Call) -> WriteConditions:
    """The x-lockstep-lock, If-Match and If-None-Match headers."""
    text = call.request.headers.get(LOCK_HEADER)
    number = None if text is None else _lock_number(text)
    return WriteConditions(number, call.values.get("IfMatch"), call.values.get("IfNoneMatch"))


def _metadata(call: S3Call, *, with_metadata: bool) -> dict[str, str]:
    values, expires = call.values, call.request.headers.get("expires")
    metadata: dict[str, str] = {}
    if "StorageClass" in values or "WebsiteRedirectLocation" in values:
        metadata |= storage_metadata(values.get("StorageClass"), values.get("WebsiteRedirectLocation"))
    if with_metadata and values.get("Metadata"):
        metadata |= user_metadata(values["Metadata"])
    if with_metadata and (HEADER_MEMBERS & values.keys() or expires is not None):
        claim = call.principal.claim or unsigned_framing(call.request.headers)
        is_chunked = claim is not None and claim.payload in STREAMING
        metadata |= header_metadata(select(values, HEADER_MEMBERS), expires, is_chunked=is_chunked)
    return metadata


def _settings(values: Values, *, with_tags: bool) -> dict[str, str]:
    settings: dict[str, str] = {}
    if with_tags and values.get("Tagging"):
        settings |= tag_settings(header_tags(values["Tagging"]))
    if LOCK_MEMBERS & values.keys():
        settings |= lock_settings(select(values, LOCK_MEMBERS))
    if ACL_MEMBERS & values.keys():
        settings |= acl_settings(select(values, ACL_MEMBERS))
    return settings


def _lock_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise S3Error("InvalidArgument", f"{LOCK_HEADER} must be a lock number", ArgumentName=LOCK_HEADER)
    return int(text)
