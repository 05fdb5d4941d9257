"""GetObjectAttributes through boto3: what is asked for, of the version that is meant, in pages."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from client_proxy.doors.s3.objects.attributes import parts_page
from lockstep_store.wire.messages.uploads import VersionPart
from tests.s3.calls import refused

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
PART = 5 * 1024**2


def test_an_object_put_in_one_piece(s3: Any, bucket: str) -> None:
    """Everything that there is, an ETag without quotes, and no parts."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ChecksumAlgorithm="SHA256", StorageClass="STANDARD_IA")
    told = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    assert told["ETag"] == hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    expected = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    assert told["Checksum"] == {"ChecksumSHA256": expected, "ChecksumType": "FULL_OBJECT"}
    assert (told["StorageClass"], told["ObjectSize"]) == ("STANDARD_IA", 7)
    assert "ObjectParts" not in told
    assert told["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    only = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    assert not {"ETag", "Checksum", "StorageClass"} & set(only)


def test_an_object_put_in_parts(s3: Any, bucket: str) -> None:
    """Each part's size and checksum, page by page; a copy tells the same."""
    bodies = [b"a" * PART, b"b" * PART, b"c"]
    id = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    sums = [base64.b64encode(hashlib.sha256(one).digest()).decode() for one in bodies]
    parts = []
    for number, one in enumerate(bodies, 1):
        upload = {"Bucket": bucket, "Key": "k", "UploadId": id, "PartNumber": number}
        done = s3.upload_part(**upload, Body=one, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumSHA256": sums[number - 1]})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=id, MultipartUpload={"Parts": parts})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    for key in ("k", "copy"):
        told = s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=ALL)
        assert (told["ObjectSize"], told["ETag"][-2:]) == (2 * PART + 1, "-3")
        assert told["Checksum"]["ChecksumType"] == "COMPOSITE"
        whole = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["ChecksumSHA256"]
        assert told["Checksum"]["ChecksumSHA256"] == whole.removesuffix("-3") != whole
        shown = told["ObjectParts"]
        assert (shown["TotalPartsCount"], shown["MaxParts"], shown["IsTruncated"]) == (3, 1000, False)
        assert [one["Size"] for one in shown["Parts"]] == [PART, PART, 1]
        assert [one["ChecksumSHA256"] for one in shown["Parts"]] == sums
    page = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1
    )["ObjectParts"]
    assert [one["PartNumber"] for one in page["Parts"]] == [2]
    assert (page["PartNumberMarker"], page["NextPartNumberMarker"], page["IsTruncated"]) == (1, 2, True)


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_together_are_the_whole(limit: int) -> None:
    """No part is left out or told twice at any page's boundary, and only the last page is not truncated."""
    parts = [VersionPart(number, size, {}) for number, size in ((2, 7), (3, 8), (5, 9), (6, 1))]
    marker, told = 0, []
    while True:
        page = parts_page(parts, limit, marker)
        told += [(one["PartNumber"], one["Size"]) for one in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert told == [(1, 7), (2, 8), (3, 9), (4, 1)]


def test_versions_and_what_is_not_there(s3: Any, make_bucket: Any) -> None:
    """The version asked for is told about; deleted keys, markers and unknown versions are refused."""
    bucket = make_bucket(versioning=True)
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"22")
    wanted = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["ObjectSize"]}
    told = s3.get_object_attributes(**wanted, VersionId=first)
    assert (told["ObjectSize"], told["VersionId"]) == (1, first)
    assert s3.get_object_attributes(**wanted)["ObjectSize"] == 2
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    assert refused(s3.get_object_attributes, **wanted) == (404, "NoSuchKey")
    assert refused(s3.get_object_attributes, **wanted, VersionId=marker) == (405, "MethodNotAllowed")
    assert refused(s3.get_object_attributes, **wanted, VersionId="0000000000000001") == (404, "NoSuchVersion")


def test_a_sealed_object_is_told_about_to_who_has_its_key(s3: Any, bucket: str) -> None:
    """Its checksum too; without the key, or with one where none is needed, the request is refused."""
    sealed = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)}
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ChecksumAlgorithm="SHA256", **sealed)
    # This operation's key is one that the SDK leaves to its caller to encode.
    md5 = base64.b64encode(hashlib.md5(bytes(32), usedforsecurity=False).digest()).decode()
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64encode(bytes(32)).decode()}
    key["SSECustomerKeyMD5"] = md5
    s3.put_object(Bucket=bucket, Key="plain", Body=b"content")
    wanted = {"Bucket": bucket, "ObjectAttributes": ["Checksum", "ObjectSize"]}
    told = s3.get_object_attributes(**wanted, Key="k", **key)
    expected = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    assert (told["Checksum"]["ChecksumSHA256"], told["ObjectSize"]) == (expected, 7)
    assert refused(s3.get_object_attributes, **wanted, Key="k") == (400, "InvalidRequest")
    assert refused(s3.get_object_attributes, **wanted, Key="plain", **key) == (400, "InvalidRequest")


def test_attributes_have_names(s3: Any, bucket: str) -> None:
    """None, or one that is unknown, is no argument; negative pages are none either."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for names in ([], ["Color"]):
        arguments = {"Bucket": bucket, "Key": "k", "ObjectAttributes": names}
        assert refused(s3.get_object_attributes, **arguments) == (400, "InvalidArgument")
    arguments = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["ObjectParts"]}
    assert refused(s3.get_object_attributes, **arguments, MaxParts=-1) == (400, "InvalidArgument")
