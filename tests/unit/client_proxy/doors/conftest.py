"""For the doors that take Basic log-ins: one cluster for the tests of a module; olga has buckets, eve is another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.webdav import DavPerson, DavRig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DavRig]:
    rig = DavRig(tmp_path_factory.mktemp("webdav"), tmp_path_factory.getbasetemp() / "webdav-certs")
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def olga(rig: DavRig) -> DavPerson:
    return rig.person("olga")


@pytest.fixture(scope="module")
def eve(rig: DavRig) -> DavPerson:
    return rig.person("eve")


@pytest.fixture
def bucket(olga: DavPerson) -> str:
    """A new bucket of olga's, as the beginning of an address."""
    return f"/{olga.bucket()}"
