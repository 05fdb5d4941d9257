"""Runs statements in PostgreSQL: the writer's transaction, and readers' snapshots on a pool of connections.

`store` opens the connections and commits the transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from directory_server.metadata.engines.postgres.connections import Connection, ConnectionPool
from directory_server.metadata.engines.postgres.errors import translate, translate_failure
from directory_server.metadata.engines.postgres.redo import apply_records
from directory_server.metadata.engines.postgres.search_index import containing
from directory_server.metadata.engines.postgres.usage import Risen
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import quotas
from directory_server.metadata.store import Reader, Row, Tx
from lockstep_store.runtime.storage.group_commit import SharedTransaction
from lockstep_store.runtime.storage.savepoints import Savepoints
from lockstep_store.wire.errors import Damaged, StorageFull, Unavailable

BEGIN = "BEGIN"
"""What `Savepoints` asks for when it undoes a whole transaction."""
_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_ERRORS = (psycopg.Error, UnicodeError)


class PostgresReader(Reader):
    """Runs compiled statements on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        return self._execute(statement, parameters).fetchone()

    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    def containing(self, any_of: Sequence[Sequence[str]], low: int, high: int, count: int) -> list[Row]:
        sql, parameters = containing(any_of, low, high, count)
        return self._run_sql(sql, parameters).fetchall() if sql else []

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> psycopg.Cursor[Row]:
        sql, fixed = statement.for_dialect(_DIALECT)
        return self._run_sql(sql, {**fixed, **parameters} if fixed else parameters)

    def _run_sql(self, sql: str, parameters: dict[str, Any] | Sequence[Any]) -> psycopg.Cursor[Row]:
        try:
            return self._cursor.execute(sql, parameters)
        except _ERRORS as error:
            raise translate(error) from error


class PostgresTx(SharedTransaction, PostgresReader, Tx):
    """The writer's transaction, which has begun on `connection`; `begin` begins it again.

    After a failure of the connection or of the server's disk, nothing else in the batch may run, so the first such
    error is kept and raised for everything else.
    """

    def __init__(self, connection: Connection, begin: Callable[[], None], risen: Risen) -> None:
        PostgresReader.__init__(self, connection)
        self._begin = begin
        self.total_changes = 0
        """For the savepoints. An error counts too: PostgreSQL refuses everything until it is undone."""
        SharedTransaction.__init__(self, Savepoints(self, self._plain, BEGIN), risen)
        self._waiting: list[str] = []
        """Beginnings and ends of savepoints, which are sent together before the next statement."""

    def run(self, statement: Statement, **parameters: Any) -> int:
        return self._execute(statement, parameters).rowcount

    def apply_records(self, bodies: Iterable[str], leave: Collection[tuple[str, str]] = ()) -> None:
        apply_records(self._run_sql, bodies, leave)
        self.admit_over_quota()

    def admit_over_quota(self) -> None:
        self._noted.clear()

    def judge(self, noted: list[quotas.Counted]) -> None:
        quotas.demand_none_exceeded(self, noted)

    def _run_sql(self, sql: str, parameters: dict[str, Any] | Sequence[Any]) -> psycopg.Cursor[Row]:
        if self.failure is not None:
            raise self.failure
        if self._waiting:
            self._send()
        try:
            cursor = super()._run_sql(sql, parameters)
        except (StorageFull, Unavailable, Damaged) as error:
            self.failure = error
            raise
        except BaseException:
            self.total_changes += 1
            raise
        if not sql.startswith("SELECT"):
            self.total_changes += 1
        return cursor

    def _plain(self, sql: str) -> None:
        if sql.startswith("RELEASE") and self._waiting and self._waiting[-1] == f"SAVEPOINT{sql[7:]}":
            self._waiting.pop()  # nothing was done in it
        elif sql == BEGIN:
            self._waiting = []
            self._send(self._begin)
        else:
            self._waiting.append(sql)
            if sql.startswith("ROLLBACK"):
                self._send()

    def _send(self, call: Callable[[], None] | None = None) -> None:
        """Send what waits, or call `call`. A failure is one of the whole transaction."""
        if self.failure is not None:
            raise self.failure
        try:
            if call is not None:
                call()
            else:
                self._connection.execute("; ".join(self._waiting), prepare=False)
                self._waiting = []
        except psycopg.Error as error:
            self.failure = translate_failure(error)
            raise self.failure from error


class DatabaseSnapshot:
    """A read transaction on a pooled connection."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def __enter__(self) -> Reader:
        self._connection = self._pool.take()
        return PostgresReader(self._connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._connection.info.transaction_status != TransactionStatus.UNKNOWN:
                self._connection.execute("COMMIT")
        except psycopg.Error:
            self._connection.close()
        finally:
            self._pool.give_back(self._connection)
