"""Seals stored chunks again after a rotation of the storage keys, and knows which keys are still needed.

A chunk's file is replaced first and its row changed afterwards, so the row may name an older key than the file, never a
newer one: while a row names a key, that key counts as needed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from file_server.store.chunk_store import Resealed
from file_server.store.local.checked_reading import CheckedReading
from file_server.store.local.chunk_files import ChunkFiles
from file_server.store.local.chunk_index import ChunkIndex
from file_server.store.local.index_reader import ChunkRow
from file_server.store.local.index_transaction import FILE, HEAD_BYTES, IndexTransaction, StagedChunk
from file_server.store.local.sealed_names import SealedNames
from file_server.store.local.storage_health import StorageHealth
from lockstep_store.runtime.storage.sealing import FORMAT_VERSION, KeyRing, Sealer
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import DamagedChunk, NotFound, StorageFormatError

MAX_CHUNKS = 256
"""Small chunks share a transaction; writers wait for at most so many."""


class OpenSeals:
    """Counts the writes under way by the key that was current when they began. Thread-safe.

    Such a write may record a chunk under that key long after the rotation.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._open: Counter[int] = Counter()
        self._guard = threading.Lock()

    def begin(self) -> int:
        """Count a write, before it seals anything; give the result to `end`."""
        with self._guard:
            began = self._ring.switches
            self._open[began] += 1
        return began

    def end(self, began: int) -> None:
        """Count a write no longer: what it sealed is recorded or gone."""
        with self._guard:
            self._open[began] -= 1
            if not self._open[began]:
                del self._open[began]

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a write for the length of the block."""
        began = self.begin()
        try:
            yield
        finally:
            self.end(began)

    def are_behind(self, switches: int) -> bool:
        """Whether a write is under way that began before the ring's key changed for the `switches`th time."""
        with self._guard:
            return any(began < switches for began in self._open)


class Resealing:
    """Seals one store's chunks again. One thread only."""

    def __init__(
        self,
        files: ChunkFiles,
        sealer: Sealer,
        health: StorageHealth,
        reading: CheckedReading,
        names: SealedNames,
    ) -> None:
        self._names = names
        self._files = files
        self._sealer = sealer
        self._health = health
        self._reading = reading
        self._missing_keys: set[bytes] = set()

    def keys(self, index: ChunkIndex, writes: OpenSeals) -> dict[bytes, int]:
        """See `ChunkStore.sealed_under`."""
        ring = self._sealer.ring
        switches, current = ring.switches, ring.current
        # The writes come first: one that ends between the two looks has its chunks in the index.
        behind = writes.are_behind(switches)
        counted = index.sealed_under()
        if behind:
            counted = dict.fromkeys(ring.key_ids - {current}, 0) | counted
        if self._names.storage_key != current:
            counted.setdefault(self._names.storage_key, 0)
        return counted

    def some(self, index: ChunkIndex, after: int, most_bytes: int) -> Resealed:
        """See `ChunkStore.reseal`."""
        if self._names.storage_key != self._sealer.ring.current:
            with self._health.guard():
                # The copy first: while the file is under the old key, the next call tries both again.
                sealed = self._names.sealed_again()
                index.submit(lambda tx: tx.copy_key(sealed))
                self._names.save(sealed)
        head = bytes([FORMAT_VERSION]) + self._sealer.ring.current
        small: list[tuple[ChunkRow, bytes]] = []
        chunks = size = 0
        last: int | None = after
        for _ in range(MAX_CHUNKS):
            with self._health.guard():
                row = index.next_sealed_otherwise(after, head)
            if row is None:
                last = None
                break
            last = after = row.id
            plain = self._plain(row)
            if plain is None:
                continue
            chunks += 1
            size += row.length
            if row.place == FILE:
                self._reseal_file(index, row, plain)
            else:
                small.append((row, self._sealer.seal(row.digest, plain)))
            if size >= most_bytes:
                break
        self._record_small(index, small)
        return Resealed(last, chunks, size)

    def _plain(self, row: ChunkRow) -> bytes | None:
        try:
            return self._reading.chunk(row.digest)
        except (DamagedChunk, NotFound):
            return None  # quarantined and reported, or collected meanwhile
        except StorageFormatError as error:
            if row.head not in self._missing_keys:
                log.error("%s", error)
            self._missing_keys.add(row.head)
            return None

    def _reseal_file(self, index: ChunkIndex, row: ChunkRow, plain: bytes) -> None:
        head, body = self._sealer.seal_parts(row.digest, plain)
        with self._health.guard():
            temporary, sync = self._files.write_temporary([head, body])
            try:
                sync.result()
                stored = len(head) + len(body)
                chunk = StagedChunk(row.digest, row.length, head[:HEAD_BYTES], stored, None, temporary)
                with self._files.placing([chunk]):
                    crash_point("file_server.reseal.placed")
                    kept = index.submit(lambda tx: self._record_file(tx, row, chunk.head))
            finally:
                self._files.discard(temporary)
            if not kept:
                self._files.remove_orphan(row.digest, index.may_hold_chunk)

    def _record_file(self, tx: IndexTransaction, row: ChunkRow, head: bytes) -> bool:
        # A write that began before the rotation may just have replaced the file by its own, under the old key. Its row
        # follows in a later transaction.
        return self._files.read_start(row.digest, HEAD_BYTES) == head and tx.reseal(row.id, row.head, head, None)

    def _record_small(self, index: ChunkIndex, small: list[tuple[ChunkRow, bytes]]) -> None:
        def work(tx: IndexTransaction) -> None:
            for row, sealed in small:
                tx.reseal(row.id, row.head, sealed[:HEAD_BYTES], sealed)

        if small:
            with self._health.guard():
                index.submit(work)
            crash_point("file_server.reseal.recorded")
