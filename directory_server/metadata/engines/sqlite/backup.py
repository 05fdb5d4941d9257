"""Copies a metadata file while it is in use, and runs SQLite's own check on one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

MAX_DEFECTS = 100


def copy_snapshot(source: sqlite3.Connection, target: Path) -> dict[str, int]:
    """Copy one snapshot of `source` to the new file `target`; return the number of rows by table.

    Durable on return. Copies in one step, in its own read transaction: a copy in several steps would start again at
    each write. Raises sqlite3.Error.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    source.execute("BEGIN")
    try:
        rows = count_rows(source)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            source.backup(copy, pages=-1)
            # So that the copy is a single file, without a log.
            copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        source.execute("COMMIT")
    flush(target)
    return rows


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows by table."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in tables}  # noqa: S608


def find_defects(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite's integrity check finds; empty if the file is intact."""
    rows = connection.execute(f"PRAGMA integrity_check({MAX_DEFECTS})").fetchall()
    return [str(row[0]) for row in rows if row[0] != "ok"]


def flush(path: Path) -> None:
    """Flush a file to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
