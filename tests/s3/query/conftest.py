"""The accounts of these tests: ann owns what the others may or may not touch."""

from __future__ import annotations

import pytest

from tests.s3.query.callers import Caller, account, stocked_bucket
from tests.s3.rig import S3Rig


@pytest.fixture(scope="module")
def ann(rig: S3Rig) -> Caller:
    """An account, no administrator."""
    return account(rig, "ann")


@pytest.fixture(scope="module")
def carol(rig: S3Rig) -> Caller:
    """Another account."""
    return account(rig, "carol")


@pytest.fixture
def anns(ann: Caller) -> str:
    """A new bucket of ann's with the objects `in/k` and `out/k`."""
    return stocked_bucket(ann, "anns")
