"""Checks the type of each value that is read from the chunk index.

SQLite has no checksums. If a disk swaps two pages, both are good pages, but of the wrong table, and their rows have
values that no row of that table can have. Unchecked, such a value would cause an error far away, or pass for a place
or a length. A wrong value is treated as a malformed page.
"""

from __future__ import annotations

import sqlite3
from typing import Any


class UnreadableValue(sqlite3.DatabaseError):
    """A value that no row of this table can have; handled like SQLite's own SQLITE_CORRUPT."""


def number(value: Any) -> int:
    """Return the value of an INTEGER column; sqlite3.DatabaseError (SQLITE_CORRUPT) if it has another type."""
    if type(value) is int:
        return value
    raise malformed("a number")


def content(value: Any) -> bytes:
    """Return the value of a BLOB column; sqlite3.DatabaseError (SQLITE_CORRUPT) if it has another type."""
    if type(value) is bytes:
        return value
    raise malformed("bytes")


def name(value: Any) -> str:
    """Return the value of a TEXT column; sqlite3.DatabaseError (SQLITE_CORRUPT) if it has another type."""
    if type(value) is str:
        return value
    raise malformed("a name")


def malformed(expected: str, found: str = "") -> UnreadableValue:
    """Return the error that SQLite raises for a malformed page."""
    error = UnreadableValue(f"malformed index: expected {expected}{found and f', found {found}'}")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
