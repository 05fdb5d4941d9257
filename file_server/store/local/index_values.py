"""Values out of the chunk index, taken for what their columns say only when they are.

SQLite keeps no checksums. A page that another one was swapped for is a good page, of a wrong table: its rows come with
values that no row of that table can have. Used as they are, they end in an error far away, or pass for a place or a
length; so each is looked at where it is read, and a wrong one means what any malformed page does.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from lockstep_store.wire.digest import DIGEST_BYTES, Digest


def number(value: Any) -> int:
    """`value` of an INTEGER column; sqlite3.DatabaseError (SQLITE_CORRUPT) when it is none."""
    if type(value) is int:
        return value
    raise malformed("a number")


def content(value: Any) -> bytes:
    """`value` of a BLOB column; sqlite3.DatabaseError (SQLITE_CORRUPT) when it is none."""
    if type(value) is bytes:
        return value
    raise malformed("bytes")


def digest(value: Any) -> Digest:
    """The digest in a BLOB column; sqlite3.DatabaseError (SQLITE_CORRUPT) when it is none."""
    if type(value) is bytes and len(value) == DIGEST_BYTES:
        return Digest(value)
    raise malformed("a digest")


def name(value: Any) -> str:
    """`value` of a TEXT column; sqlite3.DatabaseError (SQLITE_CORRUPT) when it is none."""
    if type(value) is str:
        return value
    raise malformed("a name")


def malformed(expected: str, found: str = "") -> sqlite3.DatabaseError:
    """The error that SQLite gives for a page that cannot be right: `expected` belongs where something else is."""
    error = sqlite3.DatabaseError(f"a row has something else where {expected} belongs{found and f' ({found})'}")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
