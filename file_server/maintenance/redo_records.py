"""Keeps what the directory changes, as sealed redo records that only the directory can read.

With each heartbeat the directory says how far it is; records that are not here yet are fetched and flushed. When the
directory is restored from a backup, it asks for the records behind that. They are bounded: the oldest files go first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from file_server.defaults import REDO_BYTES
from file_server.directory_link import DirectoryCaller
from lockstep_store.runtime.storage.redo_files import RedoAppender, batches_in, files_in
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Damaged, LockstepError, StorageFormatError
from lockstep_store.wire.messages.redo import RedoPlace, RedoRequest
from lockstep_store.wire.messages.servers import REDO, REPLAY, ReplayRequest

FILE_BYTES = 8 << 20
IDLE_SECONDS = 60.0
RETRY_SECONDS = 2.0
DISK_RETRY_SECONDS = 10.0


class RedoRecords:
    """The records of one file server; `step` is a background job, the rest is called by the heartbeat's."""

    def __init__(
        self,
        folder: Path,
        directory: DirectoryCaller,
        kept_bytes: int = REDO_BYTES,
        has_room: Callable[[], bool] = lambda: True,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`has_room` is false while the disk is for files alone; `wake` runs `step` now."""
        self._folder = folder
        self._directory = directory
        self._kept_bytes = kept_bytes
        self._has_room = has_room
        self.wake = wake
        self._appender: RedoAppender | None = None
        self._newest = RedoPlace()
        self._replay_after: RedoPlace | None = None
        self._problem = ""

    def learn(self, newest: RedoPlace, replay_after: RedoPlace | None) -> None:
        """How far the directory is, and behind which place it wants records."""
        if newest != self._newest or replay_after != self._replay_after:
            self._newest, self._replay_after = newest, replay_after
            self.wake()

    def step(self) -> float:
        """Send or fetch what there is; return the seconds until the next step."""
        try:
            if self._replay_after is not None:
                self._replay(self._replay_after)
                self._replay_after = None
            elif self._newest.sequence and self._has_room():
                self._fetch()
        except OSError as error:
            self._say(f"redo records cannot be kept ({error})")
            return DISK_RETRY_SECONDS
        except LockstepError as error:
            log.debug("redo records wait: %s", error)
            return RETRY_SECONDS
        self._say("")
        return IDLE_SECONDS

    def close(self) -> None:
        """Let go of the files."""
        if self._appender is not None:
            self._appender.close()

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem

    def _opened(self) -> RedoAppender:
        if self._appender is None:
            self._folder.mkdir(exist_ok=True)
            try:
                self._appender = RedoAppender(self._folder)
            except (Damaged, StorageFormatError) as error:
                newest = files_in(self._folder)[-1]
                log.error("%s; it is put aside", error)
                newest.rename(newest.with_suffix(".damaged"))
                self._appender = RedoAppender(self._folder)
        return self._appender

    def _fetch(self) -> None:
        records = self._opened()
        while records.place != self._newest:
            reply = self._directory.ask(REDO, RedoRequest(records.place or RedoPlace()))
            self._newest = reply.newest
            if not reply.known:
                if not reply.oldest.sequence:
                    return
                records.begin(reply.oldest, fresh=True)
            elif reply.batch is not None:
                records.append(reply.batch)
                if records.file_bytes > FILE_BYTES:
                    records.begin(reply.batch.through, fresh=False)
                    self._remove_oldest()

    def _remove_oldest(self) -> None:
        files = files_in(self._folder)
        sizes = [file.stat().st_size for file in files]
        total = sum(sizes)
        for file, size in zip(files[:-1], sizes, strict=False):
            if total <= self._kept_bytes:
                return
            file.unlink()
            total -= size

    def _replay(self, after: RedoPlace) -> None:
        """Send the records behind `after`, as far as they follow one another here."""
        try:
            for batch in batches_in(files_in(self._folder), after.sequence):
                if batch.through.sequence <= after.sequence:
                    continue
                after = self._directory.ask(REPLAY, ReplayRequest(batch)).after
                if not after.sequence:
                    return
        except (Damaged, StorageFormatError) as error:
            log.warning("not every redo record can be sent: %s", error)
        self._directory.ask(REPLAY, ReplayRequest())
