"""A proxy's core with file servers and a directory that tests can break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.proxy_rig import ProxyRig, proxy_rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProxyRig]:
    with proxy_rig(tmp_path) as rig:
        yield rig
