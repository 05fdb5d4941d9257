"""A named key."""

from __future__ import annotations

import pytest

from tests.s3.rig import S3Rig


@pytest.fixture
def key(rig: S3Rig, bucket: str) -> str:
    """The name of a new named key."""
    return rig.cluster.directory.named_keys.create(f"key-of-{bucket}").name
