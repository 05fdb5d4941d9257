"""The index of what this file server holds: an SQLite file in WAL mode that is synced at every commit.

What its tables are stands in index_schema.py, what may be changed in index_transaction.py; opening, reading and
committing stand here.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from file_server.store.chunk_store import BlobRow, Totals
from file_server.store.local import index_values as value
from file_server.store.local.flush_watch import FlushWatch
from file_server.store.local.index_schema import GENERATION, SCHEMA, TOTALS
from file_server.store.local.index_transaction import DAMAGED, IndexTransaction, lengths_among
from lockstep_store.runtime.storage.group_commit import GroupCommit
from lockstep_store.runtime.storage.write_ahead_log import make_log_durable
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest
from lockstep_store.wire.manifest import Manifest

_CHUNK_COLUMNS = (
    "SELECT id, digest, length, place, head, (SELECT sealed FROM inline WHERE inline.chunk = chunk.id)"
    " FROM chunk WHERE "
)
_LATEST = (1 << 63) - 1
"""No number that SQLite keeps is higher."""
_CHECKPOINT_PAGES = 4000
_WRITER_CACHE_KIB = 16 * 1024
_READER_CACHE_KIB = 256
_MAX_IDLE_READERS = 16
MAX_PENDING_NOTES = 20_000
"""More are only waiting when the disk takes nothing; then the oldest are given up."""
NOTES_BYTES = 4 * 1024 * 1024
"""A page of notes ends with the one that reaches this."""


class ChunkRow(NamedTuple):
    """What the index knows of a chunk. `sealed` is set when the bytes lie in the index."""

    id: int
    digest: Digest
    length: int
    place: int
    head: bytes
    sealed: bytes | None


class PendingNote(NamedTuple):
    """A commit note on its way into the index: encoded only there, off the writer's way."""

    cursor: int
    digest: Digest
    encoded: Callable[[], bytes]


class ChunkIndex:
    """Reads for many threads, and one writer that shares its transactions among them. Raises sqlite3.Error."""

    def __init__(self, path: Path, flushes: FlushWatch) -> None:
        make_log_durable(path)
        self._path = path
        self._flushes = flushes
        self._in_doubt = False
        self._writer = self._connect(_WRITER_CACHE_KIB)
        self._writer.executescript(SCHEMA)
        self._totals: dict[str, int] = dict.fromkeys(TOTALS, 0) | self._kept_totals()
        self._readers: deque[sqlite3.Connection] = deque()
        self._closed = False
        self._notes: deque[PendingNote] = deque(maxlen=MAX_PENDING_NOTES)
        self._commits: GroupCommit[IndexTransaction] = GroupCommit(self._transaction, name="chunk-index")
        self.submit = self._commits.submit

    def close(self) -> None:
        """Finish what was submitted and close the file."""
        self._commits.close()
        self._closed = True
        while self._readers:
            self._readers.pop().close()
        self._writer.close()

    @property
    def totals(self) -> Totals:
        """The figures as of the latest commit."""
        return Totals(self._totals["chunks"], self._totals["blobs"], self._totals["stored_bytes"])

    def remembered(self, name: str) -> int:
        """A number kept with `IndexTransaction.remember`; 0 when there is none."""
        return self._totals.get(name, 0)

    def _kept_totals(self) -> dict[str, int]:
        totals = self._writer.execute("SELECT name, value FROM total").fetchall()
        kept = {value.name(name): value.number(total) for name, total in totals}
        if GENERATION not in kept and self._writer.execute("SELECT 1 FROM blob LIMIT 1").fetchone():
            raise value.malformed("the generation of the latest blob", "another table's page")
        return kept

    # ------------------------------------------------------------ reads

    def chunk(self, digest: Digest) -> ChunkRow | None:
        """The chunk's row with its sealed bytes, if they lie in the index."""
        return self._chunk_where("digest = ?", digest)

    def next_chunk(self, after: int) -> ChunkRow | None:
        """The first chunk with an id above `after`, for walks over all of them."""
        return self._chunk_where("id > ? ORDER BY id LIMIT 1", after)

    def holds_chunk(self, digest: Digest) -> bool:
        """Whether the chunk is here and not known to be damaged."""
        return self.lengths([digest]) != [None]

    def check_order(self) -> None:
        """Raise sqlite3.DatabaseError (SQLITE_CORRUPT) when rows are out of order, or pages not what they should be:
        SQLite notices neither where it does not look for them, and this looks at all."""
        with self._reading() as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise value.malformed("what its table has in order", found)

    def may_hold_chunk(self, digest: Digest) -> bool:
        """Whether the chunk is here, or may be after a restart.

        A commit that failed while it was flushed was refused, but stands in SQLite's log until another is written over
        it: a process that ends before then finds it committed when it starts again. Whoever removes files asks here,
        or such a row would name a file that is gone.
        """
        return self._in_doubt or self.holds_chunk(digest)

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those of `digests` that are not held intact, each once, in order."""
        asked = list(dict.fromkeys(digests))
        return [digest for digest, length in zip(asked, self.lengths(asked), strict=True) if length is None]

    def lengths(self, digests: Iterable[Digest]) -> list[int | None]:
        """Plain lengths in bytes, None for a chunk that is not held intact."""
        with self._reading() as connection:
            return lengths_among(connection, digests)

    def manifest(self, digest: Digest) -> Manifest | None:
        """A blob's manifest, checked against its digest; BadDigest when it is not the blob's.

        The digest of a single chunk says nothing about the size in the blob's row, which is compared with the chunk's.
        """
        query = (
            "SELECT size, manifest, (SELECT length FROM chunk WHERE digest = blob.digest) FROM blob WHERE digest = ?"
        )
        with self._reading() as connection:
            row = connection.execute(query, (digest,)).fetchone()
        if row is None:
            return None
        size, raw, length = row
        if raw is not None:
            return Manifest.decode(value.content(raw), digest)
        manifest = Manifest([(digest, value.number(size))])
        if length is not None and length != size:
            raise BadDigest(f"blob {digest} has {size} bytes by its row, and {length} by its chunk's")
        return manifest

    def generation(self, digest: Digest) -> int | None:
        """The blob's generation, None when it is not here."""
        with self._reading() as connection:
            row = connection.execute("SELECT generation FROM blob WHERE digest = ?", (digest,)).fetchone()
        return value.number(row[0]) if row else None

    @property
    def latest_generation(self) -> int:
        """The generation of the latest seal."""
        return self._totals[GENERATION]

    def blobs(self, after: int, up_to_generation: int | None, limit: int) -> list[BlobRow]:
        """Blobs in the order of their ids, from above `after`, that were last sealed by `up_to_generation`; None for
        all of them."""
        query = "SELECT id, digest, generation, size FROM blob WHERE id > ? AND generation <= ? ORDER BY id LIMIT ?"
        bound = _LATEST if up_to_generation is None else up_to_generation
        with self._reading() as connection:
            rows = connection.execute(query, (after, bound, limit)).fetchall()
        return [
            BlobRow(id, value.digest(digest), value.number(generation), value.number(size))
            for id, digest, generation, size in rows
        ]

    def candidates(self) -> list[tuple[int, Digest]]:
        """(id, digest) of every chunk that may be without a blob."""
        query = "SELECT chunk.id, digest FROM candidate JOIN chunk ON chunk.id = candidate.chunk"
        with self._reading() as connection:
            return [(id, value.digest(digest)) for id, digest in connection.execute(query)]

    def fence(self, path: str) -> int:
        """The highest lock number seen on a path."""
        with self._reading() as connection:
            row = connection.execute("SELECT number FROM fence WHERE path = ?", (path,)).fetchone()
        return value.number(row[0]) if row else 0

    def blobs_of_chunk(self, id: int, digest: Digest) -> list[Digest]:
        """The blobs that a chunk is part of."""
        query = (
            "SELECT blob.digest FROM reference JOIN blob ON blob.id = reference.blob WHERE reference.chunk = ?"
            " UNION SELECT digest FROM blob WHERE digest = ?"
        )
        with self._reading() as connection:
            return [value.digest(row[0]) for row in connection.execute(query, (id, digest))]

    def check_references(self, manifest: Manifest) -> None:
        """Raise sqlite3.DatabaseError (SQLITE_CORRUPT) when a chunk of a blob is not known to be part of it: damage to
        the chunk would then be nobody's, and the collector could take it away."""
        # One statement for each chunk, which sees one moment: the blob may be dropped while it is looked at.
        query = (
            "SELECT 1 FROM blob JOIN chunk ON chunk.digest = ? WHERE blob.digest = ? AND NOT EXISTS"
            " (SELECT 1 FROM reference WHERE reference.chunk = chunk.id AND reference.blob = blob.id)"
        )
        with self._reading() as connection:
            for chunk, _ in manifest.chunks if len(manifest) > 1 else ():
                if connection.execute(query, (chunk, manifest.digest)).fetchone():
                    raise value.malformed(f"the place of chunk {chunk} in blob {manifest.digest}")

    def damaged_blobs(self) -> list[Digest]:
        """Every blob that has a damaged chunk."""
        # The number stands in the statement, or SQLite could not use the index of the few damaged ones.
        query = f"SELECT id, digest FROM chunk WHERE place = {DAMAGED:d}"  # noqa: S608 - a constant
        with self._reading() as connection:
            damaged = connection.execute(query).fetchall()
        blobs: dict[Digest, None] = {}
        for id, digest in damaged:
            blobs.update(dict.fromkeys(self.blobs_of_chunk(id, value.digest(digest))))
        return list(blobs)

    # ------------------------------------------------------------ for the inventory

    def blobs_by_digest(self, after: Digest | None, limit: int) -> list[Digest]:
        """The next blobs behind `after` in the order of their digests."""
        # The size is asked for so that each row is looked at: what only SQLite's index of digests has is not held.
        query = "SELECT digest, size FROM blob WHERE digest > ? ORDER BY digest LIMIT ?"
        with self._reading() as connection:
            return [value.digest(row[0]) for row in connection.execute(query, (after or b"", limit))]

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Plain bytes of those blobs that are here."""
        query = "SELECT size FROM blob WHERE digest = ?"
        with self._reading() as connection:
            rows = {digest: connection.execute(query, (digest,)).fetchone() for digest in digests}
        return {digest: value.number(row[0]) for digest, row in rows.items() if row is not None}

    def highest_fence(self) -> int:
        """The highest lock number seen on any path. Walks the fences."""
        with self._reading() as connection:
            return value.number(connection.execute("SELECT coalesce(max(number), 0) FROM fence").fetchone()[0])

    def notes(self, after: int, through: int, limit: int) -> list[bytes]:
        """Commit notes of the cursors above `after` up to `through`, by rising cursor; fewer than `limit` when they are
        long, as those of encrypted multipart uploads may be."""
        query = "SELECT note FROM note WHERE cursor > ? AND cursor <= ? ORDER BY cursor LIMIT ?"
        found: list[bytes] = []
        size = 0
        with self._reading() as connection:
            for (note,) in connection.execute(query, (after, through, limit)):
                found.append(value.content(note))
                size += len(note)
                if size >= NOTES_BYTES:
                    break
        return found

    def note(self, note: PendingNote) -> None:
        """Keep a commit note, with the next transaction."""
        self._notes.append(note)

    def keep_notes(self) -> None:
        """Make the notes durable that no transaction has taken along yet."""
        if self._notes:
            self.submit(lambda tx: None)

    def _put_notes(self, tx: IndexTransaction, notes: list[PendingNote]) -> None:
        """Move the waiting notes to `notes`, and into the transaction."""
        while self._notes:
            notes.append(self._notes.popleft())
        for note in notes:
            if encoded := note.encoded():
                tx.put_note(note.cursor, note.digest, encoded)

    def _chunk_where(self, condition: str, key: Digest | int) -> ChunkRow | None:
        with self._reading() as connection:
            row = connection.execute(_CHUNK_COLUMNS + condition, (key,)).fetchone()
        if row is None:
            return None
        id, digest, length, place, head, sealed = row
        return ChunkRow(
            id,
            value.digest(digest),
            value.number(length),
            value.number(place),
            value.content(head),
            None if sealed is None else value.content(sealed),
        )

    # ------------------------------------------------------------ connections

    @contextmanager
    def _transaction(self) -> Iterator[IndexTransaction]:
        totals = dict(self._totals)
        connection = self._writer
        notes: list[PendingNote] = []
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        try:
            transaction = IndexTransaction(connection, totals)
            yield transaction
            transaction.raise_if_lost()
            self._put_notes(transaction, notes)
            changed = [item for item in totals.items() if self._totals.get(item[0]) != item[1]]
            if changed:
                connection.executemany("INSERT OR REPLACE INTO total (name, value) VALUES (?, ?)", changed)
            crash_point("file_server.index.committing")
            self._commit(connection, connection.total_changes != before)
            crash_point("file_server.index.committed")
        except BaseException:
            self._notes.extendleft(reversed(notes))
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._totals = totals

    def _commit(self, connection: sqlite3.Connection, changed: bool) -> None:
        try:
            with self._flushes.waiting():
                connection.execute("COMMIT")
        except sqlite3.Error:
            self._in_doubt = True
            raise
        if changed:  # and only then was anything written over what was in doubt
            self._in_doubt = False

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect(_READER_CACHE_KIB)
        try:
            yield connection
        finally:
            if len(self._readers) < _MAX_IDLE_READERS and not self._closed:
                self._readers.append(connection)
            else:
                connection.close()

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection
