"""Sources of copies and renames: read from the header, looked up, and looked up again when overwritten."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from client_proxy.core.requests import Stat
from client_proxy.doors.s3.objects.conditional import Conditions, VersionLookup, check_copy_source
from client_proxy.doors.s3.protocol.error_mapping import as_s3_error
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.version_ids import check_version_id
from client_proxy.doors.s3.security.encryption import CUSTOMER_KEY_MEMBERS, CustomerKey, customer_key
from lockstep_store.wire.errors import LockstepError, NotFound, PreconditionFailed
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.names import check_key

MAX_TRIES = 10
"""How often a source that is overwritten during the copy is looked up again."""
_VERSION = re.compile(r"\?versionId=([^&]*)$")
_PREFIX = "CopySource"
R = TypeVar("R")


@dataclass(frozen=True)
class ObjectSource:
    """What to copy; without `version` the current one."""

    bucket: str
    key: str
    version: str | None = None


def read_source(text: str, header: str = "x-amz-copy-source") -> ObjectSource:
    """The source in a header: `bucket/key`, percent-encoded, perhaps with a leading slash and `?versionId=`."""
    found = _VERSION.search(text)
    address = text[: found.start()] if found else text
    try:
        name = unquote_to_bytes(address.encode("latin-1")).decode("utf-8")
        version = unquote_to_bytes(found[1]).decode("utf-8") if found else None
    except UnicodeError as error:
        raise _bad_source(header, "it is not UTF-8, percent-encoded") from error
    if name.startswith("arn:"):
        raise S3Error("NotImplemented", f"{header} names an access point; access points are not supported")
    bucket, _, key = name.removeprefix("/").partition("/")
    if not bucket or not key:
        raise _bad_source(header, "it must be bucket/key")
    if version is not None:
        check_version_id(version, f"{header}: versionId")
    return ObjectSource(bucket, check_key(key), version)


def source_key(values: Values) -> CustomerKey | None:
    """The customer's key that the source is encrypted with; S3Error when it is no valid key."""
    names = {name: f"{_PREFIX}{name}" for name in CUSTOMER_KEY_MEMBERS}
    return customer_key({name: values[sent] for name, sent in names.items() if sent in values})


def source_version(
    files: VersionLookup, credential: str, source: ObjectSource, conditions: Conditions, *, with_settings: bool = False
) -> FileVersion:
    """The version to copy; S3Error when there is none or a condition fails."""
    try:
        version = files.stat(
            Stat(credential, source.bucket, source.key, version=source.version, with_settings=with_settings)
        )
    except LockstepError as error:
        raise as_s3_error(error, version_asked=source.version is not None) from error
    if version.delete_marker:
        raise S3Error("InvalidRequest", "the version to copy is a delete marker, which has no content")
    check_copy_source(version, conditions)
    return version


def while_overwritten(source: ObjectSource, attempt: Callable[[], R]) -> R:
    """The result of `attempt`, which is repeated while the version it looked up is overwritten before the copy."""
    for _ in range(MAX_TRIES):
        try:
            return attempt()
        except NotFound as error:
            if source.version is not None or error.facts.get("bucket") != source.bucket:
                raise as_s3_error(error, version_asked=source.version is not None) from error
        except PreconditionFailed as error:
            if not error.facts.get("source"):
                raise
    raise S3Error("SlowDown", f"{source.key!r} is overwritten all the time; try again", {"Retry-After": "1"})


def _bad_source(header: str, why: str) -> S3Error:
    return S3Error("InvalidArgument", f"{header} cannot be read: {why}", ArgumentName=header)
