"""Reading and copying parts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.s3.calls import refused
from tests.s3.multipart.parts import begin, complete, md5, send


@pytest.mark.usefixtures("small_parts")
def test_parts_can_be_read(s3: Any, bucket: str) -> None:
    """partNumber gives that part's bytes, its place and how many there are; no other part is there."""
    id = begin(s3, bucket)
    data = [b"one", b"three", b"five!!"]
    parts = [send(s3, bucket, id, n, piece) for n, piece in zip((1, 3, 5), data, strict=True)]
    done = complete(s3, bucket, id, parts)
    for call in (s3.get_object, s3.head_object):
        got = call(Bucket=bucket, Key="k", PartNumber=2)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert (got["PartsCount"], got["ContentLength"], got["ETag"]) == (3, 5, done["ETag"])
        assert got["ContentRange"] == "bytes 3-7/14"
    for number, piece in enumerate(data, 1):
        assert s3.get_object(Bucket=bucket, Key="k", PartNumber=number)["Body"].read() == piece
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=4) == (416, "InvalidPartNumber")
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1") == (400, "InvalidRequest")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"12345")
    assert s3.get_object(Bucket=bucket, Key="plain", PartNumber=1)["Body"].read() == b"12345"
    assert refused(s3.get_object, Bucket=bucket, Key="plain", PartNumber=2) == (416, "InvalidPartNumber")


@pytest.mark.usefixtures("small_parts")
def test_parts_can_be_copied(s3: Any, make_bucket: Callable[..., str], seed: int) -> None:
    """From a whole object, a range, and an old version; conditions and ranges are checked."""
    bucket = make_bucket(versioning=True)
    old, new = random.Random(seed).randbytes(700_000), random.Random(seed + 1).randbytes(400_000)
    version = s3.put_object(Bucket=bucket, Key="src ä?", Body=old)["VersionId"]
    s3.put_object(Bucket=bucket, Key="src ä?", Body=new)
    id = begin(s3, bucket)
    target = {"Bucket": bucket, "Key": "k", "UploadId": id}
    whole = {"Bucket": bucket, "Key": "src ä?"}
    copied = [
        s3.upload_part_copy(PartNumber=1, CopySource=whole, **target),
        s3.upload_part_copy(PartNumber=2, CopySource=whole, CopySourceRange="bytes=10-300009", **target),
        s3.upload_part_copy(PartNumber=3, CopySource=whole | {"VersionId": version}, **target),
    ]
    expected = [new, new[10:300_010], old]
    assert [one["CopyPartResult"]["ETag"] for one in copied] == [f'"{md5(piece).hex()}"' for piece in expected]
    assert copied[2]["CopySourceVersionId"] == version
    for text in ("0-2", "bytes=0", "bytes=hello-world", "bytes=5-1", "bytes=0-2,3-5"):
        asked = {"PartNumber": 4, "CopySource": whole, "CopySourceRange": text}
        assert refused(s3.upload_part_copy, **asked, **target) == (400, "InvalidArgument")
    asked = {"PartNumber": 4, "CopySource": whole, "CopySourceRange": "bytes=0-400000"}
    assert refused(s3.upload_part_copy, **asked, **target) == (400, "InvalidArgument")
    asked = {"PartNumber": 4, "CopySource": whole, "CopySourceIfMatch": '"x"'}
    assert refused(s3.upload_part_copy, **asked, **target) == (412, "PreconditionFailed")
    asked = {"PartNumber": 4, "CopySource": f"{bucket}/none"}
    assert refused(s3.upload_part_copy, **asked, **target) == (404, "NoSuchKey")
    parts = [{"PartNumber": n + 1, "ETag": one["CopyPartResult"]["ETag"]} for n, one in enumerate(copied)]
    complete(s3, bucket, id, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(expected)
