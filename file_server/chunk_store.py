"""The chunk store: blobs of sealed chunks on local disk, durable when a seal returns.

It puts together the index (chunk_index.py), the files (chunk_files.py) and the seals (wire/sealing.py). Whether a
write is allowed, who else gets a copy and what may be dropped are decided elsewhere; only a path's fence is kept here,
because it must be as durable as the bytes.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from file_server.chunk_files import ChunkFiles
from file_server.chunk_index import BlobRow, ChunkRow, PendingNote, Totals
from file_server.disk import Disk
from file_server.disk_layout import DiskLayout
from file_server.index_rescue import ask_for_rescue, open_index
from file_server.index_transaction import (
    DAMAGED,
    FILE,
    HEAD_BYTES,
    Fence,
    IndexTransaction,
    StagedChunk,
    superseded,
)
from file_server.seal import Seal
from file_server.staging import Staging
from file_server.storage_health import StorageHealth
from wire.clock import Clock, SystemClock
from wire.codec import decoder
from wire.crash_points import crash_point
from wire.digest import Digest, chunk_digest
from wire.errors import BadRequest, Damaged, DamagedChunk, LockstepError, NotFound, StorageFormatError
from wire.manifest import Manifest
from wire.sealing import Sealer
from wire.server_messages import CommitNote
from wire.tracing import log

OnDamage = Callable[[Digest, list[Digest]], None]
"""Called with a chunk that failed its check and the blobs it is part of."""

DEFAULT_RESERVE_BYTES = 64 * 1024 * 1024
MAX_COLLECT_BATCH = 500
_notes = decoder(CommitNote)


class Collected(NamedTuple):
    """What one collection removed, and how many chunks are still in their grace period."""

    removed: int
    waiting: int


class ChunkStore:
    """One file server's storage. Thread-safe. Failures of the disk are raised as StorageFull or Unavailable."""

    def __init__(
        self,
        layout: DiskLayout,
        sealer: Sealer,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        reserve_bytes: int = DEFAULT_RESERVE_BYTES,
        on_damage: OnDamage | None = None,
    ) -> None:
        self._layout = layout
        self._sealer = sealer
        self._clock = clock or SystemClock()
        self._reserve_bytes = reserve_bytes
        self.on_damage = on_damage or (lambda chunk, blobs: None)
        self.health = StorageHealth(lambda: ask_for_rescue(layout))
        self._files = ChunkFiles(layout, disk or Disk(), reserve_bytes)
        with self.health.guard():
            self._index = open_index(layout, sealer)
        # Since when each chunk is known to be without a blob, in monotonic seconds. In memory on purpose: after a
        # restart every grace period begins again, so neither a wall clock nor the time spent stopped can end one.
        self._unused_since: dict[Digest, float] = {}
        self._pins: Counter[Digest] = Counter()
        self._unused_guard = threading.Lock()

    @property
    def store_id(self) -> str:
        """Made with the storage: another one means another, empty disk."""
        return self._layout.store_id

    @property
    def quarantine_folder(self) -> Path:
        """Where damaged chunks are kept to be looked at."""
        return self._layout.quarantine

    def close(self) -> None:
        """Finish what is under way and let another process open the folder."""
        self._files.close()
        self._index.close()
        self._layout.close()

    # ------------------------------------------------------------ writing

    def stage(self) -> Staging:
        """Begin to receive a blob; StorageFull when the disk is full down to the reserve."""
        with self.health.guard():
            self._files.check_room()
        return Staging(self, self._files, self._sealer, self.health)

    def record(self, chunks: list[StagedChunk], manifest: Manifest | None, fence: Fence | None) -> list[Digest]:
        """Make synced chunks durable, with their blob unless some of its chunks are missing; the missing ones.

        Chunks that came without their blob are kept for the grace period.
        """
        seal = Seal(chunks, manifest, fence)
        with self.health.guard():
            try:
                with self._files.placing(chunks):
                    return self._index.submit(seal.apply)
            except BaseException:
                for chunk in chunks:
                    if chunk.temporary is not None:
                        self._files.remove_orphan(chunk.digest, self._index.may_hold_chunk)
                raise

    def record_small(self, seals: list[Seal]) -> list[list[Digest] | LockstepError]:
        """`record` for several blobs without files, in one turn at the index: the outcome of each."""

        def work(tx: IndexTransaction) -> list[list[Digest] | LockstepError]:
            outcomes: list[list[Digest] | LockstepError] = []
            for seal in seals:
                try:
                    with tx.savepoint():
                        outcomes.append(seal.apply(tx))
                except LockstepError as error:
                    outcomes.append(error)
            return outcomes

        with self.health.guard():
            return self._index.submit(work)

    def check_fence(self, fence: Fence) -> None:
        """TicketRefused when a newer lock than the write's has been seen on its path. The seal checks again."""
        with self.health.guard():
            known = self._index.fence(fence.path)
        if fence.number < known:
            raise superseded(fence, known)

    # ------------------------------------------------------------ reading

    def holds(self, digest: Digest) -> bool:
        """Whether a chunk is held intact; the answer puts off its collection by a grace period."""
        return not self.missing([digest])

    def pin(self, digest: Digest) -> None:
        """An upload under way counts on this chunk: do not collect it before as many calls of `unpin`."""
        with self._unused_guard:
            self._pins[digest] += 1

    def unpin(self, digests: Iterable[Digest]) -> None:
        """The upload is over; a chunk that still has no blob begins its grace period."""
        with self._unused_guard:
            for digest in digests:
                self._pins[digest] -= 1
                if self._pins[digest] <= 0:
                    del self._pins[digest]

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those of `digests` that are not held intact, each once; collection of the others is put off."""
        wanted = list(digests)
        if self._unused_since:
            now = self._clock.monotonic()
            with self._unused_guard:
                for digest in wanted:
                    if digest in self._unused_since:
                        self._unused_since[digest] = now
        with self.health.guard():
            return self._index.missing(wanted)

    def lengths(self, digests: list[Digest]) -> list[int]:
        """Plain lengths of chunks in bytes; NotFound names one that is not held."""
        with self.health.guard():
            lengths = self._index.lengths(digests)
        for digest, length in zip(digests, lengths, strict=True):
            if length is None:
                raise NotFound(f"chunk {digest} is not on this file server", digest=str(digest))
        return [length for length in lengths if length is not None]

    def read_chunk(self, digest: Digest) -> bytes:
        """A chunk's plain bytes, checked against its digest.

        NotFound when it is not held. DamagedChunk when it fails its check: it is then in quarantine, reported, and
        no longer held.
        """
        with self.health.guard():
            row = self._index.chunk(digest)
            if row is not None:
                plain = self._plain(row)
                if plain is None:  # once more: a seal or the collector may have moved it meanwhile
                    row = self._index.chunk(digest)
                    plain = self._plain(row) if row is not None else None
                if plain is not None:
                    return plain
        if row is None:
            raise NotFound(f"chunk {digest} is not on this file server", digest=str(digest))
        self._condemn(row)
        raise DamagedChunk(
            f"chunk {digest} is damaged on this file server; it is read from another copy", digest=str(digest)
        )

    def manifest(self, digest: Digest) -> Manifest:
        """A blob's manifest, checked against its digest.

        NotFound when the blob is not here. Damaged when its manifest fails the check: the blob is then no longer
        held, and reported.
        """
        with self.health.guard():
            try:
                manifest = self._index.manifest(digest)
            except BadRequest as error:
                self._condemn_blob(digest)
                raise Damaged(
                    f"the manifest of blob {digest} is damaged on this file server", digest=str(digest)
                ) from error
        if manifest is None:
            raise NotFound(f"blob {digest} is not on this file server", digest=str(digest))
        return manifest

    def generation(self, digest: Digest) -> int | None:
        """The blob's generation, which rises at every seal; None when it is not here."""
        with self.health.guard():
            return self._index.generation(digest)

    def damaged_blobs(self) -> list[Digest]:
        """Blobs with a chunk that is known to be damaged."""
        with self.health.guard():
            return self._index.damaged_blobs()

    # ------------------------------------------------------------ removing

    @property
    def latest_generation(self) -> int:
        """The generation of the latest seal: blobs up to it existed at this moment."""
        return self._index.latest_generation

    def blobs(self, after: int, up_to_generation: int, limit: int) -> list[BlobRow]:
        """A page of blobs by rising id, without those sealed after `up_to_generation`."""
        with self.health.guard():
            return self._index.blobs(after, up_to_generation, limit)

    def drop_blob(self, digest: Digest, generation: int) -> bool:
        """Forget a blob, unless it was sealed again since it had `generation`; whether it was dropped."""
        with self.health.guard():
            return self._index.submit(lambda tx: tx.drop_blob(digest, generation))

    def collect_chunks(self, grace_seconds: float) -> Collected:
        """Remove chunks that no blob has referred to for `grace_seconds` of this process's time."""
        now = self._clock.monotonic()
        with self.health.guard():
            candidates = self._index.candidates()
            with self._unused_guard:
                self._unused_since = {
                    digest: now if digest in self._pins else self._unused_since.get(digest, now)
                    for _, digest in candidates
                }
                due = [id for id, digest in candidates if now - self._unused_since[digest] >= grace_seconds]
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

    def sweep_orphans(self, folder_number: int) -> int:
        """Remove files of one of the 256 chunk folders that a crash left without a row; how many there were."""
        folder = self._layout.chunk_folder(folder_number)
        with self.health.guard():
            digests = list(self._files.digests_in(folder))
            orphans = self._index.missing(digests)
            return sum(self._files.remove_orphan(digest, self._index.may_hold_chunk) for digest in orphans)

    # ------------------------------------------------------------ care

    def verify_next(self, after: int) -> tuple[int, int] | None:
        """Check the first chunk with an id above `after`: (its id, bytes read), None when there is none.

        A chunk that fails is quarantined and reported, exactly as in `read_chunk`.
        """
        with self.health.guard():
            row = self._index.next_chunk(after)
        if row is None:
            return None
        if row.place != DAMAGED:
            try:
                self.read_chunk(row.digest)
            except (DamagedChunk, NotFound):
                pass  # reported where it was found; the walk goes on
            except StorageFormatError as error:
                log.error("%s", error)
        return row.id, row.length

    def verify_blob(self, digest: Digest) -> None:
        """Check that a blob has a manifest that is its own, and every chunk of it has a place here; a blob for which
        that is not so is reported."""
        try:
            manifest = self.manifest(digest)
        except (Damaged, NotFound):
            return  # reported where it was found
        with self.health.guard():
            missing = self._index.missing(chunk for chunk, _ in manifest.chunks)
        if missing:
            log.error("blob %s lacks %d of its chunks", digest, len(missing))
            self.on_damage(missing[0], [digest])

    def remember(self, name: str, value: int) -> None:
        """Keep a number under a name durably."""
        with self.health.guard():
            self._index.submit(lambda tx: tx.remember(name, value))

    def remembered(self, name: str) -> int:
        """A number kept with `remember`; 0 when there is none."""
        return self._index.remembered(name)

    def probe(self) -> bool:
        """Whether the disk takes writes now, tried out when it is known not to have; health follows.

        A disk that others have filled is told before a write finds it so. Raises StorageFull or Unavailable.
        """
        if not self.health.problem:
            with self.health.guard():
                self._files.check_room()
            return True
        with self.health.guard():
            self._files.probe()
            self._index.submit(lambda tx: tx.remember("probes", self._index.remembered("probes") + 1))
        self.health.recovered()
        return True

    def space(self) -> tuple[int, int]:
        """(capacity, free for new blobs) in bytes."""
        with self.health.guard():
            capacity, free = self._files.space()
        return capacity, max(0, free - self._reserve_bytes)

    @property
    def totals(self) -> Totals:
        """Chunks, blobs and sealed bytes held."""
        return self._index.totals

    # ------------------------------------------------------------ inventory

    def blobs_by_digest(self, after: Digest | None, limit: int) -> tuple[list[Digest], Digest | None]:
        """The whole blobs among the next `limit` behind `after` in digest order, and how far that went: None when
        there are no more."""
        with self.health.guard():
            page = self._index.blobs_by_digest(after, limit)
            damaged = set(self._index.damaged_blobs())
        return [digest for digest in page if digest not in damaged], page[-1] if len(page) == limit else None

    def not_whole(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those of `digests` that are no blobs here, or have a damaged chunk, in order."""
        wanted = list(digests)
        with self.health.guard():
            known = self._index.sizes(wanted)
            damaged = set(self._index.damaged_blobs())
        return [digest for digest in wanted if digest not in known or digest in damaged]

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Plain bytes of those blobs that are here."""
        with self.health.guard():
            return self._index.sizes(digests)

    def highest_fence(self) -> int:
        """The highest lock number seen on any path."""
        with self.health.guard():
            return self._index.highest_fence()

    def note(self, cursor: int, digest: Digest, encoded: Callable[[], bytes]) -> None:
        """Keep a commit note for as long as the blob is here, durably within a second or so. Never waits."""
        self._index.note(PendingNote(cursor, digest, encoded))

    def keep_notes(self) -> None:
        """Make the notes durable now."""
        with self.health.guard():
            self._index.keep_notes()

    def notes(self, after: int, through: int, limit: int) -> list[CommitNote]:
        """Notes of the cursors above `after` up to `through`, by rising cursor."""
        with self.health.guard():
            return [_notes.decode(note) for note in self._index.notes(after, through, limit)]

    # ------------------------------------------------------------ damage

    def _plain(self, row: ChunkRow) -> bytes | None:
        """The chunk's bytes if they are intact; None otherwise."""
        if row.place == DAMAGED:
            return None
        try:
            sealed = row.sealed if row.place != FILE else self._files.read(row.digest)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            return None  # lost, or on a sector that cannot be read: like damaged bytes, to be repaired
        if sealed is None:
            return None
        try:
            plain = self._sealer.open(row.digest, sealed)
        except DamagedChunk:
            return None
        except StorageFormatError:
            if sealed[:HEAD_BYTES] == row.head:
                raise  # it was stored so: a key is missing from the ring, the bytes are not to blame
            return None
        return plain if len(plain) == row.length and chunk_digest(plain) == row.digest else None

    def _condemn_blob(self, digest: Digest) -> None:
        """Stop counting a blob as held whose manifest is not its own, and tell about it."""
        if self._index.submit(lambda tx: tx.forget_blob(digest)):
            log.error("the manifest of blob %s failed its check; the blob has to be copied again", digest)
            self.on_damage(digest, [digest])

    def _condemn(self, row: ChunkRow) -> None:
        """Stop counting a chunk as held, keep its bytes for people to look at, and tell about it."""
        if row.place == DAMAGED:
            return
        with self.health.guard():
            if not self._index.submit(lambda tx: tx.mark_damaged(row.id)):
                return
            blobs = self._index.blobs_of_chunk(row.id, row.digest)
        crash_point("file_server.quarantine.marked")
        log.error("chunk %s failed its check and is quarantined; it is part of %d blobs", row.digest, len(blobs))
        try:
            if row.place == FILE:
                self._files.quarantine_file(row.digest, self._index.holds_chunk)
            elif row.sealed is not None:
                self._files.quarantine_bytes(row.digest, row.sealed)
        except OSError as error:
            log.warning("cannot quarantine chunk %s: %s", row.digest, error)
        crash_point("file_server.quarantine.moved")
        self.on_damage(row.digest, blobs)
