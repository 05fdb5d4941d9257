"""Refusals of requests that would not be obeyed, and what refusals say of bodies and signatures."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any
from xml.sax.saxutils import unescape

import pytest

from tests.s3.calls import Ask, code_in, read
from tests.s3.rig import S3Rig


def element(body: bytes, name: str) -> str:
    """An element of an error."""
    return body.partition(f"<{name}>".encode())[2].partition(f"</{name}>".encode())[0].decode()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("copy", "Range"),
        ("copy", "x-amz-copy-source-range"),
        ("copy", "Content-Range"),
        ("k", "Content-Range"),
        ("k?partNumber=1&uploadId=none", "Content-Range"),
    ],
)
def test_a_write_of_a_range_is_refused(ask: Ask, s3: Any, bucket: str, target: str, name: str) -> None:
    """Whoever sends one expects the rest of the object to stay."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    copies = {"x-amz-copy-source": f"{bucket}/k"} if target == "copy" else {}
    path = f"/{bucket}/{target.replace('none', upload)}"
    status, _, body = ask("PUT", path, copies | {name: "bytes=0-1"}, b"" if copies else b"xx")
    assert (status, code_in(body)) == (501, "NotImplemented")
    assert read(s3, bucket) == b"content"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


def test_refused_bodies_are_described(ask: Ask, rig: S3Rig, bucket: str) -> None:
    """By what was expected and what came."""
    md5 = b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    _, _, body = ask("PUT", f"/{bucket}/k", {"Content-MD5": md5}, b"x")
    assert code_in(body) == "BadDigest"
    assert element(body, "ExpectedDigest") == hashlib.md5(b"other", usedforsecurity=False).hexdigest()
    calculated = b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    assert element(body, "CalculatedDigest") == calculated
    _, _, body = ask("PUT", f"/{bucket}/k", {"Content-MD5": "nonsense"}, b"x")
    assert (code_in(body), element(body, "Content-MD5")) == ("InvalidDigest", "nonsense")
    url = rig.client(signature_version="s3v4").generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    _, _, body = rig.ask("PUT", url, {"Content-Length": "9"}, b"short")
    assert code_in(body) == "IncompleteBody"
    assert (element(body, "NumberBytesExpected"), element(body, "NumberBytesProvided")) == ("9", "5")


def test_a_wrong_signature_is_described_byte_by_byte(rig: S3Rig, bucket: str) -> None:
    """The bytes show what the texts hide."""
    url = rig.client(signature_version="s3v4").generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    _, _, body = rig.ask("GET", url.replace("/k?", "/other?"), {})
    assert code_in(body) == "SignatureDoesNotMatch"
    for name in ("StringToSign", "CanonicalRequest"):
        text = unescape(element(body, name))
        assert bytes.fromhex(element(body, f"{name}Bytes")).decode() == text


def test_an_address_that_has_expired_says_when(rig: S3Rig, bucket: str) -> None:
    """With the clock that decided it."""
    url = rig.client(signature_version="s3v4").generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60
    )
    stamp = url.partition("X-Amz-Date=")[2][:16]
    _, _, body = rig.ask("GET", url.replace(stamp, "20200101T000000Z").replace(stamp[:8], "20200101"), {})
    assert (code_in(body), element(body, "X-Amz-Expires")) == ("AccessDenied", "60")
    assert element(body, "Expires") == "2020-01-01T00:01:00Z"
    assert element(body, "ServerTime")[:8] == f"{stamp[:4]}-{stamp[4:6]}-"


def test_what_would_not_be_obeyed_is_refused(ask: Ask, s3: Any, bucket: str) -> None:
    """An append would replace the object, a condition would not hold, a namespace is not there."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    date = "Mon, 30 Nov 2026 00:00:00 GMT"
    for method, path, headers in (
        ("PUT", f"/{bucket}/k", {"x-amz-write-offset-bytes": "7"}),
        ("DELETE", f"/{bucket}/k?uploadId={upload}", {"x-amz-if-match-initiated-time": date}),
        ("PUT", f"/{bucket}-2", {"x-amz-bucket-namespace": "account-regional"}),
    ):
        status, _, body = ask(method, path, headers, b"more" if method == "PUT" and path.endswith("/k") else b"")
        assert (status, code_in(body)) == (501, "NotImplemented")
    assert read(s3, bucket) == b"content"
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
