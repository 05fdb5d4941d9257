"""How the directory server itself is: whether it can write, its disk, and its backups."""

from __future__ import annotations

import os
from pathlib import Path

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.maintenance.backup import LAST_BACKUP_SETTING
from directory_server.maintenance.epochs import Epochs
from directory_server.maintenance.recovery import Recovery
from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore
from lockstep_store.wire.messages.cluster import DirectoryInfo, OtherDirectory

LOW_BYTES = 128 << 20
"""Less free space than this is a problem: the log and a backup need room too."""


class DirectoryCondition:
    """Describes the directory. Thread-safe."""

    def __init__(
        self, store: MetadataStore, epochs: Epochs, recovery: Recovery, clock: DirectoryClock, data: Path
    ) -> None:
        self._store, self._epochs, self._recovery, self._clock, self._data = store, epochs, recovery, clock, data
        self._followed: tuple[float, int] | None = None

    def note_followed(self, behind: int) -> None:
        """Note that a continuous backup has asked for changes, and how many it lacked."""
        self._followed = (self._clock.now(), max(0, behind))

    def write_problem(self) -> str:
        """Why the last write failed, as a clause; empty if it did not."""
        problem = self._store.problem
        return f"the last write failed: {problem}" if problem else ""

    def info(self, *, all_of_it: bool) -> DirectoryInfo:
        """Return its condition: without `all_of_it` only whether it can write, because the rest names folders."""
        failed = self.write_problem()
        is_writable = not failed and not self._epochs.problem
        if not all_of_it:
            return DirectoryInfo(writable=is_writable)
        capacity, free = self._space()
        info = DirectoryInfo(
            writable=is_writable,
            problems=[problem for problem in (failed, self._epochs.problem) if problem],
            capacity_bytes=capacity,
            free_bytes=free,
            is_low=free is not None and free < LOW_BYTES,
            others=[OtherDirectory(url, seconds) for url, seconds in self._store.other_servers()],
        )
        with self._store.read() as reader:
            backup = people.read_setting(reader, LAST_BACKUP_SETTING)
        if backup is not None:
            info.last_backup_at = float(backup)
        elif (state := self._recovery.state) is not None and state.source != "unknown":
            info.restored_at = state.restored_at
        if self._followed is not None:
            at, info.backup_behind = self._followed
            info.backup_seconds = max(0.0, self._clock.now() - at)
        return info

    def _space(self) -> tuple[int | None, int | None]:
        """The size of its disk and the space left there, in bytes; None for a folder that is not on this machine."""
        try:
            disk = os.statvfs(self._data)
        except OSError:
            return None, None
        return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
