"""Listings of parts and of uploads, in pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.multipart.parts import begin, send


def test_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    """Pages of any length give every part once, by number, and say truly whether there is more."""
    id = begin(s3, bucket)
    numbers = [1, 2, 5, 9, 10_000]
    sent = {n: send(s3, bucket, id, n, b"%d" % n) for n in numbers}
    for length in (1, 2, 4, 5, 6):
        found, marker = [], 0
        while True:
            page = s3.list_parts(Bucket=bucket, Key="k", UploadId=id, MaxParts=length, PartNumberMarker=marker)
            assert len(page["Parts"]) <= length
            found += page["Parts"]
            assert page["IsTruncated"] == (found[-1]["PartNumber"] != numbers[-1])
            if not page["IsTruncated"]:
                break
            marker = page["NextPartNumberMarker"]
        assert [part["PartNumber"] for part in found] == numbers
        assert all(part["ETag"] == sent[part["PartNumber"]]["ETag"] for part in found)
        assert all(part["Size"] == len(str(part["PartNumber"])) for part in found)
    assert page["Owner"]["ID"] == page["Initiator"]["ID"] == "admin"
    empty = s3.list_parts(Bucket=bucket, Key="k", UploadId=id, MaxParts=0)
    assert ("Parts" in empty, empty["IsTruncated"]) == (False, False)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("prefix", ["", "a/", "a"])
def test_uploads_are_listed_in_pages(s3: Any, bucket: str, prefix: str, delimiter: str) -> None:
    """Pages of any length give what one page gives: by key, then by age, folders once."""
    keys = ["a/1", "a/1", "a/b/2", "a/b/3", "a", "ab", "b/1", "b/2", "c", "ä ö"]
    ids = [(key, begin(s3, bucket, key)) for key in keys]
    mine = sorted((one for one in ids if one[0].startswith(prefix)), key=lambda one: one[0].encode())
    expected: list[tuple[str, str]] = []
    for key, id in mine:
        cut = key.find("/", len(prefix)) if delimiter else -1
        entry = (key, id) if cut < 0 else (key[: cut + 1], "")
        if not expected or expected[-1] != entry:
            expected.append(entry)
    for length in (1, 2, 3, 1000):
        found: list[tuple[str, str]] = []
        markers: dict[str, str] = {}
        while True:
            page = s3.list_multipart_uploads(
                Bucket=bucket, Prefix=prefix, Delimiter=delimiter, MaxUploads=length, **markers
            )
            entries = [(one["Key"], one["UploadId"]) for one in page.get("Uploads", [])]
            entries += [(one["Prefix"], "") for one in page.get("CommonPrefixes", [])]
            found += sorted(entries, key=lambda one: (one[0].encode(), one[1]))
            if not page["IsTruncated"]:
                break
            markers = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextUploadIdMarker"):
                markers["UploadIdMarker"] = page["NextUploadIdMarker"]
        assert found == expected
    if not prefix and not delimiter:
        after = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a/1")["Uploads"]
        assert [one["Key"] for one in after] == sorted((k for k in keys if k > "a/1"), key=str.encode)
        assert {one["Owner"]["ID"] for one in after} == {"admin"}
    s3.delete_bucket(Bucket=bucket)  # uploads under way do not hold a bucket, and go with it
    s3.create_bucket(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
