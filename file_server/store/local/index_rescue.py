"""Rebuilds a damaged chunk index from its intact rows and from chunk files.

Starting with an empty index would be dangerous: this disk may have the last good copy of something. So the old file is
moved to ``quarantine/`` and read row by row. What passes its own check (a sealed chunk, a manifest that hashes to its
blob) goes into the new index, and so do chunk files without a row. The inventory that follows each registration finds
what is missing then, and repair copies it from other servers.

The index is rebuilt at a start when SQLite reports a malformed file, or reported one during the last run (which leaves
a mark), or when the file is missing or empty although there are chunk files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from file_server.store.chunk_store import Fence
from file_server.store.local import index_values as value
from file_server.store.local.chunk_index import ChunkIndex
from file_server.store.local.digest_upgrade import name_files
from file_server.store.local.disk import Disk
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.flush_watch import FlushWatch
from file_server.store.local.index_schema import FILES_NAMED, GENERATION
from file_server.store.local.index_transaction import FILE, HEAD_BYTES, INLINE, IndexTransaction, StagedChunk
from file_server.store.local.index_upgrade import key_is_missing
from file_server.store.local.sealed_names import NAME_BYTES, SealedNames
from lockstep_store.runtime.storage.sealing import Sealer, write_durably
from lockstep_store.runtime.storage.sqlite_files import open_database, reports_damage
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import DIGEST_BYTES, Digest, chunk_digest
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.servers import CommitNote

BATCH = 500
_SIDE_FILES = ("", "-wal", "-shm")

Row = tuple[Any, ...]

_notes = decoder(CommitNote)


def ask_for_rescue(layout: DiskLayout) -> None:
    """Leave a mark, so that the next start rebuilds the index."""
    with suppress(OSError):
        _leave_mark(layout)


def _leave_mark(layout: DiskLayout) -> None:
    write_durably(layout.root / "index-damaged", b"the next start rebuilds index.db\n")


def open_index(
    layout: DiskLayout, sealer: Sealer, flushes: FlushWatch, names: SealedNames, generation: int = 0
) -> ChunkIndex:
    """Open the index of an opened data folder; rebuild it if it is damaged. Raises sqlite3.Error and OSError.

    In a rebuilt index, generations rise above `generation`. StorageFormatError if the disk key is lost.
    """
    if names.is_new and any(len(file.name) == 2 * NAME_BYTES for file in layout.chunks.glob("??/*")):
        raise key_is_missing()
    mark = layout.root / "index-damaged"
    if _is_lost(layout):
        log.error("the index %s is missing or empty, but there are chunk files", layout.index_file)
    elif not mark.exists():
        try:
            return _with_named_files(ChunkIndex(layout.index_file, flushes, names), layout, names)
        except sqlite3.Error as error:
            if not reports_damage(error):
                raise
            log.error("the index %s is damaged (%s)", layout.index_file, error)
    # An interrupted rescue begins again, from the same old file. The mark must come first: without it the next start
    # would find a good index with little in it, and sweep the rest away.
    _leave_mark(layout)
    old = _set_aside(layout)
    index = _with_named_files(ChunkIndex(layout.index_file, flushes, names), layout, names)
    try:
        index.submit(lambda tx: tx.remember(GENERATION, max(generation, index.latest_generation)))
        _Rescue(layout, sealer, names, index).run(old)
    except BaseException:
        index.close()
        raise
    mark.unlink(missing_ok=True)
    return index


def _with_named_files(index: ChunkIndex, layout: DiskLayout, names: SealedNames) -> ChunkIndex:
    """Give the files of an earlier format their stored names, if that is not done."""
    if not index.remembered(FILES_NAMED):
        try:
            name_files(layout, names, Disk(), index.totals.chunks)
            index.submit(lambda tx: tx.remember(FILES_NAMED, 1))
        except BaseException:
            index.close()
            raise
    return index


def _is_lost(layout: DiskLayout) -> bool:
    """Return whether SQLite would create an empty index beside chunk files, which would be swept away as orphans."""
    try:
        if layout.index_file.stat().st_size:
            return False
    except FileNotFoundError:
        pass
    return any(layout.chunks.glob("??/*"))


def _set_aside(layout: DiskLayout) -> Path:
    """Move the damaged index to quarantine; an older one, whose rescue was interrupted, takes precedence."""
    old = layout.quarantine / "index-damaged.db"
    if old.exists():
        for suffix in _SIDE_FILES:
            layout.index_file.with_name(layout.index_file.name + suffix).unlink(missing_ok=True)
        return old
    for suffix in reversed(_SIDE_FILES):
        side = layout.index_file.with_name(layout.index_file.name + suffix)
        if side.exists():
            side.replace(old.with_name(old.name + suffix))
    return old


class _Rescue:
    """Copies what is whole from an old index, and from the chunk files, into a new one."""

    def __init__(self, layout: DiskLayout, sealer: Sealer, names: SealedNames, index: ChunkIndex) -> None:
        self._names = names
        self._layout = layout
        self._sealer = sealer
        self._index = index

    def run(self, old: Path) -> None:
        with closing(_opened(old)) as db:
            for table, column in _tables(db, "chunk"):
                self._in_batches(self._chunks(db, table, column), IndexTransaction.put_chunk)
            self._in_batches(self._files(), IndexTransaction.put_chunk)
            for table, column in _tables(db, "blob"):
                blobs = f"SELECT id, {column}, size, manifest FROM {table}"  # noqa: S608 - constants
                self._in_batches(_walk(db, blobs, "id"), self._put_blob)
            self._in_batches(_all(db, "SELECT path, number FROM fence"), _put_fence)  # of an earlier format
            self._in_batches(_all(db, "SELECT path, number FROM sealed_fence"), _put_sealed_fence)
            for table, column in _tables(db, "note"):
                self._in_batches(_all(db, f"SELECT cursor, {column}, note FROM {table}"), self._put_note)  # noqa: S608
            self._in_batches(_all(db, "SELECT name, value FROM total WHERE name LIKE 'seen!_%' ESCAPE '!'"), _put_seen)
            # Only these are collected. A chunk whose blob's row is lost waits for repair to store the blob again.
            for table, column in _tables(db, "chunk"):
                unused = f"SELECT {column} FROM candidate JOIN {table} ON id = candidate.chunk"  # noqa: S608
                self._in_batches(_all(db, unused), self._put_unused)
        with suppress(OSError):
            old.replace(old.with_name(f"index-{self._layout.store_id[:8]}-{old.stat().st_mtime_ns}.db"))
        totals = self._index.totals
        log.warning("rebuilt the index: %d chunks and %d blobs are whole", totals.chunks, totals.blobs)

    def _in_batches(self, rows: Iterator[Any], put: Callable[[IndexTransaction, Any], None]) -> None:
        batch: list[Any] = []

        def work(tx: IndexTransaction) -> None:
            for row in batch:
                with suppress(LockstepError, ValueError, TypeError, sqlite3.IntegrityError, value.UnreadableValue):
                    put(tx, row)

        for row in rows:
            batch.append(row)
            if len(batch) >= BATCH:
                self._index.submit(work)
                batch.clear()
        self._index.submit(work)

    def _chunks(self, db: sqlite3.Connection, table: str, column: str) -> Iterator[StagedChunk]:
        chunks = f"SELECT id, {column}, length, stored, place, head FROM {table}"  # noqa: S608 - constants
        for id, raw, length, stored, place, head in _walk(db, chunks, "id"):
            found: StagedChunk | None = None
            with suppress(sqlite3.Error, LockstepError, OSError, TypeError, ValueError):
                digest = self._digest(raw)
                file = self._layout.chunk_file(self._names.name(digest))
                if place == INLINE:
                    row = db.execute("SELECT sealed FROM inline WHERE chunk = ?", (id,)).fetchone()
                    found = self._whole(digest, row[0], None)
                elif place == FILE and file.stat().st_size == stored and len(head) == HEAD_BYTES:
                    # The scrubber will check its bytes: reading a whole disk here would take hours. But a wrong head
                    # would count for the wrong storage key.
                    with file.open("rb") as opened:
                        found = StagedChunk(digest, length, opened.read(HEAD_BYTES), stored, None, file)
            if found is not None:
                yield found

    def _files(self) -> Iterator[StagedChunk]:
        """Yield the chunk files that have no row in the old index."""
        for file in self._layout.chunks.glob("??/*"):
            found: StagedChunk | None = None
            with suppress(LockstepError, OSError):
                digest = self._names.of_file(file.name)
                if digest is not None and not self._index.holds_chunk(digest):
                    found = self._whole(digest, file.read_bytes(), file)
            if found is not None:
                yield found

    def _whole(self, digest: Digest, sealed: bytes, file: Path | None) -> StagedChunk | None:
        plain = self._sealer.open(digest, sealed)
        if chunk_digest(plain) != digest:
            return None
        return StagedChunk(digest, len(plain), sealed[:HEAD_BYTES], len(sealed), None if file else sealed, file)

    def _digest(self, raw: Any) -> Digest:
        """Return the digest in a row of this format, or of an earlier one."""
        return Digest(raw) if len(raw) == DIGEST_BYTES else self._names.digest(raw)

    def _put_blob(self, tx: IndexTransaction, row: Row) -> None:
        _, raw, size, stored = row
        digest = self._digest(raw)
        if stored is not None and len(raw) != DIGEST_BYTES:
            stored = self._names.open_manifest(digest, stored)
        manifest = Manifest([(digest, size)]) if stored is None else Manifest.decode(stored, digest)
        if tx.missing(manifest.chunks):
            tx.await_use(chunk for chunk, _ in manifest.chunks)
        else:
            tx.put_blob(manifest)

    def _put_note(self, tx: IndexTransaction, row: Row) -> None:
        cursor, raw, stored = row
        note = self._names.open_note(int(cursor), value.content(stored))
        _notes.decode(note)
        tx.put_note(int(cursor), self._digest(raw), note)

    def _put_unused(self, tx: IndexTransaction, row: Row) -> None:
        tx.await_use([self._digest(row[0])])


def _put_fence(tx: IndexTransaction, row: Row) -> None:
    tx.check_fence(Fence(str(row[0]), int(row[1])))


def _put_sealed_fence(tx: IndexTransaction, row: Row) -> None:
    path, number = row
    if type(path) is bytes and len(path) == DIGEST_BYTES:
        tx.put_fence(path, int(number))


def _put_seen(tx: IndexTransaction, row: Row) -> None:
    name, number = row
    tx.remember(str(name), int(number))


def _opened(old: Path) -> sqlite3.Connection:
    """Open the old index; an empty database instead if its schema cannot be read."""
    try:
        db = open_database(old)
    except sqlite3.Error as error:
        if not reports_damage(error):
            raise
        return sqlite3.connect(":memory:")
    db.execute("PRAGMA query_only = ON")
    return db


def _tables(db: sqlite3.Connection, table: str) -> Iterator[tuple[str, str]]:
    """Yield each table that has rows of `table`, with its column for digests: an upgrade may have been under way."""
    for name, column in ((table, "name"), (table, "digest"), (f"plain_{table}", "digest")):
        with suppress(sqlite3.Error):
            db.execute(f"SELECT {column} FROM {name} LIMIT 0")  # noqa: S608 - constants
            yield name, column


def _walk(db: sqlite3.Connection, query: str, key: str) -> Iterator[Row]:
    """Yield every row that can still be read, by rising `key`; damaged pages are skipped."""
    after, step = -1, 1
    while after + step < 1 << 40:
        try:
            row = db.execute(f"{query} WHERE {key} >= ? ORDER BY {key} LIMIT 1", (after + step,)).fetchone()
        except sqlite3.Error:
            # One by one at first, because a page has few rows; then faster, because there may be no next row.
            step = step + 1 if step < BATCH else 2 * step
            continue
        if row is None:
            return
        after, step = row[0], 1
        yield row


def _all(db: sqlite3.Connection, query: str) -> Iterator[Row]:
    """Yield the rows before the first damaged page."""
    with suppress(sqlite3.Error):
        yield from db.execute(query)
