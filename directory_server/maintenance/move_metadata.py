"""Moves the metadata of a stopped directory from its file to an empty database, all or nothing.

Rows are copied as they are, redo records included, so to file servers and proxies the next start looks like any other.
Totals and the search index are not copied: the database makes them from the rows. Then every row is compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Boolean, Table

from directory_server.maintenance.restore import has_metadata
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.redo_lines import MADE_FROM_ROWS
from directory_server.metadata.schema import metadata as schema
from lockstep_store.runtime.storage.sqlite_files import open_database, read_only
from lockstep_store.wire.errors import Conflict, Damaged, SetupError

_LAST = "usage"
"""Copied after the other tables, whose rows would otherwise count twice."""


class Receiver(Protocol):
    """A transaction on an empty database; see engines/postgres/stopped.py."""

    def copy(self, table: Table, rows: Iterable[Any]) -> None:
        """Add rows, without redo records."""
        ...

    def rows(self, table: Table) -> Iterator[Any]:
        """Return a table's rows by primary key."""
        ...

    def continue_behind(self, table: str, behind: int) -> int:
        """Make a table's numbers continue behind a number."""
        ...


class EmptyDatabase(Protocol):
    """Where the metadata goes."""

    def is_empty(self) -> bool:
        """Whether there is no metadata in it."""
        ...

    def changing(self) -> AbstractContextManager[Receiver]:
        """Run a transaction."""
        ...


def move_metadata(file: Path, database: EmptyDatabase) -> dict[str, int]:
    """Copy the metadata in `file` to `database`; return the number of rows by table. The file stays as it is.

    Raises SetupError while a directory uses either, Conflict if the database has metadata, and Damaged if a row
    differs. After an error the database is empty.
    """
    if not has_metadata(file):
        raise SetupError(f"there is no metadata in {file.parent}; name the directory's folder with --data")
    if not database.is_empty():
        raise Conflict(f"{database} has metadata already; name an empty database")
    SqliteStore(file).close()  # verifies it, and brings it up to date
    store = SqliteStore(file)  # keeps directories away
    try:
        with closing(open_database(read_only(file), uri=True)) as source, database.changing() as target:
            return _copy(source, target)
    finally:
        store.close()


def _copy(source: sqlite3.Connection, target: Receiver) -> dict[str, int]:
    source.execute("BEGIN")
    numbers = dict(source.execute("SELECT name, seq FROM sqlite_sequence"))
    tables = [table for table in schema.sorted_tables if table.name not in MADE_FROM_ROWS]
    tables.sort(key=lambda table: table.name == _LAST)
    for table in tables:
        target.copy(table, _rows(source, table))
        if numbers.get(table.name):
            target.continue_behind(table.name, numbers[table.name])
    return {table.name: _compare(table, _rows(source, table), target.rows(table)) for table in tables}


def _rows(source: sqlite3.Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    """The rows to copy. PostgreSQL stores no zero bytes in texts, such as a description that anybody may have sent."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    order = ", ".join(f'"{column.name}"' for column in table.primary_key)
    flags = [place for place, column in enumerate(table.columns) if isinstance(column.type, Boolean)]
    for row in source.execute(f'SELECT {columns} FROM "{table.name}" ORDER BY {order}'):  # noqa: S608 - our own names
        values = [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row]
        for place in flags:
            values[place] = None if values[place] is None else bool(values[place])
        yield tuple(values)


def _compare(table: Table, ours: Iterator[Any], theirs: Iterator[Any]) -> int:
    count = 0
    for row in ours:
        if next(theirs, None) != row:
            raise Damaged(f"row {count + 1} of table {table.name} differs in the database; nothing was moved")
        count += 1
    if next(theirs, None) is not None:
        raise Damaged(f"table {table.name} has more rows in the database; nothing was moved")
    return count
