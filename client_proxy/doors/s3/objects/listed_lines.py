"""The lines of a listing, written as XML at once: a page has a thousand of them.

`tests/s3/objects/test_listed_lines.py` compares them with what the service description makes of the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from client_proxy.doors.s3.objects.object_metadata import checksums_of, etag_of, storage_class_of
from client_proxy.doors.s3.protocol.replies import Written, escape
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.protocol.version_ids import NULL_VERSION
from lockstep_store.wire.messages.files import FileVersion

Encode = Callable[[str], str]
"""Writes a name as the request wants it, with or without percent-encoding."""


def write_objects(versions: Iterable[FileVersion], encode: Encode, *, owner: bool) -> Written:
    """Return the `Contents` of ListObjects and ListObjectsV2."""
    return Written("".join([_object(version, encode, owner) for version in versions]))


def write_versions(versions: Iterable[FileVersion], encode: Encode) -> Written:
    """Return the `Version` and `DeleteMarker` elements of ListObjectVersions, mixed as the versions are."""
    write = {False: _version, True: _delete_marker}
    return Written("".join([write[version.delete_marker](version, encode) for version in versions]))


def _object(version: FileVersion, encode: Encode, owner: bool) -> str:
    return (
        f"<Contents><Key>{escape(encode(version.path))}</Key>{_changed(version)}{_etag(version)}{_checksum(version)}"
        f"{_size(version)}{_owner(version) if owner else ''}</Contents>"
    )


def _version(version: FileVersion, encode: Encode) -> str:
    return f"<Version>{_etag(version)}{_size(version)}{_identity(version, encode)}{_owner(version)}</Version>"


def _delete_marker(version: FileVersion, encode: Encode) -> str:
    return f"<DeleteMarker>{_owner(version)}{_identity(version, encode)}</DeleteMarker>"


def _identity(version: FileVersion, encode: Encode) -> str:
    id = NULL_VERSION if version.null_version else version.version
    latest = "true" if version.current else "false"
    return (
        f"<Key>{escape(encode(version.path))}</Key><VersionId>{escape(id)}</VersionId>"
        f"<IsLatest>{latest}</IsLatest>{_changed(version)}"
    )


def _changed(version: FileVersion) -> str:
    return f"<LastModified>{write_time(version.created_at, 'iso8601')}</LastModified>"


def _etag(version: FileVersion) -> str:
    return f"<ETag>&quot;{escape(etag_of(version))}&quot;</ETag>"


def _size(version: FileVersion) -> str:
    return f"<Size>{version.size}</Size><StorageClass>{escape(storage_class_of(version))}</StorageClass>"


def _checksum(version: FileVersion) -> str:
    sums = checksums_of(version)
    if not sums:
        return ""
    kind = escape(sums.pop("ChecksumType"))
    names = [f"<ChecksumAlgorithm>{name.removeprefix('Checksum')}</ChecksumAlgorithm>" for name in sums]
    return f"{''.join(names)}<ChecksumType>{kind}</ChecksumType>"


def _owner(version: FileVersion) -> str:
    name = escape(version.owner or version.author)
    return f"<Owner><DisplayName>{name}</DisplayName><ID>{name}</ID></Owner>"
