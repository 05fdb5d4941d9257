"""Reads the chunk index, on a pool of connections. chunk_index.py writes it."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from file_server.store.chunk_store import BlobRow
from file_server.store.local import index_values as value
from file_server.store.local.index_transaction import DAMAGED, lengths_among
from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.sqlite_files import open_database
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadDigest
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.servers import CommitNote

_notes = decoder(CommitNote)
_CHUNK_COLUMNS = (
    "SELECT id, name, length, place, head, (SELECT sealed FROM inline WHERE inline.chunk = chunk.id) FROM chunk WHERE "
)
_LATEST = (1 << 63) - 1
"""SQLite's highest integer."""
_CHECKPOINT_PAGES = 4000
_READER_CACHE_KIB = 256
_MAX_IDLE_READERS = 16
_WALK_ROWS = 2000
NOTES_BYTES = 4 * 1024 * 1024
"""A page of notes ends with the note that reaches this size."""


class ChunkRow(NamedTuple):
    """A chunk's row. `sealed` is set if the bytes are in the index."""

    id: int
    digest: Digest
    length: int
    place: int
    head: bytes
    sealed: bytes | None


class IndexReader:
    """Reads an index file that is open for writing. Thread-safe. Raises sqlite3.Error."""

    def __init__(self, path: Path, names: SealedNames) -> None:
        self._path = path
        self._names = names
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    def close(self) -> None:
        """Close the idle connections, and the others when their reads end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def chunk(self, digest: Digest) -> ChunkRow | None:
        """Return the chunk's row, with its sealed bytes if they are in the index."""
        return self._chunk_where("name = ?", self._names.name(digest), digest=digest)

    def next_chunk(self, after: int) -> ChunkRow | None:
        """Return the first chunk with an id above `after`, for walks over all chunks."""
        return self._chunk_where("id > ? ORDER BY id LIMIT 1", after)

    def next_sealed_otherwise(self, after: int, head: bytes) -> ChunkRow | None:
        """Return the first intact chunk with an id above `after` that is sealed with another head."""
        # The number is part of the statement, as in `damaged_blobs`.
        condition = f"id > ? AND head != ? AND place != {DAMAGED:d} ORDER BY id LIMIT 1"
        return self._chunk_where(condition, after, head)

    def holds_chunk(self, digest: Digest) -> bool:
        """Return whether the chunk is held and not known to be damaged."""
        return self.lengths([digest]) != [None]

    def check_order(self) -> None:
        """Check every page. Raises sqlite3.DatabaseError (SQLITE_CORRUPT) if rows are out of order or a page is wrong.

        SQLite notices neither in a look-up of a single row.
        """
        with self._reading() as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise value.malformed("entries in order", found)

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the chunks not held intact, each once, in order."""
        asked = list(dict.fromkeys(digests))
        return [digest for digest, length in zip(asked, self.lengths(asked), strict=True) if length is None]

    def lengths(self, digests: Iterable[Digest]) -> list[int | None]:
        """Return plain lengths in bytes, None for a chunk not held intact."""
        with self._reading() as connection:
            return lengths_among(connection, map(self._names.name, digests))

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return a blob's manifest, checked against its digest; BadDigest if it does not match.

        A one-chunk blob has no manifest to hash, so the size in its row is compared with the chunk's length.
        """
        query = "SELECT size, manifest, (SELECT length FROM chunk WHERE name = blob.name) FROM blob WHERE name = ?"
        with self._reading() as connection:
            row = connection.execute(query, (self._names.name(digest),)).fetchone()
        if row is None:
            return None
        size, raw, length = row
        if raw is not None:
            return Manifest.decode(self._names.open_manifest(digest, value.content(raw)), digest)
        manifest = Manifest([(digest, value.number(size))])
        if length is not None and length != size:
            raise BadDigest(f"blob {digest} has {size} bytes in its row, but its chunk has {length}")
        return manifest

    def generation(self, digest: Digest) -> int | None:
        """Return the blob's generation, None if it is not held."""
        name = self._names.name(digest)
        with self._reading() as connection:
            row = connection.execute("SELECT generation FROM blob WHERE name = ?", (name,)).fetchone()
        return value.number(row[0]) if row else None

    def blobs(self, after: int, up_to_generation: int | None, limit: int) -> list[BlobRow]:
        """Return blobs by rising id above `after`; without those stored after `up_to_generation`, if given."""
        query = "SELECT id, name, generation, size FROM blob WHERE id > ? AND generation <= ? ORDER BY id LIMIT ?"
        bound = _LATEST if up_to_generation is None else up_to_generation
        with self._reading() as connection:
            rows = connection.execute(query, (after, bound, limit)).fetchall()
        return [
            BlobRow(id, self._names.digest(name), value.number(generation), value.number(size))
            for id, name, generation, size in rows
        ]

    def candidates(self) -> list[tuple[int, Digest]]:
        """Return (id, digest) of every chunk that may be without a blob."""
        query = "SELECT chunk.id, name FROM candidate JOIN chunk ON chunk.id = candidate.chunk"
        with self._reading() as connection:
            rows = connection.execute(query).fetchall()
        return [(id, self._names.digest(name)) for id, name in rows]

    def fence(self, path: str) -> int:
        """Return the highest lock number seen on a path; 0 without one."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT number FROM sealed_fence WHERE path = ?", (self._names.fence(path),)
            ).fetchone()
        return value.number(row[0]) if row else 0

    def blobs_of_chunk(self, id: int, digest: Digest) -> list[Digest]:
        """Return the blobs that contain a chunk."""
        query = (
            "SELECT blob.name FROM reference JOIN blob ON blob.id = reference.blob WHERE reference.chunk = ?"
            " UNION SELECT name FROM blob WHERE name = ?"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (id, self._names.name(digest))).fetchall()
        return [self._names.digest(row[0]) for row in rows]

    def check_references(self, manifest: Manifest) -> None:
        """Raise sqlite3.DatabaseError (SQLITE_CORRUPT) if the reference to one of a blob's chunks is missing.

        Damage to that chunk would not be reported for the blob, and the collector could remove it.
        """
        # One statement for each chunk, so that it sees one snapshot: the blob may be dropped meanwhile.
        query = (
            "SELECT 1 FROM blob JOIN chunk ON chunk.name = ? WHERE blob.name = ? AND NOT EXISTS"
            " (SELECT 1 FROM reference WHERE reference.chunk = chunk.id AND reference.blob = blob.id)"
        )
        blob = self._names.name(manifest.digest)
        with self._reading() as connection:
            for chunk, _ in manifest.chunks if len(manifest) > 1 else ():
                if connection.execute(query, (self._names.name(chunk), blob)).fetchone():
                    raise value.malformed(f"the reference to chunk {chunk} from blob {manifest.digest}")

    def damaged_blobs(self) -> list[Digest]:
        """Return every blob that has a damaged chunk."""
        # The number is part of the statement: with a parameter SQLite would not use the partial index.
        query = f"SELECT id, name FROM chunk WHERE place = {DAMAGED:d}"  # noqa: S608 - a constant
        with self._reading() as connection:
            damaged = connection.execute(query).fetchall()
        blobs: dict[Digest, None] = {}
        for id, name in damaged:
            blobs.update(dict.fromkeys(self.blobs_of_chunk(id, self._names.digest(name))))
        return list(blobs)

    # ------------------------------------------------------------ for the inventory

    def blob_digests(self) -> Iterator[Digest]:
        """Yield every blob that is held, in no order. Several short reads, not one moment."""
        # Selecting the size makes SQLite read each row: a name in its index without a row is not held.
        query = "SELECT id, name, size FROM blob WHERE id > ? ORDER BY id LIMIT ?"
        after = -1
        while True:
            with self._reading() as connection:
                rows = connection.execute(query, (after, _WALK_ROWS)).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            for _, name, _ in rows:
                yield self._names.digest(name)

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the plain bytes of each blob that is held."""
        query = "SELECT size FROM blob WHERE name = ?"
        name = self._names.name
        with self._reading() as connection:
            rows = {digest: connection.execute(query, (name(digest),)).fetchone() for digest in digests}
        return {digest: value.number(row[0]) for digest, row in rows.items() if row is not None}

    def highest_fence(self) -> int:
        """Return the highest lock number seen on any path. Walks the fences."""
        with self._reading() as connection:
            return value.number(connection.execute("SELECT coalesce(max(number), 0) FROM sealed_fence").fetchone()[0])

    def notes(self, after: int, through: int, limit: int) -> list[CommitNote]:
        """Return notes with cursors above `after` up to `through`, by rising cursor.

        Fewer than `limit` if they are long, as the notes of encrypted multipart uploads can be.
        """
        query = "SELECT cursor, note FROM note WHERE cursor > ? AND cursor <= ? ORDER BY cursor LIMIT ?"
        found: list[CommitNote] = []
        size = 0
        with self._reading() as connection:
            for cursor, note in connection.execute(query, (after, through, limit)):
                found.append(_note(self._names.open_note(value.number(cursor), value.content(note))))
                size += len(note)
                if size >= NOTES_BYTES:
                    break
        return found

    def highest_note(self) -> int:
        """Return the highest cursor of a commit note; 0 without one."""
        with self._reading() as connection:
            return value.number(connection.execute("SELECT coalesce(max(cursor), 0) FROM note").fetchone()[0])

    def _chunk_where(self, condition: str, *keys: bytes | int, digest: Digest | None = None) -> ChunkRow | None:
        """Return the first chunk's row. `digest` is its digest if the condition names it."""
        with self._reading() as connection:
            row = connection.execute(_CHUNK_COLUMNS + condition, keys).fetchone()
        if row is None:
            return None
        id, name, length, place, head, sealed = row
        if digest is None:
            digest = self._names.digest(name)
        elif name != keys[0]:
            raise value.malformed("the row of a chunk", "another one's")
        return ChunkRow(
            id,
            digest,
            value.number(length),
            value.number(place),
            value.content(head),
            None if sealed is None else value.content(sealed),
        )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self._path, _READER_CACHE_KIB)
        try:
            yield connection
        finally:
            if len(self._idle) < _MAX_IDLE_READERS and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()


def _note(encoded: bytes) -> CommitNote:
    try:
        return _notes.decode(encoded)
    except msgspec.DecodeError as error:
        raise value.malformed("a commit note") from error


def connect(path: Path, cache_kib: int) -> sqlite3.Connection:
    """Open a connection to the index file. Raises sqlite3.Error."""
    connection = open_database(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection
