"""Opens SQLite files that may be damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NOT_TEXT = "Could not decode to UTF-8"
"""The beginning of the message of Python's module, without a code of SQLite, for a text that is none."""


def reports_damage(error: BaseException | None) -> bool:
    """Return whether an error reports a malformed file. Only for databases whose texts were all written by Python."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith(_NOT_TEXT)


def open_database(
    file: Path | str, connect: Callable[..., sqlite3.Connection] | None = None, **options: Any
) -> sqlite3.Connection:
    """Open a database and read its schema. `options` are those of `sqlite3.connect`, which `connect` replaces in tests.

    Raises sqlite3.Error: SQLITE_CORRUPT also for a damaged schema whose names are not UTF-8. SQLite quotes such a name
    in its message, which Python's module cannot decode, so that the first statement raises UnicodeDecodeError instead.
    """
    connection = (connect or sqlite3.connect)(file, **options)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except UnicodeDecodeError as error:
        connection.close()
        damaged = sqlite3.DatabaseError("malformed database schema: a name in it is not UTF-8")
        damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damaged from error
    except BaseException:
        connection.close()
        raise
    return connection


def read_only(file: Path) -> str:
    """Return the URI that opens a file for reading only, whatever characters its path has."""
    return f"{file.absolute().as_uri()}?mode=ro"
