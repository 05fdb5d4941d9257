"""Requests as they come: headers beyond ASCII, encoded slashes, and names that differ only by an underscore."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from client_proxy.doors.s3.protocol.request import S3Request
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from lockstep_store.runtime.http.request_head import RAW_HEADERS
from tests.fakes.wsgi import request_environ
from tests.s3.calls import code_in
from tests.s3.rig import ENDPOINT, REGION, S3Rig

UNSIGNED = "UNSIGNED-PAYLOAD"


def _signed(
    rig: S3Rig, method: str, url: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request that botocore signs with the address as it stands."""
    request = AWSRequest(method, url, data=body, headers={"x-amz-content-sha256": UNSIGNED, **headers})
    S3SigV4Auth(Credentials(*rig.key()), "s3", REGION).add_auth(request)
    sent = {**dict(request.headers.items()), "Content-Length": str(len(body))}
    status, answered, content = rig.ask(method, url, sent, body)
    return status, {name.lower(): value for name, value in answered}, content


@pytest.mark.parametrize("city", ["Zürich", "北京", "a – b"])
def test_metadata_beyond_ascii_is_stored_as_it_was_signed(rig: S3Rig, s3: Any, bucket: str, city: str) -> None:
    """Raw UTF-8 in a header belongs to the signature, and comes back by RFC 2047, as in S3."""
    assert _signed(rig, "PUT", f"{ENDPOINT}/{bucket}/k", {"x-amz-meta-city": city}, b"x")[0] == 200
    encoded = base64.b64encode(city.encode()).decode()
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"city": f"=?UTF-8?B?{encoded}?="}


def test_a_changed_byte_beyond_ascii_breaks_the_signature(rig: S3Rig, bucket: str) -> None:
    """What was not signed is not stored."""
    request = AWSRequest("PUT", f"{ENDPOINT}/{bucket}/k", data=b"x", headers={"x-amz-meta-city": "Zürich"})
    S3SigV4Auth(Credentials(*rig.key()), "s3", REGION).add_auth(request)
    sent = {**dict(request.headers.items()), "x-amz-meta-city": "Zörich", "Content-Length": "1"}
    status, _, body = rig.ask("PUT", request.url, sent, b"x")
    assert (status, code_in(body)) == (403, "SignatureDoesNotMatch")


def test_bytes_that_are_no_text_count_for_the_signature_and_are_refused_by_name() -> None:
    """Bytes that are not UTF-8 are signed as they are, and then refused: no reply could repeat them."""
    environ = request_environ("PUT", "/bucket/k") | {RAW_HEADERS: [(b"x-amz-meta-city", b"Z\xfcrich")]}
    request = S3Request(environ)
    signed = request.signed_headers("x-amz-meta-city")
    assert signed is not None
    assert signed.encode("utf-8", "surrogateescape") == b"Z\xfcrich"
    with pytest.raises(S3Error) as refusal:
        request.check_text()
    assert (refusal.value.code, refusal.value.details["ArgumentName"]) == ("InvalidArgument", "x-amz-meta-city")


def test_underscores_and_hyphens_are_two_headers(rig: S3Rig, s3: Any, bucket: str) -> None:
    """Both are stored under their own names, and none passes for a header that means something."""
    both = {"x-amz-meta-real_id": "1", "x-amz-meta-real-id": "2", "x-amz-storage_class": "STANDARD_IA"}
    assert _signed(rig, "PUT", f"{ENDPOINT}/{bucket}/k", both, b"x")[0] == 200
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {"real_id": "1", "real-id": "2"}
    assert "StorageClass" not in head


def test_an_encoded_slash_is_part_of_a_key_and_never_ends_a_bucket(rig: S3Rig, s3: Any, bucket: str) -> None:
    """`a%2Fb` is the key `a/b`, signed with the slash encoded or not; `bucket%2Fkey` is no bucket and a key."""
    for name in ("a/b", "c%d/é"):
        url = f"{ENDPOINT}/{bucket}/{quote(name, safe='')}"
        assert _signed(rig, "PUT", url, {}, b"data")[0] == 200
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == b"data"
        assert rig.ask("GET", url, dict(_presigned_like(rig, url)))[0] == 200
    status, _, body = _signed(rig, "GET", f"{ENDPOINT}/{bucket}%2Fa/b", {})
    assert (status, code_in(body)) in ((400, "InvalidBucketName"), (404, "NoSuchBucket"))


def _presigned_like(rig: S3Rig, url: str) -> dict[str, str]:
    """Headers of a GET that was signed with plain slashes and is sent with encoded ones."""
    plain = url.replace("%2F", "/")
    request = AWSRequest("GET", plain, headers={"x-amz-content-sha256": UNSIGNED})
    S3SigV4Auth(Credentials(*rig.key()), "s3", REGION).add_auth(request)
    return dict(request.headers.items())
