"""Upload forms as a browser sends them, signed or not."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
from collections.abc import Callable
from typing import Any

from lockstep_store.wire.messages.s3 import signing_key

BOUNDARY = "----the-boundary"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
FILE = b"the file\r\nand its second line\r\n"
Field = tuple[str, str | bytes]


def form(fields: list[Field], *, filename: str = "a.txt", boundary: str = BOUNDARY) -> bytes:
    """The body of a form; the field `file` is sent as a file."""
    parts = []
    for name, value in fields:
        data = value if isinstance(value, bytes) else value.encode()
        file = f'; filename="{filename}"\r\nContent-Type: text/x-part' if name == "file" else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


class Signer:
    """Fields of a form that one key signs now."""

    def __init__(self, key: tuple[str, str], bucket: str) -> None:
        self.access, self.secret = key
        self.bucket = bucket

    def fields(self, conditions: list[Any], *, expires_in: float = 300, **changes: str) -> list[Field]:
        """The proof's fields, with `changes` by name (`_` for `-`), and the policy that they sign."""
        now = datetime.datetime.now(datetime.UTC)
        day, date = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        proof = {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{self.access}/{day}/eu-west-1/s3/aws4_request",
            "x-amz-date": date,
        }
        bucket = [{"bucket": self.bucket}] if self.bucket else []
        expiration = (now + datetime.timedelta(seconds=expires_in)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        said = {
            "expiration": expiration,
            "conditions": [*bucket, *({name: text} for name, text in proof.items()), *conditions],
        }
        text = base64.b64encode(json.dumps(said).encode()).decode()
        key = signing_key(self.secret, day, "eu-west-1")

        proof |= {"policy": text, "x-amz-signature": hmac.digest(key, text.encode(), "sha256").hex()}
        proof |= {name.replace("_", "-"): value for name, value in changes.items()}
        return [(name, value) for name, value in proof.items() if value]


Post = Callable[..., tuple[int, dict[str, str], bytes]]


ANY_KEY = ["starts-with", "$key", ""]
