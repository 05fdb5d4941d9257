"""A lock manager on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.directory_server.locks.lock_rig import LockRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[LockRig]:
    rig = LockRig(tmp_path)
    yield rig
    rig.locks.close()
    rig.store.close()
