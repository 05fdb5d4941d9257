"""Redo records in PostgreSQL: triggers collect the rows that a transaction changes in the session's own table.

See `redo_lines` for the form. The table is temporary, so an undone savepoint takes its rows along, and a session that
did not make the table (psql, say) cannot change the metadata without leaving a record.
"""
# ruff: noqa: S608 - the names in these statements are our own

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Boolean, Column, Float, LargeBinary, Table

from directory_server.metadata.engines.postgres.connections import Connection
from directory_server.metadata.redo_lines import UNRECORDED, UNRECORDED_BUT_REPORTED, changes
from directory_server.metadata.schema import metadata
from directory_server.metadata.statements.redo import RecordChain
from directory_server.metadata.store import Row

MAKE_TABLE = """CREATE TEMP TABLE IF NOT EXISTS changed_row (
 place bigint GENERATED ALWAYS AS IDENTITY, recorded boolean NOT NULL, body text NOT NULL) ON COMMIT DELETE ROWS"""

_LINES = "string_agg(body, E'\\n' ORDER BY place)"
_COLLECTED = f"SELECT {_LINES} FILTER (WHERE recorded), {_LINES} FILTER (WHERE NOT recorded) FROM changed_row"


class DatabaseRedo:
    """Records what one connection changes. For one transaction at a time.

    After a transaction that was not committed, use a new one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chain = RecordChain(connection.execute, "%s")
        connection.execute(MAKE_TABLE)

    def write(self) -> str:
        """At a transaction's end: write its record, and remove records beyond what is kept. Raises psycopg.Error.

        Return what the transaction changed: the record's lines, and those of the rows `UNRECORDED_BUT_REPORTED`.
        """
        row = self._connection.execute(_COLLECTED).fetchone()
        body, reported = row or (None, None)
        if body is None:
            return reported or ""
        self._chain.append(body)
        return body if reported is None else f"{body}\n{reported}"


def apply_records(
    run: Callable[[str, Sequence[Any]], psycopg.Cursor[Row]],
    bodies: Iterable[str],
    leave: Collection[tuple[str, str]] = (),
) -> None:
    """Make the records' changes again, except those of the rows `leave` (table and first key).

    ValueError when a record does not fit this schema.
    """
    numbered = set()
    for kind, name, values in (change for body in bodies for change in changes(body)):
        table = recorded_tables().get(name)
        wanted = [] if table is None else list(table.columns) if kind == "+" else list(table.primary_key)
        if len(wanted) != len(values):
            raise ValueError(f"it has a row of table {name!r} that this metadata has no place for")
        assert table is not None
        row = {column.name: _from_json(column, value) for column, value in zip(wanted, values, strict=True)}
        key = list(table.primary_key)
        if (name, row[key[0].name]) in leave:
            continue
        same = " AND ".join(f'"{column.name}" = %s' for column in key)
        run(f'DELETE FROM "{name}" WHERE {same}', [row[column.name] for column in key])
        if kind == "+":
            columns, places = ", ".join(f'"{one}"' for one in row), ", ".join(["%s"] * len(row))
            run(f'INSERT INTO "{name}" ({columns}) VALUES ({places})', list(row.values()))
            if table.autoincrement_column is not None:
                numbered.add((name, table.autoincrement_column.name))
    for name, column in sorted(numbered):
        run(BEHIND_ALL.format(table=name, column=column), ())


BEHIND_ALL = (
    "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), greatest((SELECT max(\"{column}\") FROM"
    " \"{table}\"), nextval(pg_get_serial_sequence('\"{table}\"', '{column}')) - 1, 1))"
)
"""Makes a table go on with numbers behind all that it has."""


@cache
def recorded_tables() -> dict[str, Table]:
    """Return the tables whose changes are in records."""
    return {name: table for name, table in metadata.tables.items() if name not in UNRECORDED}


def triggers() -> Iterator[str]:
    """Return the statements that make the triggers."""
    for table in recorded_tables().values():
        yield from _trigger(table)
    for name in UNRECORDED_BUT_REPORTED:
        gone = _line("-", metadata.tables[name], "OLD")
        body = f"INSERT INTO changed_row (recorded, body) VALUES (FALSE, {gone}); RETURN NULL;"
        yield function(f"reported_{name}", body)
        yield trigger(f"reported_{name}", "AFTER DELETE", name)


def _trigger(table: Table) -> Iterator[str]:
    name = f"redo_{table.name}"
    gone, put = _line("-", table, "OLD"), _line("+", table, "NEW")
    insert = "INSERT INTO changed_row (recorded, body) VALUES (TRUE,"
    renamed = " OR ".join(f'OLD."{column.name}" <> NEW."{column.name}"' for column in table.primary_key)
    yield function(
        name,
        f"""IF TG_OP = 'DELETE' THEN {insert} {gone});
        ELSE IF TG_OP = 'UPDATE' AND ({renamed}) THEN {insert} {gone}); END IF;
        {insert} {put}); END IF; RETURN NULL;""",
    )
    yield trigger(name, "AFTER INSERT OR UPDATE OR DELETE", table.name)


def function(name: str, body: str, declare: str = "") -> str:
    """Return the statement that makes a trigger's function."""
    return (
        f"CREATE OR REPLACE FUNCTION lockstep_{name}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $lockstep${declare} BEGIN {body} END $lockstep$"
    )


def trigger(name: str, event: str, table: str, condition: str = "TRUE") -> str:
    """Return the statement that makes a trigger for each row; its function has the same name."""
    return (
        f'CREATE OR REPLACE TRIGGER lockstep_{name} {event} ON "{table}" FOR EACH ROW WHEN ({condition})'
        f" EXECUTE FUNCTION lockstep_{name}()"
    )


def _line(kind: str, table: Table, row: str) -> str:
    columns = table.columns if kind == "+" else table.primary_key
    values = ", ".join(_to_json(column, f'{row}."{column.name}"') for column in columns)
    return f"json_build_array('{kind}', '{table.name}', {values})::text"


def _to_json(column: Column[Any], value: str) -> str:
    if isinstance(column.type, LargeBinary):
        return f"upper(encode({value}, 'hex'))"
    if isinstance(column.type, Float):
        return f"{value}::text"
    return f"{value}::int" if isinstance(column.type, Boolean) else value


def _from_json(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, LargeBinary):
        return bytes.fromhex(value)
    if isinstance(column.type, Float):
        return float(value)
    return bool(value) if isinstance(column.type, Boolean) else value
