"""Object metadata as S3 shows it, and the names it is stored under.

A version's metadata has the user's own (`x-amz-meta-…`, shown by every door) and, under names that no header can have,
what only S3 knows: ETag, checksums, Cache-Control and the like. A version written through another door has none of
these; its ETag is derived from its digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.protocol.timestamps import write_time
from client_proxy.doors.s3.protocol.version_ids import version_id_of, written_version_id
from lockstep_store.wire.content_types import type_of
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.s3 import CHECKSUM_ENTRIES, ETAG_ENTRY, etag_of_content

OWN = "s3:"
MAX_USER_METADATA_BYTES = 2048
UNKNOWN_TYPE = "binary/octet-stream"
# Members that reads repeat as they were written, and the names they are stored under.
_HEADERS = {
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
}
HEADER_MEMBERS = frozenset(_HEADERS)
_ENCODING = f"{OWN}content-encoding"
_AWS_CHUNKED = re.compile(r"(?:^|,)\s*aws-chunked\s*(?=,|$)", re.IGNORECASE)
_EXPIRES = f"{OWN}expires"
_REDIRECT = f"{OWN}website-redirect-location"
STORAGE_CLASS = f"{OWN}storage-class"
CHECKSUM_ALGORITHM = f"{CHECKSUM_ENTRIES}algorithm"
"""Names the algorithm of an upload's checksums in its metadata."""
CHECKSUM_TYPE = f"{CHECKSUM_ENTRIES}type"
"""Absent where it is FULL_OBJECT, unless an upload was created with it."""
_NOT_COPIED = frozenset({STORAGE_CLASS, _REDIRECT})
_CHOSEN = frozenset({_EXPIRES, STORAGE_CLASS, _REDIRECT, *(OWN + name for name in _HEADERS.values())})
"""Chosen by people; all other metadata under OWN follows from the content."""
STORAGE_CLASSES = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
"""The storage classes whose objects can be read at once: nothing is ever archived here."""
_READ_HEADERS = {name: OWN + stored for name, stored in _HEADERS.items()} | {"WebsiteRedirectLocation": _REDIRECT}
_REDIRECTS = ("/", "http://", "https://")


def user_metadata(sent: dict[str, str]) -> dict[str, str]:
    """The x-amz-meta- headers as they are stored; S3Error MetadataTooLarge above the limit."""
    own = {name.lower(): text for name, text in sent.items()}
    size = sum(len(name) + len(text.encode()) for name, text in own.items())
    if size > MAX_USER_METADATA_BYTES:
        raise S3Error(
            "MetadataTooLarge",
            f"the x-amz-meta- headers have {size} bytes; the maximum is {MAX_USER_METADATA_BYTES}",
            Size=str(size),
            MaxSizeAllowed=str(MAX_USER_METADATA_BYTES),
        )
    return own


def header_metadata(sent: Values, expires: str | None, *, is_chunked: bool) -> dict[str, str]:
    """The headers that reads repeat, from the members in HEADER_MEMBERS and Expires, which need not be a date.

    `aws-chunked` is dropped from the Content-Encoding of a body that `is_chunked`.
    """
    metadata = {OWN + _HEADERS[name]: str(value) for name, value in sent.items()}
    if is_chunked and _ENCODING in metadata:
        encoding = _without_aws_chunked(metadata.pop(_ENCODING))
        if encoding:
            metadata[_ENCODING] = encoding
    if expires is not None:
        metadata[_EXPIRES] = expires
    return metadata


def storage_metadata(storage_class: str | None, redirect: str | None) -> dict[str, str]:
    """Storage class and website redirect, which a copy does not take over from its source."""
    metadata = {}
    if redirect is not None:
        if not redirect.startswith(_REDIRECTS):
            raise S3Error(
                "InvalidRedirectLocation", "x-amz-website-redirect-location must begin with /, http:// or https://"
            )
        metadata[_REDIRECT] = redirect
    if storage_class is not None and storage_class != "STANDARD":
        if storage_class not in STORAGE_CLASSES:
            raise S3Error("InvalidStorageClass", f"the storage class {storage_class[:40]!r} is not supported")
        metadata[STORAGE_CLASS] = storage_class
    return metadata


def content_metadata(md5: str, sums: dict[str, str]) -> dict[str, str]:
    """Metadata that is known once the content was read: its ETag, and its FULL_OBJECT checksums."""
    return {ETAG_ENTRY: md5, **{checksum_name(name): value for name, value in sums.items()}}


def checksum_name(algorithm: str) -> str:
    """The name under which metadata has the checksum."""
    return f"{CHECKSUM_ENTRIES}{algorithm.lower()}"


def kept_metadata(version: FileVersion) -> dict[str, str]:
    """Metadata that a copy with the same bytes takes over from its source."""
    return {name: text for name, text in version.metadata.items() if name not in _NOT_COPIED}


def chosen_metadata(version: FileVersion) -> dict[str, str]:
    """Metadata to carry over when a copy is rewritten: what people chose, not what follows from the bytes."""
    return {name: text for name, text in kept_metadata(version).items() if not name.startswith(OWN) or name in _CHOSEN}


def content_only(version: FileVersion) -> dict[str, str]:
    """Metadata that follows from the bytes, for a copy that replaces the rest."""
    return {name: text for name, text in version.metadata.items() if name.startswith(OWN) and name not in _CHOSEN}


def without_checksums(metadata: dict[str, str]) -> dict[str, str]:
    """Return `metadata` without any checksum of the content."""
    return {name: text for name, text in metadata.items() if not name.startswith(CHECKSUM_ENTRIES)}


_CHECKSUM_MEMBERS = {checksum_name(one.name): one.member for one in checksums.ALGORITHMS.values()}


def has_checksum(version: FileVersion, algorithm: str) -> bool:
    """Whether the whole content's checksum of that algorithm is known."""
    known = checksum_name(algorithm) in version.metadata
    return known and version.metadata.get(CHECKSUM_TYPE, "FULL_OBJECT") == "FULL_OBJECT"


def etag_of(version: FileVersion) -> str:
    """Return the ETag without quotes."""
    return etag_of_content(version.metadata, version.digest)


def checksums_of(version: FileVersion) -> Values:
    """The members `ChecksumCRC32` and so on, and `ChecksumType`; empty when none was asked for on writing."""
    return checksums_in(version.metadata)


def checksums_in(metadata: dict[str, str]) -> Values:
    """The same members, from a version's metadata."""
    found = sums_in(metadata)
    if found:
        found["ChecksumType"] = metadata.get(CHECKSUM_TYPE, "FULL_OBJECT")
    return found


def sums_in(facts: dict[str, str]) -> Values:
    """The members `ChecksumCRC32` and so on in the metadata of a content or a part."""
    return {_CHECKSUM_MEMBERS[name]: value for name, value in facts.items() if name in _CHECKSUM_MEMBERS}


def default_sums(parts: Iterable[tuple[Mapping[str, str], int]]) -> list[tuple[str, int]]:
    """The checksums by the default algorithm (empty where there is none) of parts with this metadata and length."""
    name = checksum_name(checksums.DEFAULT.name)
    return [(metadata.get(name, ""), length) for metadata, length in parts]


def own_metadata(version: FileVersion) -> dict[str, str]:
    """The user's own metadata."""
    return {name: text for name, text in version.metadata.items() if not name.startswith(OWN)}


def content_type_of(version: FileVersion) -> str:
    """Return the content type that was written, that the name suggests, or that was found in the content."""
    return type_of(version.path, version.content_type, version.metadata)


def expires_of(version: FileVersion) -> str | None:
    """The Expires header as it was sent on writing."""
    return version.metadata.get(_EXPIRES)


def storage_class_of(version: FileVersion) -> str:
    return storage_class_in(version.metadata)


def storage_class_in(metadata: dict[str, str]) -> str:
    return metadata.get(STORAGE_CLASS, "STANDARD")


def written_members(version: FileVersion) -> Values:
    """The members by which the replies of writes describe the new version."""
    members = {"ETag": f'"{etag_of(version)}"', **written_version_id(version), **checksums_of(version)}
    return members | expiration_of(version)


def read_values(version: FileVersion) -> Values:
    """The members that GetObject and HeadObject share, apart from the content's length."""
    values: Values = {
        "ETag": f'"{etag_of(version)}"',
        "LastModified": version.created_at,
        "ContentType": content_type_of(version),
        "AcceptRanges": "bytes",
        "Metadata": own_metadata(version),
    }
    for name, stored in _READ_HEADERS.items():
        value = version.metadata.get(stored)
        if value is not None:
            values[name] = value
    storage_class = storage_class_of(version)
    if storage_class != "STANDARD":
        values["StorageClass"] = storage_class
    return values | version_id_of(version) | expiration_of(version)


def expiration_of(version: FileVersion) -> Values:
    """Return the member `Expiration` if a rule of the bucket's lifecycle matches the version."""
    if version.expires is None:
        return {}
    rule = quote(version.expires.rule, safe="")
    return {"Expiration": f'expiry-date="{write_time(version.expires.at, "rfc822")}", rule-id="{rule}"'}


def _without_aws_chunked(encoding: str) -> str:
    """The framing of the transfer is no encoding of the content; the rest is stored as it was sent."""
    return _AWS_CHUNKED.sub("", encoding).strip(", ")
