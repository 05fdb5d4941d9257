"""Keeps what the directory changes, as sealed redo records that only the directory can read.

With each heartbeat the directory says how far it is; records that are not here yet are fetched and flushed. When the
directory is restored from a backup, it asks for the records behind that. They are bounded: the oldest files go first.
Before a certificate authority is retired, whose key seals records, they are sealed again with the new one's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from file_server.defaults import REDO_BYTES
from file_server.directory_link import DirectoryCaller
from lockstep_store.runtime.storage.redo_files import RedoAppender, RedoFile, batches_in, files_in, replace_batches
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Damaged, LockstepError, StorageFormatError
from lockstep_store.wire.messages.redo import RedoBatch, RedoPlace, RedoRequest
from lockstep_store.wire.messages.servers import REDO, REPLAY, RESEAL, ReplayRequest, ResealRequest

FILE_BYTES = 8 << 20
IDLE_SECONDS = 60.0
RETRY_SECONDS = 2.0
DISK_RETRY_SECONDS = 10.0
RESEAL_PAUSE_SECONDS = 1.0


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
        self._issuer = ""
        self._problem = ""
        self._sealed_by: dict[Path, str] = {}
        """By which authority's key each file's first batch is sealed. Later ones are sealed by none older."""
        for path in files_in(folder):
            with suppress(OSError, Damaged, StorageFormatError):
                self._note(path, next(RedoFile(path).batches(), None))

    @property
    def sealed_by(self) -> list[str]:
        """The ids of the authorities whose keys are needed to read the records; "" for an earlier version's."""
        return sorted(set(self._sealed_by.copy().values()))

    def learn(self, newest: RedoPlace, replay_after: RedoPlace | None, issuer: str) -> None:
        """How far the directory is, behind which place it wants records, and the authority whose key seals them now."""
        if newest != self._newest or replay_after != self._replay_after or issuer != self._issuer:
            self._newest, self._replay_after, self._issuer = newest, replay_after, issuer
            self.wake()

    def step(self) -> float:
        """Send or fetch what there is; return the seconds until the next step."""
        try:
            if self._replay_after is not None:
                self._replay(self._replay_after)
                self._replay_after = None
            elif self._newest.sequence and self._has_room():
                self._fetch()
                if self._issuer and self._reseal_a_file(self._issuer):
                    return RESEAL_PAUSE_SECONDS
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
                self._put_aside(files_in(self._folder)[-1], error)
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
                self._note(files_in(self._folder)[-1], reply.batch)
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
            self._sealed_by.pop(file, None)
            total -= size

    def _note(self, path: Path, first: RedoBatch | None) -> None:
        if first is not None:
            self._sealed_by.setdefault(path, first.sealed_by)

    def _put_aside(self, path: Path, error: Exception) -> None:
        log.error("%s; it is put aside", error)
        path.rename(path.with_suffix(".damaged"))
        self._sealed_by.pop(path, None)

    def _reseal_a_file(self, issuer: str) -> bool:
        """Have one file's records sealed again if another authority's key sealed them; whether there was one."""
        path = next((path for path, by in self._sealed_by.items() if by != issuer), None)
        if path is None:
            return False
        records = self._opened()
        if path == files_in(self._folder)[-1] and records.place is not None:
            records.begin(records.place, fresh=False)  # nothing is appended to a file that is replaced
        try:
            file = RedoFile(path)
            batches = [self._directory.ask(RESEAL, ResealRequest(batch)).batch for batch in file.batches()]
            replace_batches(file, batches)
        except (Damaged, StorageFormatError) as error:
            self._put_aside(path, error)
            return True
        del self._sealed_by[path]
        self._note(path, next(iter(batches), None))
        return True

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
