"""A listing's lines, which are written at once, are what the service description makes of the same values."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from client_proxy.doors.s3.objects.listed_lines import write_objects, write_versions
from client_proxy.doors.s3.objects.object_metadata import (
    CHECKSUM_TYPE,
    OWN,
    checksum_name,
    checksums_of,
    etag_of,
    storage_class_of,
)
from client_proxy.doors.s3.protocol.operations import operations
from client_proxy.doors.s3.protocol.replies import write_reply
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.messages.files import FileVersion

PLAIN = FileVersion(
    bucket="b",
    path="a.txt",
    version="v1",
    digest=chunk_digest(b"a"),
    size=1,
    author="ann",
    created_at=1790000000.125,
    cursor=1,
    content_type="text/plain",
    metadata={},
    lock_number=0,
)
SUMS = {checksum_name("CRC32"): "AAAAAA==", checksum_name("SHA256"): "BBBB", CHECKSUM_TYPE: "COMPOSITE"}
VERSIONS = [
    PLAIN,
    msgspec.structs.replace(PLAIN, metadata={**SUMS, f"{OWN}storage-class": "GLACIER_IR", "own": "<&>"}),
    msgspec.structs.replace(PLAIN, metadata={checksum_name("CRC64NVME"): "AAAAAA=="}),
    msgspec.structs.replace(PLAIN, path='a & <b> "c"\r\x01/é\U0001f600', owner="Ö & Co", author="bob", size=1 << 40),
    msgspec.structs.replace(PLAIN, current=False, null_version=True, created_at=0.0),
    msgspec.structs.replace(PLAIN, delete_marker=True, current=False, owner="<root>"),
]


def line_of(version: FileVersion, owner: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "Key": version.path,
        "LastModified": version.created_at,
        "ETag": f'"{etag_of(version)}"',
        "Size": version.size,
        "StorageClass": storage_class_of(version),
    }
    sums = checksums_of(version)
    if sums:
        line["ChecksumAlgorithm"] = [name.removeprefix("Checksum") for name in sums if name != "ChecksumType"]
        line["ChecksumType"] = sums["ChecksumType"]
    if owner:
        name = version.owner or version.author
        line["Owner"] = {"ID": name, "DisplayName": name}
    return line


def versions_line_of(version: FileVersion) -> dict[str, Any]:
    line = line_of(version, True)
    hidden = ("ETag", "Size", "StorageClass") if version.delete_marker else ()
    for name in ("ChecksumAlgorithm", "ChecksumType", *hidden):
        line.pop(name, None)
    line["VersionId"] = "null" if version.null_version else version.version
    line["IsLatest"] = version.current
    return line


def encoded(text: str) -> str:
    return quote(text, safe="/-_.~")


@pytest.mark.parametrize("encode", [str, encoded])
@pytest.mark.parametrize("owner", [False, True])
@pytest.mark.parametrize("operation", ["ListObjects", "ListObjectsV2"])
def test_objects(operation: str, owner: bool, encode: Any) -> None:
    """Every element in its place and escaped, with and without owners, encoded names and checksums."""
    described = [line_of(msgspec.structs.replace(version, path=encode(version.path)), owner) for version in VERSIONS]
    _, expected = write_reply(operations()[operation], {"Name": "b", "Contents": described})
    written = write_objects(VERSIONS, encode, owner=owner)
    assert write_reply(operations()[operation], {"Name": "b", "Contents": written})[1] == expected
    assert expected.count(b"<Contents>") == len(VERSIONS)


def test_versions() -> None:
    """Versions and delete markers in one order."""
    operation = operations()["ListObjectVersions"]
    written = write_versions(VERSIONS, str)
    for version in VERSIONS:
        name = "DeleteMarkers" if version.delete_marker else "Versions"
        _, expected = write_reply(operation, {name: [versions_line_of(version)]})
        _, alone = write_reply(operation, {"Versions": write_versions([version], str)})
        assert alone == expected
    assert written == "".join(write_versions([version], str) for version in VERSIONS)


def test_a_page_without_lines() -> None:
    """No line, no element."""
    _, body = write_reply(operations()["ListObjectsV2"], {"Name": "b", "Contents": write_objects([], str, owner=True)})
    assert body.endswith(b"<Name>b</Name></ListBucketResult>")
