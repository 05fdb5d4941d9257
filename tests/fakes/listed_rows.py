"""The tables that listings read, in a real database in memory that tests fill, and what reading costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from directory_server.metadata.engines.sqlite.transactions import _DIALECT, SqliteReader
from directory_server.metadata.schema import current, version
from directory_server.metadata.statement import Statement
from directory_server.metadata.store import Row

DEFAULTS: Mapping[str, Any] = {
    "bucket": "files",
    "version": "v",
    "id": "v",
    "digest": bytes(32),
    "size": 1,
    "content_type": "",
    "metadata": "{}",
    "author": "ann",
    "created_at": 0.0,
    "lock_number": 0,
    "null_version": False,
    "delete_marker": False,
    "cursor": 1,
    "write_id": "",
}


class ListedRows(SqliteReader):
    """Reads the rows given: each a path, or a mapping of a row's columns."""

    def __init__(
        self, files: Iterable[str | Mapping[str, Any]] = (), versions: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self._connection = sqlite3.connect(":memory:")
        super().__init__(self._connection.cursor())
        self.statements: list[Statement] = []
        self.rows_read = 0
        for table, rows in ((current, files), (version, versions)):
            creations: list[ExecutableDDLElement] = [CreateTable(table), *map(CreateIndex, table.indexes)]
            for creation in creations:
                self._cursor.execute(str(creation.compile(dialect=_DIALECT)))
            names = [column.name for column in table.c]
            wanted = [dict(DEFAULTS) | ({"path": row} if isinstance(row, str) else dict(row)) for row in rows]
            self._cursor.executemany(
                f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(names))})",
                [[row[name] for name in names] for row in wanted],
            )

    def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row = super().one(statement, **parameters)
        self._note(statement, 0 if row is None else 1)
        return row

    def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        rows = super().all(statement, **parameters)
        self._note(statement, len(rows))
        return rows

    def _note(self, statement: Statement, rows: int) -> None:
        self.statements.append(statement)
        self.rows_read += rows

    def steps_of(self, call: Any) -> int:
        """Return how many steps of its virtual machine SQLite takes for a call, in hundreds."""
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        self._connection.set_progress_handler(count, 100)
        try:
            call()
        finally:
            self._connection.set_progress_handler(None, 0)
        return steps

    def plan(self, statement: Statement) -> str:
        """Return how SQLite would run the statement."""
        sql, _ = statement.for_dialect(_DIALECT)
        return "; ".join(row[3] for row in self._cursor.execute(f"EXPLAIN QUERY PLAN {sql}", _Any()).fetchall())

    def close(self) -> None:
        self._connection.close()


class _Any(dict[str, object]):
    def __missing__(self, name: str) -> object:
        return 1
