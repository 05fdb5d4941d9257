"""Checksums of parts and of the whole that is put together from them."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest

from client_proxy.doors.s3.protocol import checksums
from tests.s3.calls import refused
from tests.s3.multipart.parts import begin, complete, send


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "XXHASH3"])
@pytest.mark.usefixtures("small_parts")
def test_checksums_of_every_kind(s3: Any, bucket: str, seed: int, algorithm: str, kind: str) -> None:
    """Parts' checksums are compared and kept; the whole's is composed or combined, compared, kept, and shown."""
    said = {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    if (algorithm.startswith(("SHA", "XX")) and kind == "FULL_OBJECT") or (
        algorithm == "CRC64NVME" and kind == "COMPOSITE"
    ):
        assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", **said) == (400, "InvalidRequest")
        return
    data = [random.Random(seed + n).randbytes(300_000 + n) for n in range(3)]
    id = begin(s3, bucket, **said)
    parts = [send(s3, bucket, id, n + 1, piece, ChecksumAlgorithm=algorithm) for n, piece in enumerate(data)]
    member, known = f"Checksum{algorithm}", checksums.by_name(algorithm)
    assert [part[member] for part in parts] == [known.of(piece) for piece in data]
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=id)
    assert [part[member] for part in listed["Parts"]] == [part[member] for part in parts]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    if kind == "FULL_OBJECT":
        whole = known.of(b"".join(data))
    else:
        whole = known.of(b"".join(base64.b64decode(part[member]) for part in parts)) + "-3"
    wrong = {member: known.of(b"something else")}
    target = {"Bucket": bucket, "Key": "k", "UploadId": id, "MultipartUpload": {"Parts": parts}}
    if kind == "FULL_OBJECT":
        assert refused(s3.complete_multipart_upload, **target, **wrong) == (400, "BadDigest")
        done = complete(s3, bucket, id, parts, ChecksumType=kind, **{member: whole})
    else:
        tampered = {**target, "MultipartUpload": {"Parts": [parts[0] | wrong, *parts[1:]]}}
        assert refused(s3.complete_multipart_upload, **tampered) == (400, "InvalidPart")
        done = complete(s3, bucket, id, parts)
    assert (done[member], done["ChecksumType"]) == (whole, kind)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[member], head["ChecksumType"]) == (whole, kind)
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"".join(data)
    one = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
    assert one["Body"].read() == data[1]
    assert one[member] == parts[1][member]


def test_a_part_with_a_wrong_checksum_is_not_stored(s3: Any, bucket: str) -> None:
    """Neither one that does not fit its bytes, nor one by another algorithm than the upload's."""
    id = begin(s3, bucket, ChecksumAlgorithm="CRC32C")
    target = {"Bucket": bucket, "Key": "k", "UploadId": id, "PartNumber": 1, "Body": b"data"}
    assert refused(s3.upload_part, ChecksumCRC32C="AAAAAA==", **target) == (400, "BadDigest")
    assert refused(s3.upload_part, ChecksumAlgorithm="SHA256", **target) == (400, "InvalidRequest")
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=id)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=id)
