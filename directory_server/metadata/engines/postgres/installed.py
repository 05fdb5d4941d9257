"""Makes a database's tables, functions and triggers, and brings older ones up to date."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg

from directory_server.metadata.engines.postgres import redo, search_index, totals, usage
from directory_server.metadata.engines.postgres.connections import Connection, connect
from directory_server.metadata.migrate import SCHEMA_REVISION
from lockstep_store.wire.errors import SetupError

OLDEST_SERVER = 140000

_MAKE_CLAIM = (
    "CREATE TABLE IF NOT EXISTS lockstep_directory"
    " (id int PRIMARY KEY CHECK (id = 1), token text NOT NULL, commits bigint NOT NULL, definitions text NOT NULL)",
    "INSERT INTO lockstep_directory VALUES (1, '', 0, '') ON CONFLICT DO NOTHING",
)
"""One row: the directory server that may commit, and the number of commits so far."""
COUNT_COMMIT = "UPDATE lockstep_directory SET commits = commits + 1"
"""For changes without a directory server. Metadata without any commit counts as empty."""


def check_server(connection: Connection) -> None:
    """Raise SetupError unless the server and its database can keep the store's promises."""
    row = connection.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('fsync'), datcollate, datctype,"
        " pg_encoding_to_char(encoding), pg_is_in_recovery() FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    version, fsync, collation, kind, encoding, standby = row
    if version < OLDEST_SERVER:
        raise SetupError(f"PostgreSQL {version // 10000} is too old; Lockstep needs 14 or newer")
    if fsync != "on":
        raise SetupError(
            "PostgreSQL runs with fsync = off and would lose acknowledged writes; turn it on, then try again"
        )
    if (collation, kind, encoding) != ("C", "C", "UTF8"):
        raise SetupError(
            f"the database has collation {collation}, character type {kind} and encoding {encoding}, but names must "
            "compare by their bytes; create it with `createdb --template=template0 --encoding=UTF8 --locale=C NAME`"
        )
    if standby:
        raise SetupError("this PostgreSQL is a standby and accepts no changes; name the primary with --metadata")


def is_empty(connection: Connection) -> bool:
    """Whether the database has no metadata yet: no tables, or no commit in them. Raises psycopg.Error."""
    return not _first(connection, "SELECT commits FROM lockstep_directory")


def has_accounts(connection: Connection) -> bool:
    """Whether a cluster uses the metadata: its first directory server made the first account. Raises psycopg.Error."""
    return bool(_first(connection, "SELECT true FROM account LIMIT 1"))


def bring_up_to_date(url: str) -> None:
    """Make what the database lacks. Safe to repeat. Raises psycopg.Error.

    Raises SetupError if the database is not fit, and StorageFormatError if a newer program wrote the metadata.
    """
    wanted = [*search_index.definitions(), *totals.definitions(), *redo.triggers(), *usage.triggers()]
    name = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    with connect(url) as connection:
        check_server(connection)
        is_current = _first(connection, "SELECT version_num FROM alembic_version") == SCHEMA_REVISION
        if is_current and _first(connection, "SELECT definitions FROM lockstep_directory") == name:
            return
    if not is_current:
        # Imported only when needed: loading the library takes long.
        from directory_server.metadata.engines.postgres.upgrade import upgrade

        upgrade(url)
    with connect(url) as connection, connection.transaction():
        for statement in (*_MAKE_CLAIM, *wanted):
            connection.execute(statement)
        connection.execute("UPDATE lockstep_directory SET definitions = %s", (name,))


def _first(connection: Connection, statement: str) -> Any:
    """Return the first value; None without one, or without the table."""
    try:
        row = connection.execute(statement).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return None if row is None else row[0]
