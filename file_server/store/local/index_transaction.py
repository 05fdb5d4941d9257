"""What can be changed in the chunk index, inside a transaction that many writers share.

The rules that keep a blob whole stand here: it is recorded only while every one of its chunks is recorded, a chunk is
forgotten only while no blob refers to it, and a path's fence never falls. Opening, committing and reading are left to
chunk_index.py; files to chunk_files.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from file_server.store.chunk_store import Fence, superseded
from file_server.store.local import index_values as value
from file_server.store.local.index_schema import GENERATION
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest

INLINE, FILE, DAMAGED = 0, 1, 2
"""Where a chunk's sealed bytes are: in the index, in a file, or in quarantine."""

HEAD_BYTES = 5
"""How many bytes of a sealed chunk's header the index repeats: its format and key id."""


class StagedChunk(NamedTuple):
    """A sealed chunk that has arrived: `sealed` for the index, or a `temporary` file in incoming/."""

    digest: Digest
    length: int
    head: bytes
    stored_bytes: int
    sealed: bytes | None
    temporary: Path | None


class IndexTransaction:
    """One open transaction; see the module docstring."""

    def __init__(self, connection: sqlite3.Connection, totals: dict[str, int]) -> None:
        self._connection = connection
        self._totals = totals
        self._run = connection.execute
        self._lost: BaseException | None = None

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what one writer did when it fails, and only that."""
        self.raise_if_lost()
        before = dict(self._totals)
        self._run("SAVEPOINT writer")
        try:
            yield
        except BaseException as error:
            self._totals.update(before)
            if self._connection.in_transaction:
                self._run("ROLLBACK TO writer")
                self._run("RELEASE writer")
            elif self._lost is None:
                self._lost = error
            raise
        self._run("RELEASE writer")

    def raise_if_lost(self) -> None:
        """A full disk makes SQLite give up the whole transaction; whoever comes after must not commit alone."""
        if self._lost is not None:
            raise self._lost

    # ------------------------------------------------------------ seals

    def check_fence(self, fence: Fence) -> None:
        """TicketRefused when a newer lock than the write's has been seen on its path; otherwise remember it."""
        row = self._run("SELECT number FROM fence WHERE path = ?", (fence.path,)).fetchone()
        known = value.number(row[0]) if row else 0
        if fence.number < known:
            raise superseded(fence, known)
        if fence.number > known:
            self._run("INSERT OR REPLACE INTO fence (path, number) VALUES (?, ?)", fence)

    def put_chunk(self, chunk: StagedChunk) -> None:
        """Record a chunk whose file, if it has one, is in place and durable. Safe to repeat."""
        place = INLINE if chunk.temporary is None else FILE
        # Most chunks are new, so the insert comes first: every statement fewer is paid for under the shared commit.
        inserted = self._run(
            "INSERT OR IGNORE INTO chunk (digest, length, stored, place, head) VALUES (?, ?, ?, ?, ?)",
            (chunk.digest, chunk.length, chunk.stored_bytes, place, chunk.head),
        )
        if inserted.rowcount:
            id = inserted.lastrowid
            self._totals["chunks"] += 1
            self._totals["stored_bytes"] += chunk.stored_bytes
        else:
            row = self._run("SELECT id, place, stored, length FROM chunk WHERE digest = ?", (chunk.digest,)).fetchone()
            id, known_place, stored, length = map(value.number, row)
            if (known_place == INLINE or (known_place == FILE and place == INLINE)) and length == chunk.length:
                return
            self._run(
                "UPDATE chunk SET length = ?, stored = ?, place = ?, head = ? WHERE id = ?",
                (chunk.length, chunk.stored_bytes, place, chunk.head, id),
            )
            self._totals["stored_bytes"] += chunk.stored_bytes - stored
        if chunk.sealed is not None:
            self._run("INSERT OR REPLACE INTO inline (chunk, sealed) VALUES (?, ?)", (id, chunk.sealed))

    def missing(self, chunks: Iterable[tuple[Digest, int]]) -> list[Digest]:
        """Which of a manifest's chunks are not held intact, each once, in order.

        A chunk of another length is not what the manifest names. Only its bytes can tell which of the two is wrong; and
        a blob sealed on a sender's word would be damaged for every reader, and in the way of whoever has its content.
        """
        named = list(dict.fromkeys(chunks))
        held = lengths_among(self._connection, (digest for digest, _ in named))
        missing = (digest for (digest, length), known in zip(named, held, strict=True) if known != length)
        return list(dict.fromkeys(missing))

    def put_blob(self, manifest: Manifest) -> None:
        """Record a blob all of whose chunks are held; an existing one becomes a new generation."""
        self._totals[GENERATION] += 1
        generation = self._totals[GENERATION]
        several = len(manifest) > 1
        inserted = self._run(
            "INSERT OR IGNORE INTO blob (digest, generation, size, manifest) VALUES (?, ?, ?, ?)",
            (manifest.digest, generation, manifest.size, manifest.encode() if several else None),
        )
        if inserted.rowcount:
            self._totals["blobs"] += 1
        else:
            self._run("UPDATE blob SET generation = ? WHERE digest = ?", (generation, manifest.digest))
        if several:  # also of one that was here: a chunk whose row was lost, and came again, has another id
            self._connection.executemany(
                "INSERT OR IGNORE INTO reference (chunk, blob)"
                " SELECT chunk.id, blob.id FROM chunk, blob WHERE chunk.digest = ? AND blob.digest = ?",
                ((digest, manifest.digest) for digest, _ in manifest.chunks),
            )

    def await_use(self, chunks: Iterable[Digest]) -> None:
        """Chunks that no blob may refer to: they are kept for the grace period, then collected."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO candidate (chunk) SELECT id FROM chunk WHERE digest = ?",
            ((digest,) for digest in chunks),
        )

    def put_note(self, cursor: int, digest: Digest, note: bytes) -> None:
        """Keep what is known of the version committed at `cursor`, for as long as its blob is here."""
        self._run("INSERT OR REPLACE INTO note (cursor, digest, note) VALUES (?, ?, ?)", (cursor, digest, note))

    # ------------------------------------------------------------ removal

    def drop_blob(self, digest: Digest, generation: int) -> bool:
        """Forget a blob unless it was sealed again since `generation`; its chunks become candidates."""
        row = self._run(
            "SELECT id, manifest FROM blob WHERE digest = ? AND generation = ?", (digest, generation)
        ).fetchone()
        if row is None:
            return False
        id, raw = row
        self._run("DELETE FROM blob WHERE id = ?", (id,))
        if raw is None:
            self.await_use([digest])
        else:
            chunks = [chunk for chunk, _ in Manifest.decode(value.content(raw)).chunks]
            self.await_use(chunks)
            self._connection.executemany(
                "DELETE FROM reference WHERE blob = ? AND chunk = (SELECT id FROM chunk WHERE digest = ?)",
                ((id, chunk) for chunk in chunks),
            )
        self._run("DELETE FROM note WHERE digest = ?", (digest,))
        self._totals["blobs"] -= 1
        return True

    def forget_blob(self, digest: Digest) -> bool:
        """Forget a blob whose manifest cannot be trusted; what it referred to becomes candidates."""
        row = self._run("SELECT id FROM blob WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return False
        self._run("INSERT OR IGNORE INTO candidate (chunk) SELECT chunk FROM reference WHERE blob = ?", row)
        self.await_use([digest])
        self._run("DELETE FROM reference WHERE blob = ?", row)
        self._run("DELETE FROM blob WHERE id = ?", row)
        self._totals["blobs"] -= 1
        return True

    def forget_unused(self, candidates: Iterable[int]) -> list[tuple[Digest, int]]:
        """Forget those of the candidate chunk ids that still no blob refers to: (digest, place) of each."""
        forgotten = []
        for id in candidates:
            row = self._run(
                "SELECT digest, place, stored FROM chunk WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM reference WHERE reference.chunk = chunk.id)"
                " AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.digest = chunk.digest)",
                (id,),
            ).fetchone()
            self._run("DELETE FROM candidate WHERE chunk = ?", (id,))
            if row is None:
                continue
            self._run("DELETE FROM inline WHERE chunk = ?", (id,))
            self._run("DELETE FROM chunk WHERE id = ?", (id,))
            self._totals["chunks"] -= 1
            self._totals["stored_bytes"] -= value.number(row[2])
            forgotten.append((value.digest(row[0]), value.number(row[1])))
        return forgotten

    def mark_damaged(self, id: int) -> bool:
        """The chunk failed its check: no longer held. False when somebody else marked or removed it."""
        row = self._run("SELECT stored FROM chunk WHERE id = ? AND place != ?", (id, DAMAGED)).fetchone()
        if row is None:
            return False
        self._run("UPDATE chunk SET place = ?, stored = 0 WHERE id = ?", (DAMAGED, id))
        self._run("DELETE FROM inline WHERE chunk = ?", (id,))
        self._totals["stored_bytes"] -= value.number(row[0])
        return True

    # ------------------------------------------------------------ places to go on from

    def remember(self, name: str, value: int) -> None:
        """Keep a number under a name, such as how far the scrubber has come."""
        self._totals[name] = value


def lengths_among(connection: sqlite3.Connection, digests: Iterable[Digest]) -> list[int | None]:
    """Plain lengths in bytes as `connection` sees them, None for a chunk that is not held intact."""
    lengths: list[int | None] = []
    for digest in digests:
        row = connection.execute("SELECT length, place FROM chunk WHERE digest = ?", (digest,)).fetchone()
        length, place = (0, DAMAGED) if row is None else map(value.number, row)
        lengths.append(None if place == DAMAGED else length)
    return lengths
