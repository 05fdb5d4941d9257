"""One cluster for all security tests of a module: olga owns buckets, ann, ben and eve are members like anybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.s3.rig import S3Rig
from tests.security.people import Person


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Rig]:
    rig = S3Rig(tmp_path_factory.mktemp("security"), tmp_path_factory.getbasetemp() / "security-certs")
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def olga(rig: S3Rig) -> Person:
    """The owner of what others want."""
    return Person(rig, "olga")


@pytest.fixture(scope="module")
def eve(rig: S3Rig) -> Person:
    """An account that owns none of it."""
    return Person(rig, "eve")


@pytest.fixture(scope="module")
def ann(rig: S3Rig) -> Person:
    """An account with buckets of its own."""
    return Person(rig, "ann")


@pytest.fixture(scope="module")
def ben(rig: S3Rig) -> Person:
    """Another one, which ann may let use them."""
    return Person(rig, "ben")
