"""Brings an index of an earlier format up to date when it is opened. Each step may be interrupted, and then goes on.

Format 3 added the numbers of chunks under each storage key, format 4 sealed the paths of fences and the commit notes,
format 5 the digests (digest_upgrade.py).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress

from file_server.store.local import index_values as value
from file_server.store.local.digest_upgrade import overwriting, plain_tables, seal_digests
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.index_schema import KEYS_COUNTED, NAMES_SEALED, SEALED_UNDER
from file_server.store.local.index_transaction import DAMAGED
from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.sqlite_files import open_database
from lockstep_store.runtime.storage.write_ahead_log import make_log_durable
from lockstep_store.wire.errors import StorageFormatError

BATCH = 5000


def bring_up_to_date(connection: sqlite3.Connection, totals: dict[str, int], names: SealedNames) -> None:
    """Upgrade the index and its `totals`, whose plain tables are set aside.

    Raises StorageFormatError if the disk key is missing although something is sealed with it.
    """
    if not totals.get(KEYS_COUNTED):
        _count_keys(connection, totals)
    if totals.get(NAMES_SEALED) and names.is_new:
        raise key_is_missing()
    if names.is_new:
        names.save(names.sealed_again())
    _copy_key(connection, names)
    if not totals.get(NAMES_SEALED):
        _seal_fences(connection, names)
        _remember(connection, totals, [(NAMES_SEALED, 1)])
    seal_digests(connection, names)


def key_is_missing() -> StorageFormatError:
    """Return the refusal to open a storage whose disk key is lost."""
    return StorageFormatError(
        "the file disk-key is missing from the data folder, and so is its copy in the index: without it nothing on "
        "the disk can be found. Restore it, or empty the data folder to start with an empty disk"
    )


def copied_key(layout: DiskLayout) -> bytes | None:
    """Return the copy of the disk key in the index, or in the damaged one that a rescue has set aside."""
    for path in (layout.index_file, layout.quarantine / "index-damaged.db"):
        with suppress(sqlite3.Error, OSError):
            if path.exists():
                make_log_durable(path)
                with closing(open_database(path)) as connection:
                    row = connection.execute("SELECT sealed FROM disk_key").fetchone()
                    if row:
                        return value.content(row[0])
    return None


def _copy_key(connection: sqlite3.Connection, names: SealedNames) -> None:
    row = connection.execute("SELECT sealed FROM disk_key").fetchone()
    if row is not None and row[0] == names.sealed:
        return
    if row is not None and names.is_other_key(value.content(row[0])):
        raise value.malformed("an index under this disk's key")
    connection.execute("INSERT OR REPLACE INTO disk_key (id, sealed) VALUES (1, ?)", (names.sealed,))


def _count_keys(connection: sqlite3.Connection, totals: dict[str, int]) -> None:
    table = "plain_chunk" if "chunk" in plain_tables(connection) else "chunk"
    heads = connection.execute(f"SELECT head FROM {table} WHERE place != ?", (DAMAGED,))  # noqa: S608 - constants
    counted = Counter(SEALED_UNDER + value.content(head)[1:].hex() for (head,) in heads)
    _remember(connection, totals, [*counted.items(), (KEYS_COUNTED, 1)])


def _remember(connection: sqlite3.Connection, totals: dict[str, int], changed: list[tuple[str, int]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO total (name, value) VALUES (?, ?)", changed)
    connection.execute("COMMIT")
    totals.update(changed)


def _seal_fences(connection: sqlite3.Connection, names: SealedNames) -> None:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'fence'").fetchone():
        return
    with overwriting(connection):
        while rows := connection.execute("SELECT path, number FROM fence LIMIT ?", (BATCH,)).fetchall():
            moved = [(names.fence(value.name(path)), value.number(number)) for path, number in rows]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO sealed_fence (path, number) VALUES (?, ?)", moved)
            connection.executemany("DELETE FROM fence WHERE path = ?", [(path,) for path, _ in rows])
            connection.execute("COMMIT")
        connection.execute("DROP TABLE fence")
