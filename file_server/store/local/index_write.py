"""What one write changes in the index, all or nothing."""

from __future__ import annotations

from typing import NamedTuple

from file_server.store.chunk_store import Fence
from file_server.store.local.index_transaction import IndexTransaction, StagedChunk
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest


class IndexWrite(NamedTuple):
    """Chunks that have arrived, the blob they complete (None without one), and the fence it was written under."""

    chunks: list[StagedChunk]
    manifest: Manifest | None
    fence: Fence | None

    def apply(self, tx: IndexTransaction) -> list[Digest]:
        """Record the chunks, and the blob unless some of its chunks are missing; return the missing ones.

        Chunks without their blob stay for the grace period. TicketRefused when the path's fence is higher.
        """
        if self.fence is not None:
            tx.check_fence(self.fence)
        for chunk in self.chunks:
            tx.put_chunk(chunk)
        staged = {chunk.digest: chunk.length for chunk in self.chunks}
        missing: list[Digest] = []
        if self.manifest is not None:
            missing = tx.missing(entry for entry in self.manifest.chunks if staged.get(entry[0]) != entry[1])
        if self.manifest is None or missing:
            tx.await_use(staged)
            return missing
        tx.put_blob(self.manifest)
        return []
