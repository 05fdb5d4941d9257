"""What every test of multipart uploads has: a check of the tables, and parts of any size on request."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.doors.s3.multipart import chosen_parts
from directory_server.maintenance.fsck import check_metadata
from tests.s3.rig import S3Rig


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of any size may be put together: what is tested does not depend on it."""
    monkeypatch.setattr(chosen_parts, "MIN_PART_BYTES", 0)


@pytest.fixture(autouse=True)
def consistent_metadata(rig: S3Rig) -> Any:
    """After every test the directory's tables agree with each other, references included."""
    yield
    rig.cluster.pass_time(1.0)  # whoever was taken for unreachable is heard again
    counts, problems, _ = check_metadata(rig.cluster.directory.store)
    assert not problems
    assert counts["blob"] >= 0
