"""Opens the metadata with the engine that it is in: PostgreSQL if there is an address, otherwise SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.store import MetadataStore
from lockstep_store.wire.errors import SetupError

if TYPE_CHECKING:
    from directory_server.metadata.engines.postgres.standby import StandbyDatabase
    from directory_server.metadata.engines.postgres.stopped import StoppedDatabase


def open_metadata(file: Path, address: str, **how: Any) -> MetadataStore:
    """Open the database at `address`, or `file` if that is empty; `how` is for PostgresStore. Raises SetupError."""
    if not address:
        return SqliteStore(file)
    with _driver_named():
        from directory_server.metadata.engines.postgres.store import PostgresStore
    file.parent.mkdir(parents=True, exist_ok=True)  # the data folder has more than the metadata
    return PostgresStore(address, **how)


def standby_database(address: str, own_url: str) -> StandbyDatabase:
    """Return the database at `address`, for a directory server that waits until the active one has ended."""
    from directory_server.metadata.engines.postgres.standby import StandbyDatabase

    return StandbyDatabase(address, own_url)


def place_of(file: Path, address: str) -> Path | StoppedDatabase:
    """Return where the metadata is, for what is done while no directory runs. Raises SetupError."""
    return stopped_database(address) if address else file


def stopped_database(address: str) -> StoppedDatabase:
    """Return the database at `address`, which no directory uses. Raises SetupError."""
    with _driver_named():
        from directory_server.metadata.engines.postgres.stopped import StoppedDatabase
    return StoppedDatabase(address)


@contextmanager
def _driver_named() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise SetupError(
            f"--metadata needs the driver of PostgreSQL ({error}): install it with "
            "`pip install 'lockstep-store[postgres]'`"
        ) from error
