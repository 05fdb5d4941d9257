"""Copies of a metadata file that are whole by themselves, and what SQLite finds wrong with one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

MAX_DEFECTS = 100


def copy_snapshot(source: sqlite3.Connection, target: Path) -> dict[str, int]:
    """Copy what `source` shows at one moment to the new file `target`, beside writers; the rows in each table.

    Durable on return. One step, in a read transaction of its own: a copy in several steps begins again whenever
    somebody writes. Raises sqlite3.Error.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    source.execute("BEGIN")
    try:
        rows = count_rows(source)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            source.backup(copy, pages=-1)
            # One file, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        source.execute("COMMIT")
    flush(target)
    return rows


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows in every table."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in tables}  # noqa: S608


def find_defects(connection: sqlite3.Connection) -> list[str]:
    """What SQLite's own check says; empty when the file is whole."""
    rows = connection.execute(f"PRAGMA integrity_check({MAX_DEFECTS})").fetchall()
    return [str(row[0]) for row in rows if row[0] != "ok"]


def flush(path: Path) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
