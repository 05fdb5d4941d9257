"""Uploads through boto3: sent in parts, in any order, and one object in the end."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.s3.calls import refused
from tests.s3.multipart.parts import MIB, begin, complete, md5, send
from tests.s3.people import token_of
from tests.s3.rig import S3Rig


def test_parts_become_one_object(s3: Any, bucket: str, seed: int) -> None:
    """Bytes, ETag, type, metadata and headers are those of the upload; before, nothing is there; afterwards no upload
    is."""
    pieces = [random.Random(seed + n).randbytes(size) for n, size in enumerate((5 * MIB, 5 * MIB + 17, 1234))]
    said = {
        "ContentType": "a/b",
        "Metadata": {"color": "red"},
        "CacheControl": "no-cache",
        "StorageClass": "STANDARD_IA",
    }
    id = begin(s3, bucket, Tagging="a=1&b=2", **said)
    parts = [send(s3, bucket, id, n, piece) for n, piece in ((2, pieces[1]), (1, pieces[0]), (7, pieces[2]))]
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == 404
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    done = complete(s3, bucket, id, sorted(parts, key=lambda part: part["PartNumber"]))
    expected = hashlib.md5(b"".join(map(md5, pieces)), usedforsecurity=False).hexdigest() + "-3"
    assert done["ETag"] == f'"{expected}"'
    assert done["Location"].endswith(f"/{bucket}/k")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(pieces)
    assert {name: got[name] for name in said} == said
    assert got["ETag"] == done["ETag"]
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert [(tag["Key"], tag["Value"]) for tag in tags] == [("a", "1"), ("b", "2")]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert refused(s3.list_parts, Bucket=bucket, Key="k", UploadId=id) == (404, "NoSuchUpload")
    ranged = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}")
    assert ranged["Body"].read() == b"".join(pieces)[5 * MIB - 3 : 5 * MIB + 3]


def test_files_are_sent_by_the_transfer_manager(s3: Any, bucket: str, seed: int) -> None:
    """boto3's own way of sending large files works, and so does its way of reading them."""
    data = random.Random(seed).randbytes(17 * MIB + 5)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(BytesIO(data), bucket, "k", Config=config, ExtraArgs={"ContentType": "x/y"})
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"][-3:], head["ContentType"]) == (len(data), '-4"', "x/y")
    target = BytesIO()
    s3.download_fileobj(bucket, "k", target, Config=config)
    assert target.getvalue() == data
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data


@pytest.mark.usefixtures("small_parts")
def test_many_parts_at_once(s3: Any, bucket: str, seed: int) -> None:
    """Twenty parts from eight threads, some sent twice, are one right object."""
    data = [random.Random(seed + n).randbytes(300_000 + n) for n in range(20)]
    id = begin(s3, bucket)
    with ThreadPoolExecutor(8) as pool:
        again = [pool.submit(send, s3, bucket, id, n + 1, b"first try") for n in range(0, 20, 3)]
        for one in again:
            one.result()
        parts = list(pool.map(lambda n: send(s3, bucket, id, n + 1, data[n]), range(20)))
    complete(s3, bucket, id, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(data)


@pytest.mark.usefixtures("small_parts")
def test_a_part_sent_again_replaces_the_first(s3: Any, bucket: str) -> None:
    """The later one counts; the ETag of the first is refused."""
    id = begin(s3, bucket)
    first, second = send(s3, bucket, id, 1, b"first"), send(s3, bucket, id, 1, b"second")
    with pytest.raises(ClientError) as error:
        complete(s3, bucket, id, [first])
    assert error.value.response["Error"]["Code"] == "InvalidPart"
    complete(s3, bucket, id, [second])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"second"


@pytest.mark.usefixtures("small_parts")
def test_parts_that_are_not_named_are_left_out(s3: Any, bucket: str) -> None:
    """A completion may name some of the parts; the others go with the upload."""
    id = begin(s3, bucket)
    parts = [send(s3, bucket, id, n, b"%d" % n) for n in (1, 2, 3, 4)]
    complete(s3, bucket, id, [parts[1], parts[3]])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"24"


def test_requests_for_parts_that_cannot_be(s3: Any, bucket: str) -> None:
    """Part numbers end at 10,000, and an upload belongs to one key."""
    id = begin(s3, bucket)
    for number in (0, 10_001):
        wrong = {"Bucket": bucket, "Key": "k", "UploadId": id, "PartNumber": number, "Body": b"x"}
        assert refused(s3.upload_part, **wrong) == (400, "InvalidArgument")
    wrong = {"Bucket": bucket, "Key": "other", "UploadId": id, "PartNumber": 1, "Body": b"x"}
    assert refused(s3.upload_part, **wrong) == (404, "NoSuchUpload")
    assert refused(s3.create_multipart_upload, Bucket="no-such-bucket", Key="k") == (404, "NoSuchBucket")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)


def test_an_aborted_upload_is_gone(s3: Any, bucket: str) -> None:
    """Everything that is asked of it afterwards is NoSuchUpload."""
    id = begin(s3, bucket)
    part = send(s3, bucket, id, 1, b"x" * 300_000)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)
    gone = {"Bucket": bucket, "Key": "k", "UploadId": id}
    assert refused(s3.abort_multipart_upload, **gone) == (404, "NoSuchUpload")
    assert refused(s3.list_parts, **gone) == (404, "NoSuchUpload")
    assert refused(s3.upload_part, PartNumber=1, Body=b"y", **gone) == (404, "NoSuchUpload")
    assert refused(s3.complete_multipart_upload, MultipartUpload={"Parts": [part]}, **gone) == (404, "NoSuchUpload")
    assert refused(s3.upload_part_copy, PartNumber=1, CopySource=f"{bucket}/k", **gone) == (404, "NoSuchUpload")


@pytest.mark.usefixtures("small_parts")
def test_parts_without_bytes(s3: Any, bucket: str) -> None:
    """An empty part is a part: alone it makes an empty object, beside others it adds nothing."""
    for contents in ([b""], [b"", b""], [b"", b"x" * 300_000, b""]):
        id = begin(s3, bucket)
        parts = [send(s3, bucket, id, n, content) for n, content in enumerate(contents, 1)]
        complete(s3, bucket, id, parts)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(contents)


def test_somebody_elses_upload_is_not_for_you(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Who may not use the bucket can neither see, send, complete nor abort."""
    id = begin(s3, bucket)
    token = token_of(rig, "eve")
    eve = rig.client(rig.key(token))
    target = {"Bucket": bucket, "Key": "k", "UploadId": id}
    assert refused(eve.list_multipart_uploads, Bucket=bucket) == (403, "AccessDenied")
    assert refused(eve.list_parts, **target) == (403, "AccessDenied")
    assert refused(eve.upload_part, PartNumber=1, Body=b"x", **target) == (403, "AccessDenied")
    assert refused(eve.abort_multipart_upload, **target) == (403, "AccessDenied")
    parts = [{"PartNumber": 1, "ETag": "x"}]
    assert refused(eve.complete_multipart_upload, MultipartUpload={"Parts": parts}, **target) == (403, "AccessDenied")
    s3.abort_multipart_upload(**target)
