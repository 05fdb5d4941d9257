"""Version ids as S3 clients see them."""

from __future__ import annotations

import re

from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.wire.messages.files import FileVersion

NULL_VERSION = "null"
"""The id of a version written while its bucket kept no versions."""
# Opaque, and never a word, as on any S3 server: an id that cannot exist gets another error than an unknown one.
_VERSION_ID = re.compile(r"(?=.*[0-9])[A-Za-z0-9._-]{16,1024}")


def check_version_id(text: str, argument: str = "versionId") -> str:
    """Return `text` when it is a possible version id; S3Error InvalidArgument otherwise."""
    if text != NULL_VERSION and not _VERSION_ID.fullmatch(text):
        raise S3Error(
            "InvalidArgument",
            f"{argument} {text[:64]!r} is not a valid version id",
            ArgumentName=argument,
            ArgumentValue=text[:256],
        )
    return text


def written_version_id(version: FileVersion) -> dict[str, str]:
    """The member `VersionId` of a write's reply; as in S3, empty while the bucket does not keep versions."""
    return {} if version.null_version else {"VersionId": version.version}


def version_id_of(version: FileVersion) -> dict[str, str]:
    """The member `VersionId`; empty when the bucket has never kept versions."""
    if version.null_version:
        return {"VersionId": NULL_VERSION} if version.bucket_versioning != "off" else {}
    return {"VersionId": version.version}
