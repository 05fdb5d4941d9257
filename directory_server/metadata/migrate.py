"""Upgrades a metadata file to this program's schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lockstep_store.runtime.storage.sqlite_files import open_database

SCHEMA_REVISION = "0030"
"""The newest migration."""


def bring_up_to_date(path: Path) -> None:
    """Apply the migrations that `path` lacks. Safe to repeat, durable on return.

    Raises StorageFormatError if a newer program wrote the file, or if it is not a metadata file.
    """
    if _revision(path) != SCHEMA_REVISION:
        # Imported only when needed: loading the library takes longer than most directories take to start.
        from directory_server.metadata.upgrade import upgrade

        upgrade(path)


def _revision(path: Path) -> str:
    """Return the file's schema revision; empty if it cannot be read, and `upgrade` finds out why."""
    try:
        with closing(open_database(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL").close()  # a restored backup has no log yet
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
    except sqlite3.Error:
        return ""
    return str(revision)
