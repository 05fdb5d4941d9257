"""Redo records: the rows that each transaction changed, written in the transaction itself.

Triggers of the writer's connection collect the rows in a temporary table, so a savepoint or a statement that is undone
takes its rows along. They run inside SQLite: calling Python for each row would hand over the interpreter each time,
and shipping the log's pages instead would ship every index too and serve no other engine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from directory_server.metadata.engines.sqlite.search_index import INDEX_TABLES
from directory_server.metadata.redo_lines import UNRECORDED, UNRECORDED_BUT_REPORTED, changes
from directory_server.metadata.statements.redo import RecordChain

_LINES = "SELECT group_concat(body, char(10)) FROM"
_COLLECTED = f"SELECT ({_LINES} changed_row), ({_LINES} reported_row)"


class _Column(NamedTuple):
    name: str
    kind: str
    required: bool
    key_place: int

    def to_json(self, row: str) -> str:
        value = f'{row}."{self.name}"'
        if self.kind == "BLOB":
            text = f"hex({value})"
        elif self.kind == "FLOAT":
            text = f"printf('%!.17g', {value})"
        else:
            return value
        return text if self.required else f"CASE WHEN {value} IS NULL THEN NULL ELSE {text} END"

    def from_json(self, value: Any) -> Any:
        if value is None:
            return None
        return bytes.fromhex(value) if self.kind == "BLOB" else float(value) if self.kind == "FLOAT" else value


class RedoWriter:
    """Records what one connection changes. For one transaction at a time.

    After a transaction that was not committed, use a new one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._chain = RecordChain(connection.execute, "?")
        connection.execute("PRAGMA temp_store = MEMORY").close()
        # A replaced row fires its own trigger only so.
        connection.execute("PRAGMA recursive_triggers = ON").close()
        connection.execute("CREATE TEMP TABLE changed_row (body TEXT NOT NULL)").close()
        connection.execute("CREATE TEMP TABLE reported_row (body TEXT NOT NULL)").close()
        connection.execute("BEGIN").close()
        for table, columns in _tables(connection).items():
            for trigger in _triggers(table, columns):
                connection.execute(trigger).close()
        for table in UNRECORDED_BUT_REPORTED:
            gone = _gone(table, _columns(connection, table))
            connection.execute(
                f'CREATE TEMP TRIGGER reported_{table} AFTER DELETE ON main."{table}" '  # noqa: S608 - our own names
                f"BEGIN INSERT INTO reported_row VALUES ({gone}); END"
            ).close()
        connection.execute("COMMIT").close()

    def write(self) -> str:
        """At a transaction's end: write its record, and remove records beyond what is kept. Raises sqlite3.Error.

        Return what the transaction changed: the record's lines, and those of the rows `UNRECORDED_BUT_REPORTED`.
        """
        body, reported = self._connection.execute(_COLLECTED).fetchone()
        if reported is not None:
            self._connection.execute("DELETE FROM reported_row")
        if body is None:
            return reported or ""
        self._connection.execute("DELETE FROM changed_row")
        self._chain.append(body)
        return body if reported is None else f"{body}\n{reported}"


def apply_records(cursor: sqlite3.Cursor, bodies: Iterable[str], leave: Collection[tuple[str, str]] = ()) -> None:
    """Make the records' changes again, except those of the rows `leave` (table and first key). Raises sqlite3.Error.

    ValueError when a record does not fit this schema.
    """
    tables = _tables(cursor.connection)
    for kind, table, values in (change for body in bodies for change in changes(body)):
        columns = tables.get(table)
        wanted = columns if columns is None or kind == "+" else _key(columns)
        if wanted is None or len(wanted) != len(values):
            raise ValueError(f"it has a row of table {table!r} that this metadata has no place for")
        key_at = next(place for place, column in enumerate(wanted) if column.key_place == 1)
        if (table, values[key_at]) in leave:
            continue
        row = [column.from_json(value) for column, value in zip(wanted, values, strict=True)]
        key = _key(columns) if columns is not None else []
        if kind == "+":
            # A row that is replaced is not deleted for triggers, so totals and the search index would count it twice.
            told = dict(zip((column.name for column in wanted), row, strict=True))
            same = " AND ".join(f'"{column.name}" = ?' for column in key)
            cursor.execute(f'DELETE FROM "{table}" WHERE {same}', [told[column.name] for column in key])  # noqa: S608
            places = ", ".join("?" * len(row))
            cursor.execute(f'INSERT OR REPLACE INTO "{table}" VALUES ({places})', row)  # noqa: S608 - a known table
        else:
            where = " AND ".join(f'"{column.name}" = ?' for column in wanted)
            cursor.execute(f'DELETE FROM "{table}" WHERE {where}', row)  # noqa: S608 - a known table


def _tables(connection: sqlite3.Connection) -> dict[str, list[_Column]]:
    names = connection.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    return {
        name: _columns(connection, name)
        for (name,) in names
        if name not in UNRECORDED and name != "alembic_version" and not name.startswith(INDEX_TABLES)
    }


def _columns(connection: sqlite3.Connection, table: str) -> list[_Column]:
    return [
        _Column(column, kind.upper(), bool(required), place)
        for _, column, kind, required, _, place in connection.execute(f'PRAGMA main.table_info("{table}")')
    ]


def _key(columns: list[_Column]) -> list[_Column]:
    return sorted((column for column in columns if column.key_place), key=lambda column: column.key_place)


def _gone(table: str, columns: list[_Column]) -> str:
    return f"""json_array('-', '{table}', {", ".join(column.to_json("OLD") for column in _key(columns))})"""


def _triggers(table: str, columns: list[_Column]) -> Iterator[str]:
    key = _key(columns)
    put = f"""json_array('+', '{table}', {", ".join(column.to_json("NEW") for column in columns)})"""
    gone = _gone(table, columns)
    of_key = ", ".join(f'"{column.name}"' for column in key)
    for name, when, body in (
        ("insert", "AFTER INSERT", put),
        ("update", "AFTER UPDATE", put),
        ("rename", f"BEFORE UPDATE OF {of_key}", gone),
        ("delete", "AFTER DELETE", gone),
    ):
        yield (
            f'CREATE TEMP TRIGGER redo_{table}_{name} {when} ON main."{table}" '  # noqa: S608 - our own names
            f"BEGIN INSERT INTO changed_row VALUES ({body}); END"
        )
