"""Staging: the chunks of one write between their arrival and the moment they are durable as a blob.

Chunks are sealed and written as they come; `seal` makes them count, all at once. Whoever stages must end with `seal`,
`keep` or `abort`; used as a context manager, what was not sealed is aborted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Protocol

from file_server.store.local.chunk_files import ChunkFiles
from file_server.store.local.disk_layout import INLINE_BYTES
from file_server.store.local.index_transaction import HEAD_BYTES, Fence, StagedChunk
from file_server.store.local.storage_health import StorageHealth
from lockstep_store.runtime.storage.sealing import OVERHEAD_BYTES, Sealer
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import MissingChunks
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.servers import MAX_MISSING_CHUNKS

MAX_INLINE_STAGED_BYTES = 4 * 1024 * 1024
"""Small chunks wait in memory for the seal; beyond this many bytes of them they go to files like large ones."""


class Recorder(Protocol):
    """What staging needs of the store."""

    def holds(self, digest: Digest, length: int) -> bool:
        """Whether a chunk of that length is held; holding it now puts off its collection."""
        ...

    def pin(self, digest: Digest) -> None:
        """Keep a chunk, if it is held, from the collector."""
        ...

    def unpin(self, digests: Iterable[Digest]) -> None:
        """The chunks may be collected again."""
        ...

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those chunks that are not held."""
        ...

    def record(self, chunks: list[StagedChunk], manifest: Manifest | None, fence: Fence | None) -> list[Digest]:
        """Make the chunks durable, and the blob if none of its chunks is missing; the missing ones."""
        ...


class Staging:
    """One write's chunks. Not thread-safe: one write is one thread."""

    def __init__(self, recorder: Recorder, files: ChunkFiles, sealer: Sealer, health: StorageHealth) -> None:
        self._recorder = recorder
        self._files = files
        self._sealer = sealer
        self._health = health
        self._chunks: dict[Digest, StagedChunk] = {}
        self._syncs: deque[Future[None]] = deque()
        self._inline_bytes = 0
        self._pinned: set[Digest] = set()

    def put(self, chunk: Chunk) -> None:
        """Take a chunk; its bytes, if it came with them, are already checked against its digest.

        What is held already is not written again, but kept from the collector until this staging ends. Raises
        StorageFull or Unavailable.
        """
        if chunk.digest in self._chunks:
            return
        if chunk.data is None:
            self._pin(chunk.digest)
            return
        stored = chunk.length + OVERHEAD_BYTES
        head, body = self._sealer.seal_parts(chunk.digest, chunk.data)
        if stored <= INLINE_BYTES and self._inline_bytes + stored <= MAX_INLINE_STAGED_BYTES:
            self._inline_bytes += stored
            self._chunks[chunk.digest] = StagedChunk(
                chunk.digest, chunk.length, head[:HEAD_BYTES], stored, head + body, None
            )
            crash_point("file_server.chunk.staged")
            return
        self._pin(chunk.digest)
        if self._recorder.holds(chunk.digest, chunk.length):
            return
        with self._health.guard():
            temporary, sync = self._files.write_temporary([head, body])
        self._chunks[chunk.digest] = StagedChunk(chunk.digest, chunk.length, head[:HEAD_BYTES], stored, None, temporary)
        self._syncs.append(sync)
        self._raise_early_failure()

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those of `digests` that are neither staged nor held, each once, in order."""
        return self._recorder.missing(digest for digest in digests if digest not in self._chunks)

    def seal(self, manifest: Manifest, fence: Fence | None = None) -> None:
        """Make the blob durable: on return it survives a crash, on any exception it is not here.

        Raises MissingChunks (the staged chunks are then kept for the grace period), TicketRefused when the fence has
        been passed, StorageFull, Unavailable. Safe to repeat with the same content.
        """
        missing = self._record(manifest, fence)
        if missing:
            raise missing_chunks(missing)

    def take_inline(self) -> list[StagedChunk]:
        """Hand over chunks that are all in memory, to be recorded by the caller."""
        assert not self._syncs, "a chunk that is a file is recorded by the staging that wrote it"
        chunks, self._chunks = list(self._chunks.values()), {}
        return chunks

    def keep(self) -> None:
        """Keep what has arrived, without a blob, for the grace period: the sender will try again."""
        if self._chunks:
            self._record(None, None)
            crash_point("file_server.upload.kept")

    def abort(self) -> None:
        """Remove what has arrived. Safe to repeat, and after `seal`."""
        self._unpin()
        chunks, self._chunks = self._chunks, {}
        syncs, self._syncs = self._syncs, deque()
        for sync in syncs:
            sync.exception()
        for chunk in chunks.values():
            if chunk.temporary is not None:
                self._files.discard(chunk.temporary)

    def __enter__(self) -> Staging:
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

    def _raise_early_failure(self) -> None:
        """A disk that filled up is found now, not after gigabytes more have been sent."""
        with self._health.guard():
            while self._syncs and self._syncs[0].done():
                self._syncs.popleft().result()


def missing_chunks(digests: list[Digest]) -> MissingChunks:
    """The refusal that names the chunks to send with their bytes."""
    named = [str(digest) for digest in digests[:MAX_MISSING_CHUNKS]]
    return MissingChunks(f"{len(digests)} chunks are not here and must be sent with their bytes", digests=named)
