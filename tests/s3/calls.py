"""What calls through boto3 come to: the content that was read, or the refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[..., Answer]
"""Sends a signed request as it stands: (method, path with arguments, headers, body)."""
DENIED = (403, "AccessDenied")


def read(client: Any, bucket: str, key: str = "k", **more: Any) -> bytes:
    """An object's content."""
    content: bytes = client.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
    return content


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """(status, code) of a refusal."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def code_in(body: bytes) -> str:
    """The code in the XML of an error."""
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
