"""What comes without a checksum gets CRC64NVME of its whole content, as in S3 since December 2024."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from client_proxy.doors.s3.multipart import chosen_parts
from client_proxy.doors.s3.protocol.checksums import ALGORITHMS
from tests.s3.rig import S3Rig
from tests.s3.security.test_encryption import with_key

BODY = b"content"
PIECES = (b"one" * 50, b"two" * 70, b"three")
CRC64, CRC32 = ALGORITHMS["CRC64NVME"], ALGORITHMS["CRC32"]
WHOLE = CRC64.of(b"".join(PIECES))


@pytest.fixture
def bare(rig: S3Rig) -> Any:
    """A client that sends no checksum of its own accord."""
    return rig.client(request_checksum_calculation="when_required")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 1)


def sums(reply: dict[str, Any]) -> dict[str, str]:
    """The checksums in a reply, and their type."""
    return {name: text for name, text in reply.items() if name.startswith("Checksum")}


def upload(client: Any, place: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The replies of sending all pieces as parts."""
    return [client.upload_part(**place, PartNumber=n, Body=body, **more) for n, body in enumerate(PIECES, 1)]


def complete(client: Any, place: dict[str, Any], parts: list[dict[str, Any]], **more: Any) -> Any:
    named = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(parts, 1)]
    return client.complete_multipart_upload(**place, MultipartUpload={"Parts": named}, **more)


def test_a_put_without_a_checksum_gets_one(bare: Any, s3: Any, bucket: str) -> None:
    """A Content-MD5 is none that is stored. One that came is the only one."""
    md5 = b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()
    expected = {"ChecksumCRC64NVME": CRC64.of(BODY), "ChecksumType": "FULL_OBJECT"}
    for more in ({}, {"ContentMD5": md5}):
        assert sums(bare.put_object(Bucket=bucket, Key="k", Body=BODY, **more)) == expected
        assert sums(s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")) == expected
        told = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
        assert told["Checksum"] == expected
    given = bare.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumSHA256=ALGORITHMS["SHA256"].of(BODY))
    assert sums(given).keys() == {"ChecksumSHA256", "ChecksumType"}
    copied = bare.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")["CopyObjectResult"]
    assert copied["ChecksumSHA256"] == given["ChecksumSHA256"]


@pytest.mark.parametrize("mixed", [False, True])
def test_an_upload_without_a_checksum_gets_one_of_the_whole(bare: Any, s3: Any, bucket: str, mixed: bool) -> None:
    """Combined from the parts' own, which are not listed; also where some parts came with another checksum."""
    place = {"Bucket": bucket, "Key": "k"}
    place["UploadId"] = bare.create_multipart_upload(**place)["UploadId"]
    parts = upload(bare, place)
    assert [part["ChecksumCRC64NVME"] for part in parts] == [CRC64.of(body) for body in PIECES]
    if mixed:
        parts[0] = bare.upload_part(**place, PartNumber=1, Body=PIECES[0], ChecksumCRC32=CRC32.of(PIECES[0]))
        assert sums(parts[0]).keys() == {"ChecksumCRC32"}
    listed = bare.list_parts(**place)
    assert "ChecksumAlgorithm" not in listed
    assert not any("ChecksumCRC64NVME" in line for line in listed["Parts"])
    expected = {"ChecksumCRC64NVME": WHOLE, "ChecksumType": "FULL_OBJECT"}
    assert sums(complete(bare, place, parts)) == expected
    assert sums(s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")) == expected
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"".join(PIECES)


def test_an_encrypted_upload_gets_one_for_those_with_the_key(bare: Any, bucket: str) -> None:
    """It is computed from the parts' own when the key is there."""
    place = {"Bucket": bucket, "Key": "k", **with_key()}
    place["UploadId"] = bare.create_multipart_upload(**place)["UploadId"]
    parts = upload(bare, place)
    plain = {name: place[name] for name in ("Bucket", "Key", "UploadId")}
    complete(bare, plain, parts)
    head = bare.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **with_key())
    assert sums(head) == {"ChecksumCRC64NVME": WHOLE, "ChecksumType": "FULL_OBJECT"}


def test_copied_parts_keep_the_checksum_that_is_known(rig: S3Rig, bare: Any, bucket: str) -> None:
    """Content that has none is not read for one, so neither has the whole; a range passes through and gets one."""
    for number, body in enumerate(PIECES, 1):
        bare.put_object(Bucket=bucket, Key=f"from-{number}", Body=body)
    place = {"Bucket": bucket, "Key": "k"}
    place["UploadId"] = bare.create_multipart_upload(**place)["UploadId"]
    parts = [
        bare.upload_part_copy(**place, PartNumber=n, CopySource=f"{bucket}/from-{n}")["CopyPartResult"] for n in (1, 2)
    ]
    last = len(PIECES[2]) - 1
    asked = {"CopySource": f"{bucket}/from-3", "CopySourceRange": f"bytes=0-{last}"}
    parts.append(bare.upload_part_copy(**place, PartNumber=3, **asked)["CopyPartResult"])
    assert complete(bare, place, parts)["ChecksumCRC64NVME"] == WHOLE
    rig.cluster.ask("PUT", f"/files/{bucket}/by-api", b"plain")
    place = {"Bucket": bucket, "Key": "k"}
    place["UploadId"] = bare.create_multipart_upload(**place)["UploadId"]
    part = bare.upload_part_copy(**place, PartNumber=1, CopySource=f"{bucket}/by-api")["CopyPartResult"]
    complete(bare, place, [part])
    assert bare.get_object(Bucket=bucket, Key="k")["Body"].read() == b"plain"
