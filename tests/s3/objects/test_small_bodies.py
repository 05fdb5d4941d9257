"""XML and JSON bodies: what must vouch for their bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.s3.prober import Prober
from tests.s3.rig import S3Rig

RULE = b"<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>"
CORS = b"<CORSConfiguration>" + RULE + b"</CORSConfiguration>"
VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@pytest.fixture
def prober(rig: S3Rig) -> Iterator[Prober]:
    prober = Prober(rig)
    yield prober
    prober.close()


def put(prober: Prober, bucket: str, query: str, body: bytes, payload: str, **headers: str) -> tuple[int, str]:
    """The answer to a signed PUT of a bucket's setting."""
    path = f"/{bucket}".encode()
    given = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    signed, _ = prober.sign("PUT", path, query, given, payload)
    answer = prober.ask("PUT", path, query, signed, body)
    return answer.status, answer.code


def test_few_bodies_need_a_checksum(prober: Prober, s3: Any, bucket: str) -> None:
    """Clients of all ages send policies and the like without one, signed or not, and S3 takes them; what was said of
    a body is compared all the same."""
    said = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [said]}).encode()
    for query, body in (("policy=", policy), ("versioning=", VERSIONING)):
        digest = hashlib.sha256(body).hexdigest()
        assert put(prober, bucket, query, body + b" ", digest) == (400, "XAmzContentSHA256Mismatch")
        assert put(prober, bucket, query, body, digest, content_md5=md5(b"else")) == (400, "BadDigest")
        for payload in (digest, "UNSIGNED-PAYLOAD"):
            assert put(prober, bucket, query, body, payload)[0] in (200, 204)
    digest = hashlib.sha256(CORS).hexdigest()
    for payload in (digest, "UNSIGNED-PAYLOAD"):
        assert put(prober, bucket, "cors=", CORS, payload) == (400, "InvalidRequest")
        assert put(prober, bucket, "cors=", CORS, payload, content_md5=md5(CORS)) == (200, "")


def md5(content: bytes) -> str:
    """As Content-MD5 says it."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
