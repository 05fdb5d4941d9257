"""Staging on a local disk: chunks are sealed and written as they arrive; `complete` makes them count, all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Protocol, Self

from file_server.store.chunk_store import Fence, missing_chunks
from file_server.store.local.chunk_files import ChunkFiles
from file_server.store.local.disk_layout import INLINE_BYTES
from file_server.store.local.index_transaction import HEAD_BYTES, StagedChunk
from file_server.store.local.resealing import OpenSeals
from file_server.store.local.storage_health import StorageHealth
from lockstep_store.runtime.storage.sealing import OVERHEAD_BYTES, Bytes, Sealer
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest

MAX_INLINE_STAGED_BYTES = 4 * 1024 * 1024
"""Small chunks wait in memory until the write completes; beyond this many bytes of them they go to files."""


class Recorder(Protocol):
    """The part of the store that staging uses."""

    def holds(self, digest: Digest, length: int) -> bool:
        """Return whether a chunk of that length is held. Puts off its collection."""
        ...

    def pin(self, digest: Digest) -> None:
        """Protect a chunk, if it is held, from collection."""
        ...

    def unpin(self, digests: Iterable[Digest]) -> None:
        """Undo one `pin` of each."""
        ...

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the chunks that are not held."""
        ...

    def record(self, chunks: list[StagedChunk], manifest: Manifest | None, fence: Fence | None) -> list[Digest]:
        """Make the chunks durable, and the blob if none of its chunks is missing; return the missing ones."""
        ...


class LocalStaging:
    """One write's chunks; see `Staging` for the promises."""

    def __init__(
        self, recorder: Recorder, files: ChunkFiles, sealer: Sealer, health: StorageHealth, open_seals: OpenSeals
    ) -> None:
        self._recorder = recorder
        self._files = files
        self._sealer = sealer
        self._health = health
        self._chunks: dict[Digest, StagedChunk] = {}
        self._syncs: deque[Future[None]] = deque()
        self._inline_bytes = 0
        self._pinned: set[Digest] = set()
        self._open_seals = open_seals
        self._opened: int | None = open_seals.begin()

    def put(self, chunk: Chunk) -> None:
        """Add a chunk; see `Staging.put`."""
        if chunk.digest in self._chunks:
            return
        if chunk.data is None:
            self._pin(chunk.digest)
            return
        stored = chunk.length + OVERHEAD_BYTES
        if stored <= INLINE_BYTES and self._inline_bytes + stored <= MAX_INLINE_STAGED_BYTES:
            self._inline_bytes += stored
            self._chunks[chunk.digest] = sealed_inline(self._sealer, chunk.digest, chunk.data)
            return
        self._pin(chunk.digest)
        if self._recorder.holds(chunk.digest, chunk.length):
            return
        head, body = self._sealer.seal_parts(chunk.digest, chunk.data)
        with self._health.guard():
            temporary, sync = self._files.write_temporary([head, body])
        self._chunks[chunk.digest] = StagedChunk(chunk.digest, chunk.length, head[:HEAD_BYTES], stored, None, temporary)
        self._syncs.append(sync)
        self._raise_early_failure()

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return the digests that are neither staged nor stored, each once, in order."""
        return self._recorder.missing(digest for digest in digests if digest not in self._chunks)

    def complete(self, manifest: Manifest, fence: Fence | None = None) -> None:
        """Store the blob; see `Staging.complete`."""
        missing = self._record(manifest, fence)
        if missing:
            raise missing_chunks(missing)

    def keep(self) -> None:
        """Keep the staged chunks for the grace period."""
        if self._chunks:
            self._record(None, None)
            crash_point("file_server.upload.kept")

    def abort(self) -> None:
        """Discard the staged chunks."""
        self._unpin()
        chunks, self._chunks = self._chunks, {}
        syncs, self._syncs = self._syncs, deque()
        for sync in syncs:
            sync.exception()
        for chunk in chunks.values():
            if chunk.temporary is not None:
                self._files.discard(chunk.temporary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _record(self, manifest: Manifest | None, fence: Fence | None) -> list[Digest]:
        try:
            with self._health.guard():
                for sync in self._syncs:
                    sync.result()
            missing = self._recorder.record(list(self._chunks.values()), manifest, fence)
        except BaseException:
            self.abort()
            raise
        self._chunks, self._syncs = {}, deque()
        self._unpin()
        return missing

    def _pin(self, digest: Digest) -> None:
        if digest not in self._pinned:
            self._pinned.add(digest)
            self._recorder.pin(digest)

    def _unpin(self) -> None:
        pinned, self._pinned = self._pinned, set()
        self._recorder.unpin(pinned)
        opened, self._opened = self._opened, None
        if opened is not None:
            self._open_seals.end(opened)

    def _raise_early_failure(self) -> None:
        """Raise a finished sync's failure now: a full disk must not show only gigabytes later."""
        with self._health.guard():
            while self._syncs and self._syncs[0].done():
                self._syncs.popleft().result()


def fits_index(chunks: Iterable[Chunk]) -> bool:
    """Return whether chunks, together, may wait in memory and be stored in the index."""
    stored = [chunk.length + OVERHEAD_BYTES for chunk in chunks if chunk.data is not None]
    return max(stored, default=0) <= INLINE_BYTES and sum(stored) <= MAX_INLINE_STAGED_BYTES


def sealed_inline(sealer: Sealer, digest: Digest, data: Bytes) -> StagedChunk:
    """Seal a chunk that will be stored in the index."""
    sealed = sealer.seal(digest, data)
    crash_point("file_server.chunk.staged")
    return StagedChunk(digest, len(data), sealed[:HEAD_BYTES], len(sealed), sealed, None)
