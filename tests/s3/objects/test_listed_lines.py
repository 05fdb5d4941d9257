"""A listing's lines, which are written at once, are what the service description makes of the same values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_proxy.core.listed_columns import columns_of_files, columns_of_versions
from client_proxy.doors.s3.objects.listed_lines import url_encoded, write_objects, write_versions
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
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.messages.files import FileVersion, ListPage, VersionsPage
from lockstep_store.wire.messages.s3 import ETAG_ENTRY

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


def test_what_is_encoded() -> None:
    """Everything but letters, digits and a few characters, byte by byte."""
    assert url_encoded("a/-_.~ +&é\x01\uffff") == "a/-_.~%20%2B%26%C3%A9%01%EF%BF%BF"


def objects(versions: list[FileVersion], *, is_url: bool = False, with_owners: bool = True) -> str:
    files = columns_of_files(ListPage(versions, [], None))
    return write_objects(files, is_url=is_url, with_owners=with_owners)


def mixed(versions: list[FileVersion]) -> str:
    return write_versions(columns_of_versions(VersionsPage(versions, None)), is_url=False)


@pytest.mark.parametrize("is_url", [False, True])
@pytest.mark.parametrize("owner", [False, True])
@pytest.mark.parametrize("operation", ["ListObjects", "ListObjectsV2"])
def test_objects(operation: str, owner: bool, is_url: bool) -> None:
    """Every element in its place and escaped, with and without owners, encoded names and checksums."""
    encode = url_encoded if is_url else str
    described = [line_of(msgspec.structs.replace(version, path=encode(version.path)), owner) for version in VERSIONS]
    _, expected = write_reply(operations()[operation], {"Name": "b", "Contents": described})
    written = objects(VERSIONS, is_url=is_url, with_owners=owner)
    assert write_reply(operations()[operation], {"Name": "b", "Contents": written})[1] == expected
    assert expected.count(b"<Contents>") == len(VERSIONS)


TEXTS = st.text('a/&<"\r\x7f\ufffe\uffeeé', max_size=4)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            FileVersion,
            bucket=st.just("b"),
            path=TEXTS,
            version=TEXTS,
            digest=st.binary(min_size=32, max_size=32).map(Digest),
            size=st.integers(0, 1 << 50),
            author=TEXTS.filter(bool),
            owner=TEXTS,
            created_at=st.floats(0, 4e9),
            metadata=st.dictionaries(
                st.sampled_from([*SUMS, ETAG_ENTRY, f"{OWN}storage-class", "own"]), TEXTS, max_size=4
            ),
        ),
        max_size=5,
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_page(versions: list[FileVersion], owner: bool, is_url: bool) -> None:
    """Lines of all kinds in one page do not mix up."""
    operation = operations()["ListObjectsV2"]
    encode = url_encoded if is_url else str
    described = [line_of(msgspec.structs.replace(version, path=encode(version.path)), owner) for version in versions]
    written = objects(versions, is_url=is_url, with_owners=owner)
    assert write_reply(operation, {"Contents": written}) == write_reply(operation, {"Contents": described})


def test_versions() -> None:
    """Versions and delete markers in one order."""
    operation = operations()["ListObjectVersions"]
    for version in VERSIONS:
        name = "DeleteMarkers" if version.delete_marker else "Versions"
        _, expected = write_reply(operation, {name: [versions_line_of(version)]})
        _, alone = write_reply(operation, {"Versions": mixed([version])})
        assert alone == expected
    different = [msgspec.structs.replace(version, path=f"{n}", current=True) for n, version in enumerate(VERSIONS)]
    assert mixed(different) == "".join(mixed([version]) for version in different)


def test_the_newest_version_of_each_path() -> None:
    """The first of its path in the listing, which may have been in an earlier page."""
    paths = [("a", False), ("a", False), ("b", True), ("b", False), ("c", True)]
    versions = [msgspec.structs.replace(PLAIN, path=path, current=current) for path, current in paths]
    shown = [line.partition("</IsLatest>")[0] for line in mixed(versions).split("<IsLatest>")[1:]]
    assert shown == ["true" if current else "false" for _, current in paths]


def test_a_page_without_lines() -> None:
    """No line, no element."""
    _, body = write_reply(operations()["ListObjectsV2"], {"Name": "b", "Contents": objects([])})
    assert body.endswith(b"<Name>b</Name></ListBucketResult>")
    assert mixed([]) == ""
