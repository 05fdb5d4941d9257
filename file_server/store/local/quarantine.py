"""Bounds the quarantine of damaged chunks, in bytes and in time.

checked_reading.py moves chunks into quarantine.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from prometheus_client import Gauge

from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.tracing import log

STEP_SECONDS = 60.0

QUARANTINED = Gauge("lockstep_file_server_quarantine_bytes", "Bytes of damaged chunks kept for inspection")


class _Kept(NamedTuple):
    since: float
    size: int
    path: Path


class Quarantine:
    """Keeps at most `max_bytes` in `folder`, none for longer than `max_seconds`; the oldest go first."""

    def __init__(self, folder: Path, clock: Clock, max_bytes: int, max_seconds: float) -> None:
        self._folder = folder
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds

    def step(self) -> float:
        """Remove what is too old or too much; return the seconds until the next look."""
        kept = self._kept()
        size = sum(file.size for file in kept)
        oldest = self._clock.wall() - self._max_seconds
        for file in kept:
            if size <= self._max_bytes and file.since >= oldest:
                break
            try:
                file.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("cannot remove the quarantined file %s: %s", file.path, error)
                continue
            size -= file.size
            why = "it is too old" if file.since < oldest else "the quarantine is full"
            log.warning("removed the damaged chunk %s from quarantine (%d bytes): %s", file.path.name, file.size, why)
        QUARANTINED.set(size)
        return STEP_SECONDS

    def _kept(self) -> list[_Kept]:
        """Return the files, the oldest first, by the inode's change time: moving a file leaves its other times old."""
        found = []
        for path in self._folder.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append(_Kept(status.st_ctime, status.st_size, path))
        return sorted(found)
