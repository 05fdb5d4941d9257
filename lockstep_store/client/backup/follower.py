"""Continuous backup: a whole backup of the directory, and everything that it changes after that.

While a new backup is fetched, which may take minutes, records go on being kept, and the older backup stays until the
newer one is whole. So at each moment the folder can be restored to at most a second or so before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lockstep_store.client.backup.folder import BackupFolder
from lockstep_store.client.local_storage import local_problem
from lockstep_store.wire.errors import Conflict, LockstepError
from lockstep_store.wire.messages.recovery import BackupInfo
from lockstep_store.wire.messages.redo import RedoPlace, RedoReply

POLL_SECONDS = 0.4
RETRY_SECONDS = 1.0
MIN_RECORD_BYTES = 16 << 20
"""Records that are shorter in all cause no new backup, however short the last one is."""


class BackupSource(Protocol):
    """The calls that following needs."""

    def backup(self, target: Path) -> BackupInfo: ...
    def redo_records(self, after: RedoPlace) -> RedoReply: ...


class Follower:
    """Follows a directory into one folder; `step` is called again and again."""

    def __init__(
        self,
        folder: BackupFolder,
        directory: BackupSource,
        clock: Callable[[], float] = time.monotonic,
        min_record_bytes: int = MIN_RECORD_BYTES,
    ) -> None:
        self._folder = folder
        self._directory = directory
        self._clock = clock
        self._min_record_bytes = min_record_bytes
        self._needs_base = not folder.is_whole()
        self._fetch: _Fetch | None = None
        self._may_fetch_from = clock()
        self._current_at: float | None = None
        self.newest = RedoPlace()
        """How far the directory was when it was last asked."""
        self.problem = ""
        """Why the folder is not up to date; empty while nothing is wrong."""

    @property
    def place(self) -> RedoPlace:
        """How far the folder's records reach."""
        return self._folder.place

    @property
    def is_whole(self) -> bool:
        """Whether the folder has a backup and every record behind it."""
        base = self._folder.newest_base
        return not self._needs_base and base is not None and self._folder.place.sequence >= base[1]

    @property
    def seconds_behind(self) -> float | None:
        """How long ago the folder had everything; None before the first time."""
        return None if self._current_at is None else self._clock() - self._current_at

    def step(self) -> float:
        """Fetch what is new; seconds to pause. Raises LockstepError when trying again cannot help."""
        try:
            problem = self._take_base()
            pause = self._take_records()
            self._fetch_base_if_needed()
        except OSError as error:
            self.problem = str(local_problem("write to", self._folder.path, error))
            return RETRY_SECONDS
        except LockstepError as error:
            if not error.can_retry:
                raise
            self.problem = str(error)
            return RETRY_SECONDS
        self.problem = problem
        return pause

    def _take_records(self) -> float:
        asked_at = self._clock()
        reply = self._directory.redo_records(self._folder.place)
        self.newest = reply.newest
        if not reply.known:
            # It was restored, or has removed the records: go on from here, with a new backup.
            self._needs_base, self._fetch = True, None
            self._folder.records.begin(reply.newest, fresh=True)
            return 0.0
        if reply.batch is not None:
            self._folder.records.append(reply.batch)
        if self._folder.place != reply.newest:
            return 0.0
        if self.is_whole:
            self._current_at = asked_at
        return POLL_SECONDS

    # ------------------------------------------------------------ whole backups

    def _fetch_base_if_needed(self) -> None:
        if self._fetch is not None or self._clock() < self._may_fetch_from:
            return
        base = self._folder.newest_base
        if not self._needs_base and base is not None:
            if self._folder.record_bytes() <= max(self._min_record_bytes, base[0].stat().st_size):
                return
            # A file of its own for what the new backup will not have, so that the others can go.
            self._folder.records.begin(self._folder.place, fresh=False)
        self._fetch = _Fetch(self._directory, self._folder.part())

    def _take_base(self) -> str:
        """What is wrong with the last fetch."""
        fetch = self._fetch
        if fetch is None:
            return self.problem if self._clock() < self._may_fetch_from else ""
        if fetch.is_alive():
            return ""
        self._fetch = None
        if fetch.error is not None:
            self._may_fetch_from = self._clock() + RETRY_SECONDS * 10
            if not fetch.error.can_retry and not isinstance(fetch.error, Conflict) and self._folder.newest_base is None:
                raise fetch.error
            return f"no new backup could be made: {fetch.error}"
        assert fetch.info is not None
        self._folder.keep_base(fetch.info.redo.sequence)
        self._needs_base = False
        self._folder.remove_older()
        return ""


class _Fetch(threading.Thread):
    """Fetches one whole backup to `part`."""

    def __init__(self, directory: BackupSource, part: Path) -> None:
        super().__init__(name="backup", daemon=True)
        self._directory = directory
        self._part = part
        self.info: BackupInfo | None = None
        self.error: LockstepError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._part.unlink(missing_ok=True)
            self.info = self._directory.backup(self._part)
        except OSError as error:
            self.error = local_problem("write", self._part, error)
        except LockstepError as error:
            self.error = error
