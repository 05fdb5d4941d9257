"""The tables of totals: what is stored, counted by the engine with every change (see engines/sqlite/totals.py).

All but `daily_total` are no part of redo records, and are counted again after a restore.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Text

from directory_server.metadata.schema_base import Name, table

_AMOUNT = ("files", "file_bytes", "versions", "version_bytes")


def _amount() -> list[Column[object]]:
    """`files` are current; `versions` are all that have content."""
    return [Column(name, BigInteger, nullable=False) for name in _AMOUNT]


# What is stored by bucket, author, content type and month (`2026-03`, UTC) of the versions.
stored_total = table(
    "stored_total",
    Column("bucket", Name, primary_key=True),
    Column("author", Name, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("month", Text, primary_key=True),
    *_amount(),
)

# Current files below each folder, down to MAX_DEPTH. The bucket itself is the folder with the empty name; others end
# with a slash.
folder_total = table(
    "folder_total",
    Column("bucket", Name, primary_key=True),
    Column("folder", Name, primary_key=True),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# One row: the contents that versions and parts refer to, each counted once.
content_total = table(
    "content_total",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("blobs", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# What each bucket had at the end of a day (days since 1970, UTC).
daily_total = table(
    "daily_total",
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("bucket", Name, primary_key=True),
    *_amount(),
)
