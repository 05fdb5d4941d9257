"""The directory's rules on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.directory_rig import (
    DirectoryRig,
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DirectoryRig]:
    rig = DirectoryRig(tmp_path)
    yield rig
    rig.close()
