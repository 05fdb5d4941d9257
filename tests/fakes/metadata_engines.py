"""Opens the metadata of test doubles with SQLite, or, in tests of `every_engine`, with PostgreSQL too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.store import MetadataStore

address_of: list[Callable[[Path], str]] = []
"""Returns the address of the database that stands for a file; empty while SQLite is used."""


def open_metadata(path: Path, **options: Any) -> MetadataStore:
    """Open the metadata in `path`. `options` are for SQLite."""
    if not address_of:
        return SqliteStore(path, **options)
    from directory_server.metadata.engines.postgres.store import PostgresStore

    return PostgresStore(address_of[-1](path))
