"""What a request claims about its body is compared with the body, or the request is rejected."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from client_proxy.doors.s3.multipart import chosen_parts
from client_proxy.doors.s3.protocol.checksums import ALGORITHMS
from tests.s3.calls import Answer, Ask, code_in, read, refused
from tests.s3.people import document, statement
from tests.s3.rig import ENDPOINT, S3Rig

BODY = b"content"
CRC32, SHA256 = ALGORITHMS["CRC32"], ALGORITHMS["SHA256"]
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@pytest.fixture
def open_bucket(owner: Any, owned_bucket: str) -> str:
    """A bucket into which everybody may put."""
    owner.put_bucket_policy(
        Bucket=owned_bucket, Policy=document(statement("Allow", "*", "s3:PutObject", f"{owned_bucket}/*"))
    )
    return owned_bucket


def framed(*trailers: tuple[str, str]) -> bytes:
    """BODY as aws-chunked, with trailers."""
    lines = "".join(f"{name}:{value}\r\n" for name, value in trailers)
    return b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(BODY), BODY, lines.encode())


def put_framed(rig: S3Rig, bucket: str, announced: str, *trailers: tuple[str, str]) -> Answer:
    body = framed(*trailers)
    headers = {
        "x-amz-content-sha256": UNSIGNED_TRAILER,
        "x-amz-decoded-content-length": str(len(BODY)),
        "Content-Length": str(len(body)),
    }
    if announced:
        headers["x-amz-trailer"] = announced
    status, answered, content = rig.ask("PUT", f"{ENDPOINT}/{bucket}/new", headers, body)
    return status, dict(answered), content


def test_a_trailer_that_was_announced_is_compared(rig: S3Rig, owner: Any, open_bucket: str) -> None:
    """The framing is known by x-amz-content-sha256 alone."""
    right, wrong = (CRC32.header, CRC32.of(BODY)), (CRC32.header, CRC32.of(b"other"))
    assert code_in(put_framed(rig, open_bucket, CRC32.header, wrong)[2]) == "BadDigest"
    assert put_framed(rig, open_bucket, CRC32.header, right)[0] == 200


@pytest.mark.parametrize(
    ("announced", "sent", "code"),
    [
        ("", (CRC32.header, CRC32.of(b"other")), "MalformedTrailerError"),
        (CRC32.header, (SHA256.header, SHA256.of(BODY)), "MalformedTrailerError"),
        ("x-amz-checksum-md4", ("x-amz-checksum-md4", "AAAA"), "InvalidRequest"),
        ("x-amz-meta-a", ("x-amz-meta-a", "1"), "InvalidRequest"),
        (f"{CRC32.header}, {SHA256.header}", (CRC32.header, CRC32.of(BODY)), "InvalidRequest"),
    ],
)
def test_a_trailer_that_nothing_would_look_at_is_rejected(
    rig: S3Rig, owner: Any, open_bucket: str, announced: str, sent: tuple[str, str], code: str
) -> None:
    """Nothing is written."""
    status, _, body = put_framed(rig, open_bucket, announced, sent)
    assert (status, code_in(body)) == (400, code)
    assert refused(owner.head_object, Bucket=open_bucket, Key="new")[0] == 404


@pytest.mark.parametrize(
    ("claimed", "answer"),
    [
        (hashlib.sha256(BODY).hexdigest(), (200, "")),
        (hashlib.sha256(BODY).hexdigest().upper(), (200, "")),
        ("UNSIGNED-PAYLOAD", (200, "")),
        (hashlib.sha256(b"other").hexdigest(), (400, "XAmzContentSHA256Mismatch")),
        ("nonsense", (400, "InvalidArgument")),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", (400, "InvalidArgument")),
    ],
)
def test_an_anonymous_requests_sha256_is_compared(
    rig: S3Rig, open_bucket: str, claimed: str, answer: tuple[int, str]
) -> None:
    """As a signed one's is."""
    headers = {"x-amz-content-sha256": claimed, "Content-Length": str(len(BODY))}
    status, _, body = rig.ask("PUT", f"{ENDPOINT}/{open_bucket}/new", headers, BODY)
    assert (status, code_in(body)) == answer


def test_the_parts_checksums_in_a_completion_are_compared(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong, by another algorithm, of a part that has none, or missing for a composite upload."""
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 1)
    for algorithm, named, refusal in (
        ("CRC32", {"ChecksumCRC32": CRC32.of(b"other")}, (400, "InvalidPart")),
        ("CRC32", {"ChecksumSHA256": SHA256.of(BODY)}, (400, "BadDigest")),
        ("CRC32", {}, (400, "InvalidRequest")),
        ("", {"ChecksumSHA256": SHA256.of(BODY)}, (400, "InvalidPart")),
    ):
        options = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        place = {"Bucket": bucket, "Key": "k", "UploadId": ""}
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **options)
        place["UploadId"] = upload["UploadId"]
        part = s3.upload_part(**place, PartNumber=1, Body=BODY, **options)
        whole = {"PartNumber": 1, "ETag": part["ETag"]}
        wrong = {"Parts": [whole | named]}
        assert refused(s3.complete_multipart_upload, MultipartUpload=wrong, **place) == refusal
        right = {"Parts": [whole | ({"ChecksumCRC32": part["ChecksumCRC32"]} if algorithm else {})]}
        s3.complete_multipart_upload(MultipartUpload=right, **place)
        assert read(s3, bucket) == BODY


def test_a_sha256_in_capitals_is_signed_as_it_is(ask: Ask, bucket: str) -> None:
    """It is compared with the body, too."""
    sent = {"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest().upper()}
    assert ask("PUT", f"/{bucket}/k", sent, BODY)[0] == 200


def test_a_hash_added_to_a_presigned_put_is_compared(rig: S3Rig, bucket: str) -> None:
    """It is a claim about the body; with a GET there is none."""
    signer = rig.client(signature_version="s3v4")
    put = signer.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    wrong = {"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}
    length = {"Content-Length": str(len(BODY))}
    status, _, body = rig.ask("PUT", put, wrong | length, BODY)
    assert (status, code_in(body)) == (400, "XAmzContentSHA256Mismatch")
    right = {"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest()}
    assert rig.ask("PUT", put, right | length, BODY)[0] == 200
    get = signer.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert rig.ask("GET", get, wrong)[::2] == (200, BODY)
