"""A signer of upload forms, and their sender."""

from __future__ import annotations

from typing import Any

import pytest

from tests.s3.post_forms import FORM_TYPE, Post, Signer
from tests.s3.rig import ENDPOINT, S3Rig


@pytest.fixture
def post(rig: S3Rig, bucket: str) -> Post:
    """Sends a form's body to the bucket."""

    def send(body: bytes, content_type: str = FORM_TYPE, **headers: str) -> Any:
        given = {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}
        status, answered, content = rig.ask("POST", f"{ENDPOINT}/{bucket}", given, body)
        return status, {name.lower(): value for name, value in answered}, content

    return send


@pytest.fixture(scope="module")
def key(rig: S3Rig) -> tuple[str, str]:
    return rig.key()


@pytest.fixture
def signer(key: tuple[str, str], bucket: str) -> Signer:
    return Signer(key, bucket)
