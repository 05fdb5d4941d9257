"""Steps of an upload: begin, send a part, complete."""

from __future__ import annotations

import hashlib
from typing import Any

MIB = 1024 * 1024


def begin(s3: Any, bucket: str, key: str = "k", **said: Any) -> str:
    return str(s3.create_multipart_upload(Bucket=bucket, Key=key, **said)["UploadId"])


def send(s3: Any, bucket: str, id: str, number: int, data: bytes, key: str = "k", **said: Any) -> dict[str, Any]:
    """One part, in the form in which a completion names it."""
    sent = s3.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=number, Body=data, **said)
    sums = {name: value for name, value in sent.items() if name.startswith("Checksum")}
    return {"PartNumber": number, "ETag": sent["ETag"], **sums}


def complete(s3: Any, bucket: str, id: str, parts: list[dict[str, Any]], key: str = "k", **said: Any) -> Any:
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=id, MultipartUpload={"Parts": parts}, **said)


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
