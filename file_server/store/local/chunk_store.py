"""The local engine: stores sealed chunks on this machine's disk, as `ChunkStore` promises.

It combines the index (chunk_index.py), the chunk files (chunk_files.py), sealing (runtime/storage/sealing.py), checked
reads (checked_reading.py) and the grace period of unused chunks (unused_chunks.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from file_server.store.chunk_store import (
    BlobRow,
    Collected,
    Fence,
    Resealed,
    Totals,
    WholeBlob,
    chunk_not_found,
    missing_chunks,
    superseded,
)
from file_server.store.local.blob_order import BlobOrder
from file_server.store.local.checked_reading import CheckedReading, OnDamage
from file_server.store.local.chunk_files import ChunkFiles
from file_server.store.local.chunk_index import PendingNote
from file_server.store.local.disk import Disk
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.flush_watch import FlushWatch
from file_server.store.local.index_rescue import ask_for_rescue, open_index
from file_server.store.local.index_transaction import FILE, IndexTransaction, StagedChunk
from file_server.store.local.index_upgrade import copied_key
from file_server.store.local.index_write import IndexWrite
from file_server.store.local.resealing import OpenSeals, Resealing
from file_server.store.local.sealed_names import SealedNames
from file_server.store.local.staging import LocalStaging, fits_index, sealed_inline
from file_server.store.local.storage_health import StorageHealth
from file_server.store.local.unused_chunks import UnusedChunks
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.servers import CommitNote

MAX_COLLECT_BATCH = 500


class LocalChunkStore:
    """Chunks in an index and in files of one data folder. Thread-safe; see `ChunkStore` for the promises."""

    def __init__(
        self,
        layout: DiskLayout,
        sealer: Sealer,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        reserve_bytes: int = 0,
        on_damage: OnDamage | None = None,
    ) -> None:
        self._layout = layout
        self._sealer = sealer
        self._reserve_bytes = reserve_bytes
        self._health = StorageHealth(lambda: ask_for_rescue(layout))
        self._flushes = FlushWatch()
        with self._health.guard():
            self._names = SealedNames(layout.key_file, layout.store_id, sealer, lambda: copied_key(layout))
            self._files = ChunkFiles(layout, self._names, disk or Disk(), self._flushes, reserve_bytes)
            self._index = open_index(layout, sealer, self._flushes, self._names)
        report = on_damage or (lambda chunk, blobs: None)
        self._reading = CheckedReading(self._index, self._files, sealer, self._health, report)
        self._open_seals = OpenSeals(sealer.ring)
        self._resealing = Resealing(self._files, sealer, self._health, self._reading, self._names)
        self._monotonic = (clock or SystemClock()).monotonic
        self._unused = UnusedChunks(self._monotonic)
        self._order = BlobOrder()

    @property
    def store_id(self) -> str:
        """Return the id made with the storage: a different id means a different, empty disk."""
        return self._layout.store_id

    @property
    def problem(self) -> str:
        """Say why the storage takes no writes; empty when it does."""
        return self._health.problem

    def stored_name(self, digest: Digest) -> str:
        """Return the name of a chunk's file, in hexadecimal, which does not show the digest."""
        return self._names.name(digest).hex()

    def close(self) -> None:
        """Finish pending work and let another process open the folder."""
        self._files.close()
        self._index.close()
        self._layout.close()

    # ------------------------------------------------------------ writing

    def check_room(self) -> None:
        """Raise StorageFull when the disk is full down to the reserve, Unavailable when it hangs."""
        self._health.refuse_if_hanging()
        with self._health.guard():
            self._files.check_room()

    def stage(self) -> LocalStaging:
        """Begin to receive a blob. Raises as `check_room` does."""
        self.check_room()
        return LocalStaging(self, self._files, self._sealer, self._health, self._open_seals)

    def record(self, chunks: list[StagedChunk], manifest: Manifest | None, fence: Fence | None) -> list[Digest]:
        """Make synced chunks durable, with their blob unless some of its chunks are missing; return the missing ones.

        Chunks without their blob stay for the grace period.
        """
        write = IndexWrite(chunks, manifest, fence)
        with self._health.guard():
            try:
                with self._files.placing(chunks):
                    return self._index.submit(write.apply)
            except BaseException:
                for chunk in chunks:
                    if chunk.temporary is not None:
                        self._files.remove_orphan(chunk.digest, self._index.may_hold_chunk)
                raise

    def put_blobs(self, blobs: Sequence[WholeBlob]) -> list[LockstepError | None]:
        """Store several blobs: those that fit the index in one transaction, each other by itself."""
        outcomes: list[LockstepError | None] = [None] * len(blobs)
        small: dict[int, IndexWrite] = {}
        with self._open_seals.one():
            for position, blob in enumerate(blobs):
                if fits_index(blob.chunks):
                    small[position] = IndexWrite(self._sealed(blob), blob.manifest, blob.fence)
                else:
                    outcomes[position] = self._put_large(blob)
            if small:
                for position, outcome in zip(small, self._record_small(list(small.values())), strict=True):
                    outcomes[position] = outcome
        return outcomes

    def _sealed(self, blob: WholeBlob) -> list[StagedChunk]:
        plain = {chunk.digest: chunk.data for chunk in blob.chunks if chunk.data is not None}
        return [sealed_inline(self._sealer, digest, data) for digest, data in plain.items()]

    def _put_large(self, blob: WholeBlob) -> LockstepError | None:
        try:
            with self.stage() as staging:
                for chunk in blob.chunks:
                    staging.put(chunk)
                staging.complete(blob.manifest, blob.fence)
        except LockstepError as error:
            return error
        return None

    def _record_small(self, writes: list[IndexWrite]) -> list[LockstepError | None]:
        def work(tx: IndexTransaction) -> list[LockstepError | None]:
            outcomes: list[LockstepError | None] = []
            for write in writes:
                try:
                    with tx.savepoint():
                        missing = write.apply(tx)
                    outcomes.append(missing_chunks(missing) if missing else None)
                except LockstepError as error:
                    outcomes.append(error)
            return outcomes

        with self._health.guard():
            return self._index.submit(work)

    def check_fence(self, fence: Fence) -> None:
        """Raise TicketRefused if a higher lock number was seen on the path. The index checks again when it commits."""
        with self._health.guard():
            known = self._index.fence(fence.path)
        if fence.number < known:
            raise superseded(fence, known)

    # ------------------------------------------------------------ reading

    def holds(self, digest: Digest, length: int) -> bool:
        """Return whether a chunk of that length is held intact. Puts off its collection by a grace period."""
        self._unused.put_off([digest])
        with self._health.guard():
            return self._index.lengths([digest]) == [length]

    def pin(self, digest: Digest) -> None:
        """Protect a chunk that an upload counts on from collection, until as many calls of `unpin`."""
        self._unused.pin(digest)

    def unpin(self, digests: Iterable[Digest]) -> None:
        """Undo one `pin` of each chunk; those without a blob begin their grace period."""
        self._unused.unpin(digests)

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the chunks not held intact, each once. Puts off the collection of the others."""
        wanted = list(digests)
        self._unused.put_off(wanted)
        with self._health.guard():
            return self._index.missing(wanted)

    def lengths(self, digests: list[Digest]) -> list[int]:
        """Return the chunks' plain lengths in bytes. NotFound names the first that is not held."""
        with self._health.guard():
            lengths = self._index.lengths(digests)
        for digest, length in zip(digests, lengths, strict=True):
            if length is None:
                raise chunk_not_found(digest)
        return [length for length in lengths if length is not None]

    def read_chunk(self, digest: Digest) -> bytes:
        """Return a chunk's plain bytes, checked. NotFound or DamagedChunk; see `CheckedReading.chunk`."""
        return self._reading.chunk(digest)

    def manifest(self, digest: Digest) -> Manifest:
        """Return a blob's manifest, checked. NotFound or Damaged; see `CheckedReading.manifest`."""
        return self._reading.manifest(digest)

    def generation(self, digest: Digest) -> int | None:
        """Return the blob's generation; None if it is not held."""
        with self._health.guard():
            return self._index.generation(digest)

    def damaged_blobs(self) -> list[Digest]:
        """Return the blobs with a chunk known to be damaged."""
        with self._health.guard():
            return self._index.damaged_blobs()

    # ------------------------------------------------------------ removing

    @property
    def latest_generation(self) -> int:
        """Return the highest generation given."""
        return self._index.latest_generation

    def blobs(self, after: int, up_to_generation: int | None, limit: int) -> list[BlobRow]:
        """Return a page of blobs by rising id; without those stored after `up_to_generation`, if given."""
        with self._health.guard():
            return self._index.blobs(after, up_to_generation, limit)

    def drop_blob(self, digest: Digest, generation: int) -> bool:
        """Forget a blob unless it was stored again since `generation`; return whether it was dropped."""
        with self._health.guard():
            return self._index.submit(lambda tx: tx.drop_blob(digest, generation))

    def collect_chunks(self, grace_seconds: float) -> Collected:
        """Remove chunks that no blob has referred to for `grace_seconds` of this process's time."""
        with self._health.guard():
            candidates = self._index.candidates()
            due = self._unused.due(candidates, grace_seconds)
            removed = 0
            for start in range(0, len(due), MAX_COLLECT_BATCH):
                batch = due[start : start + MAX_COLLECT_BATCH]
                forgotten = self._forget(batch)
                crash_point("file_server.collect.forgotten")
                removed += len(forgotten)
                for digest, place in forgotten:
                    if place == FILE:
                        self._files.remove_orphan(digest, self._index.may_hold_chunk)
        return Collected(removed, len(candidates) - len(due))

    def _forget(self, candidates: list[int]) -> list[tuple[Digest, int]]:
        return self._index.submit(lambda tx: tx.forget_unused(candidates))

    def sweep_orphans(self, part: int) -> int:
        """Remove the files of one chunk folder that a crash left without a row; return how many."""
        folder = self._layout.chunk_folder(part)
        with self._health.guard():
            digests = list(self._files.digests_in(folder))
            orphans = self._index.missing(digests)
            return sum(self._files.remove_orphan(digest, self._index.may_hold_chunk) for digest in orphans)

    # ------------------------------------------------------------ maintenance

    def verify_next(self, after: int) -> tuple[int, int] | None:
        """Check the first chunk with an id above `after`; return (its id, bytes read), or None after the last."""
        return self._reading.verify_next(after)

    def verify_blob(self, digest: Digest) -> None:
        """Check that a blob's manifest matches and that all its chunks are held; report the blob if not."""
        self._reading.verify_blob(digest)

    def reseal(self, after: int, most_bytes: int) -> Resealed:
        """Seal some chunks again that are under an older key; see `ChunkStore.reseal`."""
        return self._resealing.some(self._index, after, most_bytes)

    def sealed_under(self) -> dict[bytes, int]:
        """Return the storage keys that are still needed here; see `ChunkStore.sealed_under`."""
        return self._resealing.keys(self._index, self._open_seals)

    def remember(self, name: str, value: int) -> None:
        """Store a number under a name, durably."""
        with self._health.guard():
            self._index.submit(lambda tx: tx.remember(name, value))

    def remembered(self, name: str) -> int:
        """Return the number stored under a name; 0 without one."""
        return self._index.remembered(name)

    def keep_soon(self, numbers: dict[str, int]) -> None:
        """Store numbers under their names. Never waits; durable with the next transaction."""
        self._index.keep_soon(numbers)

    def probe(self) -> None:
        """Check that the disk takes writes; see `ChunkStore.probe`.

        Notices a disk that others filled, or that hangs, before a write fails. A disk that hangs is not written to.
        """
        self._health.note_hanging(self._flushes.hangs(self._monotonic()))
        self._health.refuse_if_hanging()
        if not self._health.problem:
            with self._health.guard():
                self._files.check_room()
            return
        with self._health.guard():
            self._files.probe()
            self._index.submit(lambda tx: tx.remember("probes", self._index.remembered("probes") + 1))
        self._health.recovered()

    def rebuild(self) -> bool:
        """Rebuild the index if it is damaged; whether it was. See `ChunkStore.rebuild`."""
        if not self._health.needs_rebuild:
            return False
        with self._health.rebuilding() as is_idle:
            if not is_idle:
                return False
            try:
                generation = self._index.latest_generation
                self._index.close()
                self._index = open_index(self._layout, self._sealer, self._flushes, self._names, generation)
                self._reading.use(self._index)
            except (OSError, sqlite3.Error) as error:
                raise self._health.failed(error) from error
        self._health.recovered()
        return True

    def space(self) -> tuple[int, int]:
        """Return (capacity, free for new blobs) in bytes."""
        with self._health.guard():
            capacity, free = self._files.space()
        return capacity, max(0, free - self._reserve_bytes)

    @property
    def totals(self) -> Totals:
        """Return the totals as of the latest commit."""
        return self._index.totals

    # ------------------------------------------------------------ inventory

    def blobs_by_digest(self, after: Digest | None, limit: int) -> tuple[list[Digest], Digest | None]:
        """Return the whole blobs among the next `limit` in digest order, and where the page ended (None: the last)."""
        with self._health.guard():
            page, end = self._order.page(self._index, after, limit)
            damaged = set(self._index.damaged_blobs())
        return [digest for digest in page if digest not in damaged], end

    def not_whole(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the digests, in order, of which no blob is held or the blob has a damaged chunk."""
        wanted = list(digests)
        with self._health.guard():
            known = self._index.sizes(wanted)
            damaged = set(self._index.damaged_blobs())
        return [digest for digest in wanted if digest not in known or digest in damaged]

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the plain bytes of each blob that is held."""
        with self._health.guard():
            return self._index.sizes(digests)

    def highest_fence(self) -> int:
        """Return the highest lock number seen on any path."""
        with self._health.guard():
            return self._index.highest_fence()

    def highest_note(self) -> int:
        """Return the highest cursor of a commit note; 0 without one."""
        with self._health.guard():
            return self._index.highest_note()

    def note(self, cursor: int, digest: Digest, encoded: Callable[[], bytes]) -> None:
        """Add a commit note, kept as long as its blob. Never waits; durable with the next transaction."""
        self._index.note(PendingNote(cursor, digest, encoded))

    def keep_notes(self) -> None:
        """Write the waiting notes and numbers now."""
        with self._health.guard():
            self._index.keep_notes()

    def notes(self, after: int, through: int, limit: int) -> list[CommitNote]:
        """Return notes with cursors above `after` up to `through`, by rising cursor."""
        with self._health.guard():
            return self._index.notes(after, through, limit)
