"""The embedded metadata engine: SQLite in WAL mode. Every commit is flushed, and writers share commits.

One connection writes, for one group commit at a time. A few others read, each in its own snapshot, and the writer never
blocks them. `schema` declares the tables; `migrations` upgrade older files.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from directory_server.metadata.engines.sqlite.backup import copy_snapshot, find_defects
from directory_server.metadata.engines.sqlite.errors import damaged_file, translate_failure
from directory_server.metadata.engines.sqlite.page_checksums import (
    CHECKPOINT_FRAMES,
    ROUND_SECONDS,
    PageChecks,
    has_checks,
)
from directory_server.metadata.engines.sqlite.redo import RedoWriter
from directory_server.metadata.engines.sqlite.search_index import keep_search_index
from directory_server.metadata.engines.sqlite.totals import add_functions, keep_totals
from directory_server.metadata.engines.sqlite.transactions import ReaderPool, Snapshot, SqliteTx
from directory_server.metadata.engines.sqlite.usage import UsageCounter
from directory_server.metadata.migrate import bring_up_to_date
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.storage.group_commit import GroupCommit, call_when_durable
from lockstep_store.runtime.storage.process_lock import claim
from lockstep_store.runtime.storage.savepoints import BEGIN
from lockstep_store.runtime.storage.sqlite_files import open_database
from lockstep_store.runtime.storage.write_ahead_log import make_log_durable
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import Damaged, Unavailable

R = TypeVar("R")
Connect = Callable[..., sqlite3.Connection]


class SqliteStore(MetadataStore):
    """Stores the metadata in one SQLite file, which only one process may open.

    The constructor raises SetupError if another process has the file open, and Damaged if it differs from what was
    written (see `page_checksums`). For tests: `connect` replaces `sqlite3.connect`, to simulate a failing disk, and
    `checked` False keeps no page checksums, for programs that "die" within a process.
    """

    def __init__(self, path: Path, connect: Connect = sqlite3.connect, *, checked: bool = True) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._connect = connect
        self._lock_descriptor = own(path)
        self._problem = ""
        self._readers = ReaderPool(self._open_reader)
        self._writer: sqlite3.Cursor | None = None
        self._redo: RedoWriter | None = None
        self._usage: UsageCounter | None = None
        self._keeper: sqlite3.Connection | None = None
        self._checks: PageChecks | None = None
        self._damage: Damaged | None = None
        self._checkpoint_from = 0
        try:
            _flush_what_was_left(path)
            self._open_all(checked)
        except BaseException:
            self._drop_writer()
            if self._keeper is not None:
                self._keeper.close()
            os.close(self._lock_descriptor)
            raise
        self._group = GroupCommit(self._transaction)

    def _open_all(self, checked: bool) -> None:
        """Open the connections. Verify first: a migration, or closing the last connection, changes the file."""
        known = False
        if checked and has_checks(self._path):
            known = self._open_checks().verify()
        bring_up_to_date(self._path)
        self._keeper = self._keeper or self._open_keeper()
        self._writer = self._open_writer(checked)
        if checked and not known:
            self._begin_checks()

    def _open_checks(self) -> PageChecks:
        try:
            self._keeper = self._open_keeper()
            self._checks = PageChecks(self._path)
        except FileNotFoundError as error:  # the header says that there is no log, so it was changed
            raise Damaged(damaged_file(str(error))) from error
        except sqlite3.Error as error:
            raise translate_failure(error) from error
        return self._checks

    def _begin_checks(self) -> None:
        """Compute checksums of a new file, or of one that lost them, after checking its structure."""
        assert self._writer is not None
        found = self._writer.execute("PRAGMA integrity_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise Damaged(damaged_file(f"{found and found[0]}"))
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if self._checks is None:
            assert self._keeper is not None
            self._keeper.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            self._checks = PageChecks(self._path)
        self._checks.begin()

    def write(self, work: Callable[[Tx], R]) -> R:
        self._raise_if_damaged()
        return self._group.submit(work)

    def read(self) -> AbstractContextManager[Reader]:
        self._raise_if_damaged()
        return Snapshot(self._readers)

    def check_some(self) -> float:
        if self._checks is None or self._damage is not None:
            return ROUND_SECONDS
        try:
            return self._checks.step()
        except Damaged as damage:
            log.critical("%s", damage)
            self._damage = damage
            return ROUND_SECONDS

    def _raise_if_damaged(self) -> None:
        if self._damage is not None:
            raise Damaged(self._damage.detail)

    @property
    def problem(self) -> str:
        return str(self._damage) if self._damage is not None else self._problem

    def defects(self) -> list[str]:
        try:
            with closing(self._open_reader()) as connection:
                return find_defects(connection)
        except sqlite3.Error as error:
            return [str(error)]

    def copy_to(self, path: Path) -> dict[str, int]:
        try:
            with closing(self._open_reader()) as connection:
                return copy_snapshot(connection, path)
        except sqlite3.Error as error:
            raise translate_failure(error) from error

    def close(self) -> None:
        if self._lock_descriptor < 0:
            return
        self._group.close()
        self._readers.close()
        if self._checks is not None and self._damage is None:
            self._last_checkpoint(self._checks)
        if self._keeper is not None:
            self._keeper.close()
        self._drop_writer()
        if self._checks is not None:
            self._checks.close()
        os.close(self._lock_descriptor)
        self._lock_descriptor = -1

    @contextmanager
    def _transaction(self) -> Iterator[SqliteTx]:
        """Run one shared commit; there is one at a time."""
        try:
            tx = SqliteTx(*self._begin())
            for work in self._first_works:
                work(tx)
            yield tx
            for work in self._last_works:
                work(tx)
            if tx.failure is not None:
                raise tx.failure
            changes = self._record()
            crash_point("directory.store.committing")
            with self._guard(changes):
                self._commit(tx)
            crash_point("directory.store.committed")
        except BaseException as error:
            self._problem = str(error)
            # After a failed flush SQLite does not know what is on disk; a new connection reads it again.
            self._drop_writer()
            log.error("a metadata commit failed: %s", error)
            raise
        self._problem = ""
        self._note_commit()
        call_when_durable(tx.when_durable)

    def _note_commit(self) -> None:
        """Update the mark, and make a checkpoint when due. Never raises, because the commit is already done."""
        if self._checks is None:
            return
        try:
            frames = self._checks.note()
            if frames < CHECKPOINT_FRAMES:
                self._checkpoint_from = CHECKPOINT_FRAMES
            elif frames >= self._checkpoint_from:
                # If a reader needs the log, try again when the log has grown, not after every commit.
                self._checkpoint_from = frames + CHECKPOINT_FRAMES // 4
                self._checkpoint(self._checks, "PASSIVE")
        except (OSError, sqlite3.Error):
            log.exception("a metadata checkpoint failed; retrying later")

    def _checkpoint(self, checks: PageChecks, how: str) -> bool:
        """Copy the log into the main file; return whether all of it was copied."""
        if self._writer is None:
            self._writer = self._open_writer()
        with checks.checkpointing():
            try:
                _, frames, moved = self._writer.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
                crash_point("directory.checkpoint.moved")
                checks.checkpointed(frames, moved)
            except BaseException:
                checks.unfinished()
                raise
        return bool(moved == frames)

    def _last_checkpoint(self, checks: PageChecks) -> None:
        """Make the last checkpoint here. When the last connection closes, SQLite makes one without new checksums."""
        try:
            if not self._checkpoint(checks, "FULL"):
                checks.distrust("the last checkpoint was not complete")
        except (OSError, sqlite3.Error) as error:
            checks.distrust(f"the last checkpoint failed ({error})")

    def _begin(self) -> tuple[sqlite3.Cursor, UsageCounter]:
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            if self._redo is None:
                self._redo = RedoWriter(self._writer.connection)
            if self._usage is None:
                self._usage = UsageCounter(self._writer.connection)
                keep_search_index(self._writer.connection)
                keep_totals(self._writer.connection)
            self._writer.execute(BEGIN)
            return self._writer, self._usage
        except sqlite3.Error as error:
            raise translate_failure(error) from error

    def _record(self) -> str:
        assert self._redo is not None
        try:
            return self._redo.write()
        except sqlite3.Error as error:
            raise translate_failure(error) from error

    def _commit(self, tx: SqliteTx) -> None:
        try:
            assert self._writer is not None
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate_failure(error) from error

    def _drop_writer(self) -> None:
        if self._writer is not None:
            try:
                # Closing alone leaves a connection open if some error still refers to its statements.
                self._writer.connection.rollback()
                self._writer.connection.close()
            except sqlite3.Error:
                log.exception("failed to close the metadata file")
            self._writer = self._redo = self._usage = None

    def _open_writer(self, checked: bool | None = None) -> sqlite3.Cursor:
        own_checkpoints = self._checks is not None if checked is None else checked
        return self._open(
            "PRAGMA synchronous = FULL",
            "PRAGMA cache_size = -16384",
            f"PRAGMA wal_autocheckpoint = {0 if own_checkpoints else CHECKPOINT_FRAMES}",
            "PRAGMA journal_size_limit = 67108864",
        ).cursor()

    def _open_reader(self) -> sqlite3.Connection:
        return self._open("PRAGMA query_only = ON", "PRAGMA cache_size = -2048")

    def _open_keeper(self) -> sqlite3.Connection:
        """Open a connection that stays open, so that SQLite never rereads the log while this process runs.

        Without any connection SQLite would reread the log, and accept a commit whose flush had failed. That commit was
        refused and may not be on disk, and later commits would build on it. With one, its frames are overwritten.
        """
        return self._open_reader()

    def _open(self, *first: str) -> sqlite3.Connection:
        """Open a connection and run the statements `first`; if one fails, close it."""
        connection = open_database(
            self._path, self._connect, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        try:
            add_functions(connection)
            for statement in first:
                connection.execute(statement).fetchone()
        except BaseException:
            connection.close()
            raise
        return connection


def _flush_what_was_left(path: Path) -> None:
    try:
        make_log_durable(path)
    except OSError as error:
        raise Unavailable(
            f"cannot flush the metadata in {path} ({error.strerror or error}); its disk is full or broken"
        ) from error


def own(path: Path) -> int:
    """Lock the file for this process; create it, readable by its owner only. Returns the lock's descriptor."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return claim(path.with_name(path.name + ".lock"), "directory server", path, "folder with --data")
