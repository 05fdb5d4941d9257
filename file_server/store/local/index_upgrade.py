"""Brings an index of an earlier format up to date when it is opened. Each step may be interrupted, and then goes on.

Format 3 added the numbers of chunks under each storage key, format 4 sealed the paths of fences and the commit notes.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

from file_server.store.local import index_values as value
from file_server.store.local.index_schema import KEYS_COUNTED, NAMES_SEALED, SEALED_UNDER
from file_server.store.local.index_transaction import DAMAGED
from file_server.store.local.sealed_names import PLAIN_NOTE, SealedNames
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import StorageFormatError

BATCH = 5000


def bring_up_to_date(connection: sqlite3.Connection, totals: dict[str, int], names: SealedNames) -> None:
    """Upgrade the index and its `totals`.

    Raises StorageFormatError if the file with the names' key is missing although names are sealed with it.
    """
    if not totals.get(KEYS_COUNTED):
        _count_keys(connection, totals)
    if totals.get(NAMES_SEALED) and names.is_new:
        raise StorageFormatError(
            "the file disk-key is missing from the data folder, and without it nothing is known about locks: restore "
            "it, or empty the data folder to start with an empty disk"
        )
    if not totals.get(NAMES_SEALED):
        if names.is_new:
            names.save()
        _seal_names(connection, names)
        _remember(connection, totals, [(NAMES_SEALED, 1)])


def _count_keys(connection: sqlite3.Connection, totals: dict[str, int]) -> None:
    heads = connection.execute("SELECT head FROM chunk WHERE place != ?", (DAMAGED,))
    counted = Counter(SEALED_UNDER + value.content(head)[1:].hex() for (head,) in heads)
    _remember(connection, totals, [*counted.items(), (KEYS_COUNTED, 1)])


def _remember(connection: sqlite3.Connection, totals: dict[str, int], changed: list[tuple[str, int]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO total (name, value) VALUES (?, ?)", changed)
    connection.execute("COMMIT")
    totals.update(changed)


def _seal_names(connection: sqlite3.Connection, names: SealedNames) -> None:
    connection.execute("PRAGMA secure_delete = ON")  # the plain names are overwritten, not only forgotten
    try:
        sealed = _seal_notes(connection, names) + _seal_fences(connection, names)
        if sealed:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            log.info("sealed the names of earlier writes: %d", sealed)
    finally:
        connection.execute("PRAGMA secure_delete = OFF")


def _seal_notes(connection: sqlite3.Connection, names: SealedNames) -> int:
    after = count = 0
    while rows := connection.execute(
        "SELECT cursor, note FROM note WHERE cursor > ? ORDER BY cursor LIMIT ?", (after, BATCH)
    ).fetchall():
        after = rows[-1][0]
        plain = [(cursor, note) for cursor, note in rows if value.content(note).startswith(PLAIN_NOTE)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE note SET note = ? WHERE cursor = ?",
            [(names.seal_note(cursor, note), cursor) for cursor, note in plain],
        )
        connection.execute("COMMIT")
        count += len(plain)
    return count


def _seal_fences(connection: sqlite3.Connection, names: SealedNames) -> int:
    count = 0
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'fence'").fetchone():
        return count
    while rows := connection.execute("SELECT path, number FROM fence LIMIT ?", (BATCH,)).fetchall():
        moved = [(names.fence(value.name(path)), value.number(number)) for path, number in rows]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT OR REPLACE INTO sealed_fence (path, number) VALUES (?, ?)", moved)
        connection.executemany("DELETE FROM fence WHERE path = ?", [(path,) for path, _ in rows])
        connection.execute("COMMIT")
        count += len(rows)
    connection.execute("DROP TABLE fence")
    return count
