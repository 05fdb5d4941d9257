"""Brings a metadata file to this program's schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

SCHEMA_REVISION = "0009"
"""The newest migration."""


def bring_up_to_date(path: Path) -> None:
    """Apply the migrations that `path` lacks, each in a transaction; safe to repeat, durable on return.

    Raises StorageFormatError for a file that a newer program wrote, or that is not a metadata file.
    """
    if _revision(path) != SCHEMA_REVISION:
        # Here, because the library takes longer to load than most directories take to start.
        from directory_server.metadata.upgrade import upgrade

        upgrade(path)


def _revision(path: Path) -> str:
    """What the file says it has; empty for one that does not say, for whatever reason: `upgrade` finds that out."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL").close()  # a backup that was put back has no log yet
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
    except sqlite3.Error:
        return ""
    return str(revision)
