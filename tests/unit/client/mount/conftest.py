"""The parts of a mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.client.client import Client
from lockstep_store.client.mount.chunk_cache import ChunkCache
from lockstep_store.client.mount.timed_calls import TimedCalls
from tests.fakes.clock import ManualClock
from tests.fakes.rest import RestServer
from tests.unit.client.mount.mount_rig import MountRig
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def rig(server: RestServer, api: Client, tmp_path: Path) -> Iterator[MountRig]:
    """A mount of the bucket `files` without a kernel, whose feed a test moves by hand."""
    clock = ManualClock(100.0)
    calls = TimedCalls(deadline_seconds=PATIENCE_SECONDS, monotonic=clock.monotonic)
    rig = MountRig(server, api, calls, ChunkCache(tmp_path / "chunks", 64 * 1024 * 1024), clock, tmp_path / "state")
    yield rig
    rig.unsaved.close()
    calls.close()
