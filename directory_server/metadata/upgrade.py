"""Applies migrations to a metadata file; rejects files that a newer program wrote."""

from __future__ import annotations

import secrets
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from directory_server.metadata.statements.redo import BREAK_CHAIN, CHAIN_BYTES
from lockstep_store.runtime.storage.sqlite_files import open_database
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import StorageFormatError, Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(path: Path) -> None:
    """Apply the migrations that `path` lacks, each in a transaction. Safe to repeat, durable on return."""
    engine = create_engine("sqlite://", creator=partial(open_database, path), poolclass=NullPool)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            apply_migrations(connection, str(path))
            crash_point("directory.migration.begun")
    except OperationalError as error:
        full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        advice = "free space on that disk" if full else "check its disk, its owner and its permissions"
        raise Unavailable(f"cannot open the metadata in {path} ({error.orig}): {advice}") from error
    except DatabaseError as error:
        raise StorageFormatError(
            f"{path} is not a Lockstep metadata file, or it is damaged ({error.orig}); restore a backup, "
            "or name another folder with --data"
        ) from error
    finally:
        engine.dispose()


def _prepare(connection: Any, _: object) -> None:
    # Otherwise the driver commits before each CREATE TABLE, and an interrupted migration leaves half of its tables.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL").close()
    connection.execute("PRAGMA synchronous = FULL").close()
    connection.execute("PRAGMA wal_autocheckpoint = 0").close()  # the store makes the checkpoints: see page_checksums


def apply_migrations(connection: Connection, name: str) -> None:
    """Apply the migrations that the metadata lacks, in the connection's transaction; `name` is for messages."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present == scripts.get_current_head():
        return
    if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
        raise StorageFormatError(
            f"{name} was written by a newer Lockstep (schema {present}; this program knows up to "
            f"{scripts.get_current_head()}); start that newer program, or restore a backup from before the upgrade"
        )
    command.upgrade(config, "head")
    # Records of the older schema do not lead to this one.
    begin, forget = BREAK_CHAIN
    connection.execute(text(begin), {"ahead": 1, "chain": secrets.token_bytes(CHAIN_BYTES)})
    connection.execute(text(forget))
