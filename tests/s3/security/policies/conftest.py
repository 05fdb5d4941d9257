"""The bucket that the policies are about."""

from __future__ import annotations

import pytest


@pytest.fixture
def bucket(owned_bucket: str) -> str:
    """A bucket of the owner's, with the object `k`."""
    return owned_bucket
