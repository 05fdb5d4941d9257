"""Brings storage of format 4 to format 5: digests and manifests become sealed.

1. The tables that have digests are renamed to `plain_…`, before the new ones are made (`set_plain_tables_aside`).
2. Their rows move, some at a time, by rising id; the last step drops the empty tables (`seal_digests`).
3. Files in chunks/ and quarantine/ get stored names (`name_files`). Until then chunks in files are not found.

An interrupted step goes on at the next start with the rows and names that are still plain. Memory holds one batch of
rows, or the file names of one folder. Plain rows are overwritten, not only deleted.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from file_server.store.chunk_store import SWEEP_PARTS
from file_server.store.local import index_values as value
from file_server.store.local.disk import Disk
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.sealed_names import PLAIN_NOTE, SealedNames
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest

BATCH = 5000
BATCH_BYTES = 8 * 1024 * 1024
"""Manifests of large files make a batch end sooner."""
PROGRESS_SECONDS = 5.0
PLAIN_TABLES = ("chunk", "blob", "note")
_PLAIN_FILE = re.compile(r"([0-9a-f]{64})(\.[0-9a-f]{8})?")

Row = tuple[Any, ...]


@contextmanager
def overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """Within the block, SQLite overwrites what it deletes, in the file and, at the end, in its log."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    try:
        yield
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.execute(f"PRAGMA secure_delete = {before}")


def set_plain_tables_aside(connection: sqlite3.Connection) -> None:
    """Rename the tables of an earlier format that have digests, all or none."""
    columns = "SELECT count(*) FROM pragma_table_info(?) WHERE name = 'digest'"
    plain = [table for table in PLAIN_TABLES if connection.execute(columns, (table,)).fetchone()[0]]
    if plain:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DROP INDEX IF EXISTS note_digest")
        connection.execute("DROP INDEX IF EXISTS chunk_damaged")
        for table in plain:
            connection.execute(f"ALTER TABLE {table} RENAME TO plain_{table}")
        connection.execute("COMMIT")


def plain_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables of an earlier format whose rows are still to be moved, without `plain_`."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'plain!_%' ESCAPE '!'"
    found = {name for (name,) in connection.execute(query)}
    return [table for table in PLAIN_TABLES if f"plain_{table}" in found]


def seal_digests(connection: sqlite3.Connection, names: SealedNames) -> None:
    """Move the rows of the plain tables. The disk key must be saved."""
    tables = plain_tables(connection)
    if not tables:
        return
    sealed_rows = {"chunk": _chunk_row, "blob": _blob_row, "note": _note_row}
    whole = sum(connection.execute(f"SELECT count(*) FROM plain_{table}").fetchone()[0] for table in tables)  # noqa: S608
    progress = _Progress("digests in the index", whole)
    with overwriting(connection):
        for table in tables:
            _move(connection, table, partial(sealed_rows[table], names), progress)
        # Before the empty tables go: a later start would not know that plain pages are left in the log.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        for table in tables:
            connection.execute(f"DROP TABLE plain_{table}")
        connection.execute("COMMIT")
    progress.done()


def _move(connection: sqlite3.Connection, table: str, sealed: Callable[[Row], Row], progress: _Progress) -> None:
    key = "cursor" if table == "note" else "id"
    select = f"SELECT * FROM plain_{table} ORDER BY {key} LIMIT {BATCH}"  # noqa: S608 - constants
    while rows := _batch(connection.execute(select)):
        moved = [sealed(row) for row in rows]
        marks = ", ".join("?" * len(moved[0]))
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", moved)  # noqa: S608
        except sqlite3.IntegrityError as error:  # a value of another type, as swapped pages have
            raise value.malformed(f"a row of {table}") from error
        connection.execute(f"DELETE FROM plain_{table} WHERE {key} <= ?", (value.number(rows[-1][0]),))  # noqa: S608
        connection.execute("COMMIT")
        crash_point("file_server.upgrade.rows-moved")
        progress.add(len(rows))


def _batch(rows: sqlite3.Cursor) -> list[Row]:
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += sum(len(column) for column in row if type(column) is bytes)
        if size >= BATCH_BYTES:
            rows.close()
            break
    return batch


def _chunk_row(names: SealedNames, row: Row) -> Row:
    id, digest, *rest = row
    return id, names.name(_digest(digest)), *rest


def _blob_row(names: SealedNames, row: Row) -> Row:
    id, raw, generation, size, manifest = row
    digest = _digest(raw)
    sealed = None if manifest is None else names.seal_manifest(digest, value.content(manifest))
    return id, names.name(digest), generation, size, sealed


def _note_row(names: SealedNames, row: Row) -> Row:
    cursor, digest, note = row
    if value.content(note).startswith(PLAIN_NOTE):  # of format 3
        note = names.seal_note(value.number(cursor), note)
    return cursor, names.name(_digest(digest)), note


def _digest(raw: Any) -> Digest:
    try:
        return Digest(value.content(raw))
    except BadRequest as error:
        raise value.malformed("a digest") from error


def name_files(layout: DiskLayout, names: SealedNames, disk: Disk, whole: int) -> None:
    """Give the files in chunks/ and quarantine/ their stored names, durably. `whole` is the number of chunks."""
    progress = _Progress("names of files", whole)
    folders = {layout.quarantine, layout.chunks}
    for number in range(SWEEP_PARTS):
        for digest, _, path in _plain_files(layout.chunk_folder(number)):
            target = layout.chunk_file(names.name(digest))
            if target.parent not in folders:
                target.parent.mkdir(exist_ok=True)
            folders |= {path.parent, target.parent}
            disk.rename(path, target)
            crash_point("file_server.upgrade.file-named")
            progress.add(1)
    for digest, suffix, path in _plain_files(layout.quarantine):
        disk.rename(path, layout.quarantine / (names.name(digest).hex() + suffix))
    for folder in folders:
        disk.sync_folder(folder)
    progress.done()


def _plain_files(folder: Path) -> list[tuple[Digest, str, Path]]:
    """Return the files named by digests: (digest, suffix, path)."""
    found = []
    for path in folder.iterdir() if folder.exists() else ():
        if match := _PLAIN_FILE.fullmatch(path.name):
            found.append((Digest.parse(match[1]), match[2] or "", path))
    return found


class _Progress:
    """Logs the progress of one step every few seconds."""

    def __init__(self, what: str, whole: int) -> None:
        self._what, self._whole = what, whole
        self._count = 0
        self._said_at = time.monotonic()

    def add(self, count: int) -> None:
        """Count finished rows or files."""
        self._count += count
        now = time.monotonic()
        if now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            log.info("upgrading the storage to format 5: %s: %d of %d", self._what, self._count, self._whole)

    def done(self) -> None:
        """Log the total, unless there was nothing to do."""
        if self._count:
            log.info("upgraded the storage to format 5: %s: %d sealed", self._what, self._count)
