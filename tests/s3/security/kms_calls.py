"""What tests of named keys ask and read."""

from __future__ import annotations

from typing import Any

from client_proxy.core.requests import Read
from tests.s3.rig import S3Rig

KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}
DISABLED, NOT_FOUND = (400, "KMS.DisabledException"), (400, "KMS.NotFoundException")


def put_default(s3: Any, bucket: str, key: str | None = None, **more: Any) -> None:
    """Let a bucket's contents be under a named key when nobody says otherwise."""
    default = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})
    rule = {"ApplyServerSideEncryptionByDefault": default, **more}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def stored(rig: S3Rig, bucket: str, key: str = "k") -> bytes:
    """What file servers and caches have of a file."""
    with rig.cluster.proxies["1"].files.open(Read(rig.cluster.admin_key, bucket, key, raw=True)) as opened:
        return b"".join(opened.blocks())


def api(rig: S3Rig, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request to the plain API by the administrator."""
    told = {"X-Api-Key": rig.cluster.admin_key, "Content-Length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    status, answered, content = rig.ask(method, f"https://127.0.0.1:5000/api/v1/{path}", told, body)
    return status, {name.lower(): value for name, value in answered}, content
