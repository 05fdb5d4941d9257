"""A database while no directory uses it: for the tools that put metadata right before a start."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from sqlalchemy import Table

from directory_server.metadata.engines.postgres.connections import Connection, shown
from directory_server.metadata.engines.postgres.errors import first_line
from directory_server.metadata.engines.postgres.installed import COUNT_COMMIT, bring_up_to_date, has_accounts, is_empty
from directory_server.metadata.engines.postgres.redo import MAKE_TABLE, recorded_tables
from directory_server.metadata.engines.postgres.writer import new_writer, patient_connection
from directory_server.metadata.store import Row
from lockstep_store.wire.errors import SetupError

WAIT_SECONDS = 10.0
_NAMED = re.compile(r":(\w+)")


class StoppedDatabase:
    """The database at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __str__(self) -> str:
        return f"the PostgreSQL database {shown(self._url)}"

    def is_empty(self) -> bool:
        """Whether there is no metadata. Waits for a server that starts; SetupError if it cannot be reached."""
        return self._ask(is_empty)

    def has_accounts(self) -> bool:
        """Whether a cluster uses the metadata. Waits, and raises, as above."""
        return self._ask(has_accounts)

    def _ask(self, question: Callable[[Connection], bool]) -> bool:
        with _usable(self), closing(patient_connection(self._url, time.monotonic() + WAIT_SECONDS)) as connection:
            return question(connection)

    @contextmanager
    def changing(self) -> Iterator[StoppedTransaction]:
        """Run a transaction that leaves no redo record. Raises SetupError while a directory uses the database."""
        with _usable(self):
            token, deadline = secrets.token_hex(16), time.monotonic() + WAIT_SECONDS
            writer = new_writer(self._url, token, lambda: bring_up_to_date(self._url), deadline)
            with closing(writer.connection) as connection:
                connection.execute(MAKE_TABLE)
                with connection.transaction():
                    connection.execute(COUNT_COMMIT)
                    yield StoppedTransaction(connection)


class StoppedTransaction:
    """See `maintenance.safe_to_start`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> psycopg.Cursor[Row]:
        if isinstance(parameters, Mapping):
            sql = _NAMED.sub(r"%(\1)s", sql)
        return self._connection.execute(sql.replace("?", "%s"), parameters or None)

    def newest(self, table: str, column: str) -> int:
        kept = self.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table}"').fetchone()  # noqa: S608 - our own names
        used = self.execute("SELECT pg_sequence_last_value(pg_get_serial_sequence(?, ?)::regclass)", (table, column))
        return max(int((kept or (0,))[0]), int((used.fetchone() or (0,))[0] or 0))

    def continue_behind(self, table: str, behind: int) -> int:
        self.execute(
            "SELECT setval(pg_get_serial_sequence(?, a.attname), ?) FROM pg_index i JOIN pg_attribute a"
            " ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indrelid = CAST(? AS regclass) AND i.indisprimary",
            (table, behind, table),
        )
        return behind

    def copy(self, table: Table, rows: Iterable[Any]) -> None:
        """Add rows, without redo records."""
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        redo_trigger = f'"{table.name}" {{}} TRIGGER "lockstep_redo_{table.name}"'
        if table.name in recorded_tables():
            self._connection.execute(f"ALTER TABLE {redo_trigger.format('DISABLE')}")
        try:
            with self._connection.cursor().copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.DataError as error:
            raise SetupError(f"PostgreSQL cannot store a row of table {table.name}: {first_line(error)}") from error
        if table.name in recorded_tables():
            self._connection.execute(f"ALTER TABLE {redo_trigger.format('ENABLE')}")

    def rows(self, table: Table) -> Iterator[Row]:
        """Return a table's rows by primary key, without holding them all in memory."""
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        order = ", ".join(f'"{column.name}"' for column in table.primary_key)
        with self._connection.cursor(name="rows") as cursor:
            cursor.itersize = 2000
            cursor.execute(f'SELECT {columns} FROM "{table.name}" ORDER BY {order}')  # noqa: S608 - our own names
            yield from cursor

    def count_again(self) -> None:
        """Nothing: triggers count every change of a database, whoever makes it."""


@contextmanager
def _usable(database: StoppedDatabase) -> Iterator[None]:
    """Raise SetupError for an error of PostgreSQL."""
    try:
        yield
    except psycopg.Error as error:
        raise SetupError(f"cannot use {database}: {first_line(error)}") from error
