"""The changes that can be made to the chunk index, inside a transaction that many writers share.

They keep blobs whole: a blob is recorded only if all its chunks are, a chunk is forgotten only if no blob refers to it,
and a path's fence never falls. chunk_index.py opens and commits; chunk_files.py handles files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from file_server.store.chunk_store import Fence, superseded
from file_server.store.local import index_values as value
from file_server.store.local.index_schema import GENERATION, SEALED_UNDER
from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.savepoints import Savepoints
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest

INLINE, FILE, DAMAGED = 0, 1, 2
"""A chunk's place: its sealed bytes are in the index, in a file, or in quarantine."""

HEAD_BYTES = 5
"""How many bytes of a sealed chunk's header the index repeats: the format and the key id."""


class StagedChunk(NamedTuple):
    """A sealed chunk that has arrived: `sealed`, to be stored in the index, or a `temporary` file in incoming/."""

    digest: Digest
    length: int
    head: bytes
    stored_bytes: int
    sealed: bytes | None
    temporary: Path | None


class IndexTransaction:
    """One open transaction, used by one writer after another."""

    def __init__(self, connection: sqlite3.Connection, totals: dict[str, int], names: SealedNames) -> None:
        self._connection = connection
        self._names = names
        self._totals = totals
        self._run = connection.execute
        self._savepoints = Savepoints(connection, connection.execute)
        self._lost: BaseException | None = None

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what one writer did if it fails, and nothing else."""
        self.raise_if_lost()
        before = dict(self._totals)
        self._savepoints.begin()
        try:
            yield
        except BaseException as error:
            self._totals.clear()
            self._totals.update(before)
            if self._connection.in_transaction:
                self._savepoints.undo()
            else:
                self._savepoints.forget()
                self._lost = self._lost or error
            raise
        self._savepoints.keep()

    def raise_if_lost(self) -> None:
        """Raise what rolled the transaction back: on a full disk SQLite drops the earlier writers' work too."""
        if self._lost is not None:
            raise self._lost

    # ------------------------------------------------------------ writes

    def check_fence(self, fence: Fence) -> None:
        """Remember the write's lock number. Raises TicketRefused if a higher one was seen on the path."""
        path = self._names.fence(fence.path)
        row = self._run("SELECT number FROM sealed_fence WHERE path = ?", (path,)).fetchone()
        known = value.number(row[0]) if row else 0
        if fence.number < known:
            raise superseded(fence, known)
        if fence.number > known:
            self.put_fence(path, fence.number)

    def put_fence(self, path: bytes, number: int) -> None:
        """Store the highest lock number of a path that is hashed already."""
        self._run("INSERT OR REPLACE INTO sealed_fence (path, number) VALUES (?, ?)", (path, number))

    def put_chunk(self, chunk: StagedChunk) -> None:
        """Record a chunk whose file, if any, is in place and durable. Safe to repeat."""
        place, name = INLINE if chunk.temporary is None else FILE, self._names.name(chunk.digest)
        # Most chunks are new, so the insert comes first: every writer in the shared commit waits for each statement.
        inserted = self._run(
            "INSERT OR IGNORE INTO chunk (name, length, stored, place, head) VALUES (?, ?, ?, ?, ?)",
            (name, chunk.length, chunk.stored_bytes, place, chunk.head),
        )
        if inserted.rowcount:
            id = inserted.lastrowid
            self._totals["chunks"] += 1
            self._totals["stored_bytes"] += chunk.stored_bytes
        else:
            query = "SELECT head, id, place, stored, length FROM chunk WHERE name = ?"
            head, *numbers = self._run(query, (name,)).fetchone()
            id, known_place, stored, length = map(value.number, numbers)
            if (known_place == INLINE or (known_place == FILE and place == INLINE)) and length == chunk.length:
                return
            self._run(
                "UPDATE chunk SET length = ?, stored = ?, place = ?, head = ? WHERE id = ?",
                (chunk.length, chunk.stored_bytes, place, chunk.head, id),
            )
            self._totals["stored_bytes"] += chunk.stored_bytes - stored
            if known_place != DAMAGED:
                self._count_sealed(value.content(head), -1)
        self._count_sealed(chunk.head, 1)
        if chunk.sealed is not None:
            self._run("INSERT OR REPLACE INTO inline (chunk, sealed) VALUES (?, ?)", (id, chunk.sealed))

    def _count_sealed(self, head: bytes, change: int) -> None:
        name = SEALED_UNDER + head[1:].hex()
        self._totals[name] = self._totals.get(name, 0) + change

    def reseal(self, id: int, before: bytes, head: bytes, sealed: bytes | None) -> bool:
        """Record that a chunk with the head `before` is now sealed with `head`; False if it has changed meanwhile.

        `sealed` are its new bytes if they are in the index; otherwise its file must be in place and durable.
        """
        place = FILE if sealed is None else INLINE
        query = "UPDATE chunk SET head = ? WHERE id = ? AND head = ? AND place = ?"
        if not self._run(query, (head, id, before, place)).rowcount:
            return False
        self._count_sealed(before, -1)
        self._count_sealed(head, 1)
        if sealed is not None:
            self._run("UPDATE inline SET sealed = ? WHERE chunk = ?", (sealed, id))
        return True

    def missing(self, chunks: Iterable[tuple[Digest, int]]) -> list[Digest]:
        """Return a manifest's chunks that are not held intact, each once, in order.

        A chunk of another length counts as missing: only its bytes can show which length is wrong. A blob recorded on
        the sender's word would be damaged for every reader, and nobody could store that content any more.
        """
        named = list(dict.fromkeys(chunks))
        held = lengths_among(self._connection, (self._names.name(digest) for digest, _ in named))
        missing = (digest for (digest, length), known in zip(named, held, strict=True) if known != length)
        return list(dict.fromkeys(missing))

    def put_blob(self, manifest: Manifest) -> None:
        """Record a blob whose chunks are all held; an existing blob gets a new generation."""
        self._totals[GENERATION] += 1
        generation = self._totals[GENERATION]
        name, sealed = self._names.name(manifest.digest), None
        if len(manifest) > 1:
            sealed = self._names.seal_manifest(manifest.digest, manifest.encode())
        inserted = self._run(
            "INSERT OR IGNORE INTO blob (name, generation, size, manifest) VALUES (?, ?, ?, ?)",
            (name, generation, manifest.size, sealed),
        )
        if inserted.rowcount:
            self._totals["blobs"] += 1
        else:
            self._run("UPDATE blob SET generation = ? WHERE name = ?", (generation, name))
        if sealed is not None:  # of an existing blob too: a chunk whose row was lost and came again has another id
            self._connection.executemany(
                "INSERT OR IGNORE INTO reference (chunk, blob)"
                " SELECT chunk.id, blob.id FROM chunk, blob WHERE chunk.name = ? AND blob.name = ?",
                ((self._names.name(digest), name) for digest, _ in manifest.chunks),
            )

    def await_use(self, chunks: Iterable[Digest]) -> None:
        """Keep chunks for the grace period; the collector then removes those that no blob refers to."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO candidate (chunk) SELECT id FROM chunk WHERE name = ?",
            ((self._names.name(digest),) for digest in chunks),
        )

    def put_note(self, cursor: int, digest: Digest, note: bytes) -> None:
        """Store the note of the version committed at `cursor`, as long as its blob is held."""
        row = cursor, self._names.name(digest), self._names.seal_note(cursor, note)
        self._run("INSERT OR REPLACE INTO note (cursor, name, note) VALUES (?, ?, ?)", row)

    # ------------------------------------------------------------ removal

    def drop_blob(self, digest: Digest, generation: int) -> bool:
        """Forget a blob unless it was stored again since `generation`; its chunks become candidates."""
        name = self._names.name(digest)
        row = self._run(
            "SELECT id, manifest FROM blob WHERE name = ? AND generation = ?", (name, generation)
        ).fetchone()
        if row is None:
            return False
        id, raw = row
        self._run("DELETE FROM blob WHERE id = ?", (id,))
        if raw is None:
            self.await_use([digest])
        else:
            encoded = self._names.open_manifest(digest, value.content(raw))
            chunks = [chunk for chunk, _ in Manifest.decode(encoded).chunks]
            self.await_use(chunks)
            self._connection.executemany(
                "DELETE FROM reference WHERE blob = ? AND chunk = (SELECT id FROM chunk WHERE name = ?)",
                ((id, self._names.name(chunk)) for chunk in chunks),
            )
        self._run("DELETE FROM note WHERE name = ?", (name,))
        self._totals["blobs"] -= 1
        return True

    def forget_blob(self, digest: Digest) -> bool:
        """Forget a blob with a damaged manifest; the chunks that it refers to become candidates."""
        row = self._run("SELECT id FROM blob WHERE name = ?", (self._names.name(digest),)).fetchone()
        if row is None:
            return False
        self._run("INSERT OR IGNORE INTO candidate (chunk) SELECT chunk FROM reference WHERE blob = ?", row)
        self.await_use([digest])
        self._run("DELETE FROM reference WHERE blob = ?", row)
        self._run("DELETE FROM blob WHERE id = ?", row)
        self._totals["blobs"] -= 1
        return True

    def forget_unused(self, candidates: Iterable[int]) -> list[tuple[Digest, int]]:
        """Forget the candidate chunk ids that still no blob refers to; return (digest, place) of each."""
        forgotten = []
        for id in candidates:
            row = self._run(
                "SELECT name, place, stored, head FROM chunk WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM reference WHERE reference.chunk = chunk.id)"
                " AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.name = chunk.name)",
                (id,),
            ).fetchone()
            self._run("DELETE FROM candidate WHERE chunk = ?", (id,))
            if row is None:
                continue
            self._run("DELETE FROM inline WHERE chunk = ?", (id,))
            self._run("DELETE FROM chunk WHERE id = ?", (id,))
            self._totals["chunks"] -= 1
            self._totals["stored_bytes"] -= value.number(row[2])
            if row[1] != DAMAGED:
                self._count_sealed(value.content(row[3]), -1)
            forgotten.append((self._names.digest(row[0]), value.number(row[1])))
        return forgotten

    def mark_damaged(self, id: int) -> bool:
        """Stop counting a chunk as held. False if another thread has marked or removed it."""
        row = self._run("SELECT stored, head FROM chunk WHERE id = ? AND place != ?", (id, DAMAGED)).fetchone()
        if row is None:
            return False
        self._run("UPDATE chunk SET place = ?, stored = 0 WHERE id = ?", (DAMAGED, id))
        self._run("DELETE FROM inline WHERE chunk = ?", (id,))
        self._totals["stored_bytes"] -= value.number(row[0])
        self._count_sealed(value.content(row[1]), -1)
        return True

    # ------------------------------------------------------------ stored numbers

    def remember(self, name: str, value: int) -> None:
        """Store a number under a name, such as the scrubber's position."""
        self._totals[name] = value

    def copy_key(self, sealed: bytes) -> None:
        """Store the copy of the disk key; see sealed_names.py."""
        self._run("INSERT OR REPLACE INTO disk_key (id, sealed) VALUES (1, ?)", (sealed,))


def lengths_among(connection: sqlite3.Connection, names: Iterable[bytes]) -> list[int | None]:
    """Return the plain lengths in bytes of the chunks with these stored names as `connection` sees them.

    None for a chunk not held intact.
    """
    lengths: list[int | None] = []
    for name in names:
        row = connection.execute("SELECT length, place FROM chunk WHERE name = ?", (name,)).fetchone()
        length, place = (0, DAMAGED) if row is None else map(value.number, row)
        lengths.append(None if place == DAMAGED else length)
    return lengths
