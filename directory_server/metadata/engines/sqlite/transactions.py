"""Runs statements in SQLite: the writer's transaction, and readers' snapshots on a pool of connections.

`store` opens the connections and commits the transactions.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from directory_server.metadata.engines.sqlite.errors import translate, translate_failure
from directory_server.metadata.engines.sqlite.redo import apply_records
from directory_server.metadata.engines.sqlite.search_index import CONTAINING, match_expression
from directory_server.metadata.engines.sqlite.usage import UsageCounter
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import quotas
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.runtime.storage.group_commit import SharedTransaction
from lockstep_store.runtime.storage.savepoints import Savepoints
from lockstep_store.wire.errors import Damaged, StorageFull, Unavailable

# Idle connections kept. Few, because each has its own page cache; more are opened while more reads run.
KEPT_READERS = 8
_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


class SqliteReader(Reader):
    """Runs compiled statements on one cursor."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(statement, parameters).fetchone()
        return row

    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    def containing(self, any_of: Sequence[Sequence[str]], low: int, high: int, count: int) -> list[Row]:
        expression = match_expression(any_of)
        if not expression:
            return []
        try:
            return self._cursor.execute(CONTAINING, (expression, low, high, count)).fetchall()
        except sqlite3.Error as error:
            raise translate(error) from error

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> sqlite3.Cursor:
        sql, fixed = statement.for_dialect(_DIALECT)
        try:
            return self._cursor.execute(sql, {**fixed, **parameters} if fixed else parameters)
        except sqlite3.Error as error:
            raise translate(error) from error


class SqliteTx(SharedTransaction, SqliteReader, Tx):
    """The writer's transaction.

    When the disk is full or fails, SQLite rolls back the whole transaction by itself. Later statements would each
    commit alone, so the first such error is kept and raised for everything else in the batch.
    """

    def __init__(self, cursor: sqlite3.Cursor, usage: UsageCounter) -> None:
        SqliteReader.__init__(self, cursor)
        SharedTransaction.__init__(self, Savepoints(cursor.connection, self._plain), usage.risen)

    def run(self, statement: Statement, **parameters: Any) -> int:
        return self._execute(statement, parameters).rowcount

    def apply_records(self, bodies: Iterable[str], leave: Collection[tuple[str, str]] = ()) -> None:
        try:
            apply_records(self._cursor, bodies, leave)
        except sqlite3.Error as error:
            raise translate(error) from error
        self.admit_over_quota()

    def admit_over_quota(self) -> None:
        self._noted.clear()

    def judge(self, noted: list[quotas.Counted]) -> None:
        quotas.demand_none_exceeded(self, noted)

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


class Snapshot:
    """A read transaction on a pooled connection."""

    __slots__ = ("_cursor", "_pool")

    def __init__(self, pool: ReaderPool) -> None:
        self._pool = pool

    def __enter__(self) -> Reader:
        try:
            self._cursor = self._pool.take()
            self._cursor.execute("BEGIN")
        except sqlite3.Error as error:
            raise translate_failure(error) from error
        return SqliteReader(self._cursor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._cursor.execute("COMMIT")
        except sqlite3.Error:
            self._cursor.connection.close()
        else:
            self._pool.give_back(self._cursor)


class ReaderPool:
    """Pools connections for snapshots, each used by one at a time. Thread-safe."""

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
