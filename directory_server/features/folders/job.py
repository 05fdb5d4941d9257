"""The job that goes on with changes of large folders, a batch of files in each transaction.

How far a change is stands in its row, which the same transaction updates. So a directory that is killed continues where
it was, and does no file twice.
"""

from __future__ import annotations

from directory_server.features.folders.steps import FileChanges, FolderClock, do_some, ended, touched
from directory_server.files.announcements import Announced, unannounced
from directory_server.metadata.statements import folders
from directory_server.metadata.statements.folders import FolderChangeRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.absent_person import absent_person
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import NotLoggedIn

BATCH = 50
IDLE_SECONDS = 60.0
MAX_FAILED = 10_000
"""A change that so many files refuse is stopped: each of them is stored with its reason."""


class FolderJob:
    """Handles one batch of one change in each step; the changes take turns. For one thread."""

    def __init__(
        self,
        store: MetadataStore,
        clock: FolderClock,
        changes: FileChanges,
        announced: Announced = unannounced,
        batch: int = BATCH,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._announced = announced
        self._batch = batch
        self._last = ""

    def step(self) -> float:
        """Handle one batch, for a BackgroundJob; return the seconds until the next step."""
        with self._store.read() as reader:
            change = folders.next_running(reader, self._last) or folders.next_running(reader, "")
            paths = [] if change is None else self._paths(reader, change)
        if change is None:
            return IDLE_SECONDS
        self._last = change.id
        with self._announced(touched(change, paths)):
            self._store.write(lambda tx: self._batch_in(tx, change.id))
        return 0.0

    def _paths(self, reader: Reader, change: FolderChangeRow) -> list[str]:
        return folders.paths_below(reader, change.bucket, change.path, self._batch, change.position)

    def _batch_in(self, tx: Tx, id: str) -> None:
        change = folders.find_change(tx, id)
        if change is None or change.state != "running":
            return
        try:
            person = absent_person(tx, change.account, change.access, change.limited_by)
        except NotLoggedIn as error:
            log.warning("the change %s of folder %s/%s stopped: %s", id, change.bucket, change.path, error)
            folders.update_change(tx, ended(change, "stopped", str(error), self._clock))
            return
        paths = self._paths(tx, change)
        now = do_some(tx, self._changes, person, change, paths)
        if now.failed >= MAX_FAILED:
            reason = f"{now.failed} files could not be done: see why, and retry then"
            now = ended(now, "stopped", reason, self._clock)
        elif len(paths) < self._batch:
            now = ended(now, "incomplete" if now.failed else "done", "", self._clock)
        folders.update_change(tx, now)
