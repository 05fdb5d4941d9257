"""The embedded metadata engine: SQLite in WAL mode, every commit flushed, writers sharing commits.

One connection writes, on group commit's thread; a few more read, each in a snapshot of its own, and are never blocked
by the writer. What the tables are is `schema`'s business, how an older file is brought up to date `migrations`'.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from directory_server.metadata.migrate import bring_up_to_date
from directory_server.metadata.page_checks import CHECKPOINT_FRAMES, ROUND_SECONDS, PageChecks, has_checks
from directory_server.metadata.sqlite_backup import copy_snapshot, find_defects
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import ConstraintBroken, MetadataStore, Reader, Row, Tx
from wire.crash_points import crash_point
from wire.errors import Damaged, InternalError, LockstepError, SetupError, StorageFull, Unavailable
from wire.group_commit import GroupCommit
from wire.tracing import log
from wire.write_ahead_log import make_log_durable

R = TypeVar("R")
Connect = Callable[..., sqlite3.Connection]

# Few, because each has a page cache of its own; more are opened while more reads run at once.
KEPT_READERS = 8
_ANY_READ = "SELECT count(*) FROM sqlite_schema"
_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")
_FULL = "the directory's disk is full: nothing was written; free space in its data folder, then try again"


class _SqliteReader(Reader):
    """Runs compiled statements on one cursor of one connection."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(statement, parameters).fetchone()
        return row

    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> sqlite3.Cursor:
        sql, fixed = statement.for_dialect(_DIALECT)
        try:
            return self._cursor.execute(sql, {**fixed, **parameters} if fixed else parameters)
        except sqlite3.Error as error:
            raise translate(error) from error


class _SqliteTx(_SqliteReader, Tx):
    """The writer's transaction.

    SQLite undoes the whole transaction by itself when the disk is full or fails. Statements after that would each be
    committed alone, so the first such failure is kept and everything else in the batch is refused with it.
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        super().__init__(cursor)
        self.failure: LockstepError | None = None
        self.when_durable: list[Callable[[], None]] = []
        self._depth = 0

    def run(self, statement: Statement, **parameters: Any) -> int:
        return self._execute(statement, parameters).rowcount

    def after_commit(self, call: Callable[[], None]) -> None:
        self.when_durable.append(call)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        registered = len(self.when_durable)
        name = f"s{self._depth}"
        self._plain(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            yield
        except BaseException:
            del self.when_durable[registered:]
            if self.failure is None:
                self._plain(f"ROLLBACK TO {name}")
                self._plain(f"RELEASE {name}")
            raise
        else:
            self._plain(f"RELEASE {name}")
        finally:
            self._depth -= 1

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> sqlite3.Cursor:
        if self.failure is not None:
            raise self.failure
        try:
            return super()._execute(statement, parameters)
        except (StorageFull, Unavailable, Damaged) as error:
            self.failure = error
            raise

    def _plain(self, sql: str) -> None:
        if self.failure is not None:
            raise self.failure
        try:
            self._cursor.execute(sql)
        except sqlite3.Error as error:
            self.failure = translate_failure(error)
            raise self.failure from error


class _Snapshot:
    """One read transaction on a pooled connection."""

    __slots__ = ("_cursor", "_pool")

    def __init__(self, pool: _ReaderPool) -> None:
        self._pool = pool

    def __enter__(self) -> Reader:
        self._cursor = self._pool.take()
        self._cursor.execute("BEGIN")
        return _SqliteReader(self._cursor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._cursor.execute("COMMIT")
        except sqlite3.Error:
            self._cursor.connection.close()
        else:
            self._pool.give_back(self._cursor)


class _ReaderPool:
    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._idle: deque[sqlite3.Cursor] = deque()
        self._closed = False

    def take(self) -> sqlite3.Cursor:
        if self._closed:
            raise Unavailable("the directory is stopping; try again in a moment")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect().cursor()

    def give_back(self, cursor: sqlite3.Cursor) -> None:
        if len(self._idle) < KEPT_READERS and not self._closed:
            self._idle.append(cursor)
        else:
            cursor.connection.close()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().connection.close()


class SqliteStore(MetadataStore):
    """The metadata in one SQLite file. Only one process may have it open: SetupError for a second one.

    Raises Damaged when the file is not as it was written (see `page_checks`). `connect` stands in for
    `sqlite3.connect`, so that tests can give a disk that fails; `checked` False keeps no checksums of pages, for
    tests whose programs die without their process.
    """

    def __init__(self, path: Path, connect: Connect = sqlite3.connect, *, checked: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._connect = connect
        self._lock_descriptor = own(path)
        self._problem = ""
        self._first_works: list[Callable[[Tx], None]] = []
        self._last_works: list[Callable[[Tx], None]] = []
        self._readers = _ReaderPool(self._open_reader)
        self._writer: sqlite3.Cursor | None = None
        self._keeper: sqlite3.Connection | None = None
        self._checks: PageChecks | None = None
        self._damage: Damaged | None = None
        self._checkpoint_from = 0
        try:
            _flush_what_was_left(path)
            self._open_all(checked)
        except BaseException:
            os.close(self._lock_descriptor)
            raise
        self._group = GroupCommit(self._transaction, name="metadata-writer")

    def _open_all(self, checked: bool) -> None:
        """Verify before anything is changed: a migration, or a last connection that closes, would."""
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
        except FileNotFoundError as error:  # the file's head does not say that it has a log, and so it was not us
            raise Damaged(damaged_file(str(error))) from error
        except sqlite3.Error as error:
            raise translate_failure(error) from error
        return self._checks

    def _begin_checks(self) -> None:
        """The first checksums of a new file, or of one that has lost them: then its structure must do."""
        assert self._writer is not None
        found = self._writer.execute("PRAGMA integrity_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise Damaged(damaged_file(f"{found and found[0]}"))
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if self._checks is None:
            assert self._keeper is not None
            self._keeper.execute(_ANY_READ).fetchone()
            self._checks = PageChecks(self._path)
        self._checks.begin()

    def write(self, work: Callable[[Tx], R]) -> R:
        self._raise_if_damaged()
        return self._group.submit(work)

    def read(self) -> AbstractContextManager[Reader]:
        self._raise_if_damaged()
        return _Snapshot(self._readers)

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

    def first_in_each_transaction(self, work: Callable[[Tx], None]) -> None:
        self._first_works.append(work)

    def last_in_each_transaction(self, work: Callable[[Tx], None]) -> None:
        self._last_works.append(work)

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
    def _transaction(self) -> Iterator[_SqliteTx]:
        """On the writer thread only."""
        try:
            tx = _SqliteTx(self._begin())
            for work in self._first_works:
                work(tx)
            yield tx
            for work in self._last_works:
                work(tx)
            if tx.failure is not None:
                raise tx.failure
            crash_point("directory.store.committing")
            self._commit(tx)
            crash_point("directory.store.committed")
        except BaseException as error:
            self._problem = str(error)
            # After a failed flush SQLite cannot know what the disk has; a new connection reads it again.
            self._drop_writer()
            log.error("a commit of the metadata failed: %s", error)
            raise
        self._problem = ""
        self._note_commit()
        for call in tx.when_durable:
            try:
                call()
            except Exception:  # noqa: BLE001 - the commit is done; nobody's result may depend on this
                log.exception("what should follow a commit failed")

    def _note_commit(self) -> None:
        """The commit is done, and nothing here may undo its answer."""
        if self._checks is None:
            return
        try:
            frames = self._checks.note()
            if frames < CHECKPOINT_FRAMES:
                self._checkpoint_from = CHECKPOINT_FRAMES
            elif frames >= self._checkpoint_from:
                # A reader may need the log as it is: then again when it has grown, not after every commit.
                self._checkpoint_from = frames + CHECKPOINT_FRAMES // 4
                self._checkpoint(self._checks, "PASSIVE")
        except (OSError, sqlite3.Error):
            log.exception("a checkpoint of the metadata failed; it is tried again")

    def _checkpoint(self, checks: PageChecks, how: str) -> bool:
        """Move the log into the main file; whether all of it was."""
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
        """SQLite would make it itself when the last connection closes, and the checksums would not know."""
        try:
            if not self._checkpoint(checks, "FULL"):
                checks.distrust("the last checkpoint was not complete")
        except (OSError, sqlite3.Error) as error:
            checks.distrust(f"the last checkpoint failed ({error})")

    def _begin(self) -> sqlite3.Cursor:
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            self._writer.execute("BEGIN IMMEDIATE")
            return self._writer
        except sqlite3.Error as error:
            raise translate_failure(error) from error

    def _commit(self, tx: _SqliteTx) -> None:
        try:
            assert self._writer is not None
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate_failure(error) from error

    def _drop_writer(self) -> None:
        if self._writer is not None:
            try:
                self._writer.connection.close()  # undoes what was not committed
            except sqlite3.Error:
                log.exception("closing the metadata file failed")
            self._writer = None

    def _open_writer(self, checked: bool | None = None) -> sqlite3.Cursor:
        cursor = self._open().cursor()
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA cache_size = -16384")
        own_checkpoints = self._checks is not None if checked is None else checked
        cursor.execute(f"PRAGMA wal_autocheckpoint = {0 if own_checkpoints else CHECKPOINT_FRAMES}")
        cursor.execute("PRAGMA journal_size_limit = 67108864")
        return cursor

    def _open_reader(self) -> sqlite3.Connection:
        connection = self._open()
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -2048")
        return connection

    def _open_keeper(self) -> sqlite3.Connection:
        """A connection that stays open, so that SQLite never reads the log anew while this process runs.

        With no connection left it would, and would count a commit whose flush had failed: it was refused, and is
        perhaps not on the disk that later commits would rest on. The frames are written over instead.
        """
        keeper = self._open_reader()
        keeper.execute(_ANY_READ).fetchone()
        return keeper

    def _open(self) -> sqlite3.Connection:
        return self._connect(
            self._path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=512
        )


def _flush_what_was_left(path: Path) -> None:
    try:
        make_log_durable(path)
    except OSError as error:
        raise Unavailable(
            f"the metadata in {path} cannot be flushed ({error.strerror or error}): its disk is full or broken"
        ) from error


def own(path: Path) -> int:
    """Take the file for this process until it ends; made with permissions for its owner only."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SetupError(
            f"another directory server has {path} open: stop it, or give this one its own folder with --data"
        ) from None
    return descriptor


def damaged_file(what: str) -> str:
    """What a person is told."""
    return f"the directory's metadata file is damaged ({what}): stop the directory and restore a backup"


def translate(error: sqlite3.Error) -> Exception:
    """The driver's failure as ours."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if isinstance(error, sqlite3.IntegrityError):
        return ConstraintBroken(str(error))
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(_FULL)
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Damaged(damaged_file(str(error)))
    if isinstance(error, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR:
        return Unavailable(f"the directory cannot use its disk ({error}); try again in a moment")
    return InternalError(f"a metadata statement failed: {error}")


def translate_failure(error: sqlite3.Error) -> LockstepError:
    """The same for BEGIN, COMMIT and savepoints, where every failure is the store's own."""
    known = translate(error)
    return known if isinstance(known, LockstepError) else InternalError(str(error))
