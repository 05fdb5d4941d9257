"""The tables of the search index, which has a row for each current file. The engine fills them with every change.

The index proper is the engine's own (see engines/sqlite/search_index.py). Neither is part of redo records: a restored
directory fills them again.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, UniqueConstraint

from directory_server.metadata.schema_base import Name, Sequence, metadata

# Buckets by number. A bucket keeps its number when it is deleted and made again.
search_bucket = Table(
    "search_bucket",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", Name, nullable=False),
    UniqueConstraint("name", name="search_bucket_name"),
)

# `id` is the bucket's number times BUCKET_IDS plus a serial number, so a bucket's files are one range of ids, and a
# search in one bucket costs nothing for what others contain. `name` is the last part of the path, in lower case as far
# as it is ASCII.
search_file = Table(
    "search_file",
    metadata,
    Column("id", Sequence, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("name", Name, nullable=False),
    Column("path", Name, nullable=False),
    Index("search_file_name", "number", "name", "path", unique=True),
)

BUCKET_IDS = 1 << 40
"""Ids that each bucket has."""
NAME_OF = "lower(substr({0}, length(rtrim({0}, replace({0}, '/', ''))) + 1))"
"""A path's last part in SQL, as in `name`."""
NEXT_ID = (
    f"coalesce((SELECT max(f.id) + 1 FROM search_file f WHERE f.id >= b.number * {BUCKET_IDS}"  # noqa: S608 - our own names
    f" AND f.id < (b.number + 1) * {BUCKET_IDS}), b.number * {BUCKET_IDS})"
)
"""The next id of a bucket `b` in SQL."""

ADD_PATH = (
    "INSERT INTO search_bucket (name) SELECT NEW.bucket"  # noqa: S608 - our own names
    " WHERE NOT EXISTS (SELECT 1 FROM search_bucket WHERE name = NEW.bucket);"
    f" INSERT INTO search_file (id, number, name, path) SELECT {NEXT_ID}, b.number, {NAME_OF.format('NEW.path')},"
    " NEW.path FROM search_bucket b WHERE b.name = NEW.bucket;"
)
REMOVE_PATH = (
    "DELETE FROM search_file WHERE number = (SELECT number FROM search_bucket WHERE name = OLD.bucket)"  # noqa: S608
    f" AND name = {NAME_OF.format('OLD.path')} AND path = OLD.path;"
)
"""What a trigger does in SQL when a path is new, or gone."""
