"""Declares tables for every engine; `schema` and its siblings use it.

Columns ending in `_at` are wall clock seconds, for display. `expires`, `until` and `…_time` are directory time, and
decide. Digests are 32 raw bytes. Paths compare by their UTF-8 bytes, so that listings have the same order on every
engine. JSON is stored as text, because statements reach the driver without type conversion.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()

# SQLite compares text by bytes by default; PostgreSQL needs this collation.
Name = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows only in a column declared INTEGER.
Sequence = BigInteger().with_variant(Integer(), "sqlite")


def table(name: str, *parts: Column[object] | UniqueConstraint | Index) -> Table:
    """Declare a table stored in primary key order, so that one probe finds a row."""
    return Table(name, metadata, *parts, sqlite_with_rowid=False)


def numbered(name: str, *parts: Column[object] | UniqueConstraint | Index) -> Table:
    """Declare a table whose integer key only rises and is never reused, not even after its rows are deleted."""
    return Table(name, metadata, *parts, sqlite_autoincrement=True)
