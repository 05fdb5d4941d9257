"""The tables of changes to whole folders."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Text

from directory_server.metadata.schema_base import Name, table

# A move or deletion of a folder. `position` is the last path that was handled, and `handled` counts the paths of all
# attempts. `access` and `limited_by` describe the request, as in a write's ticket. `ended_time` is directory time.
folder_change = table(
    "folder_change",
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("bucket", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("to_bucket", Name, nullable=False),
    Column("to_path", Name, nullable=False),
    Column("account", Name, nullable=False),
    Column("access", Text, nullable=False),
    Column("limited_by", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("handled", BigInteger, nullable=False),
    Column("position", Name, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("began_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("ended_time", Float),
    Index("folder_change_account", "account", "began_at"),
    Index("folder_change_state", "state", "id"),
)

# The files that a change could not move or delete; `problem` is JSON.
folder_problem = table(
    "folder_problem",
    Column("change", Text, primary_key=True),
    Column("path", Name, primary_key=True),
    Column("problem", Text, nullable=False),
)
