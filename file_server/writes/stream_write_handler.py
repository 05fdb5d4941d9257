"""Handles one write: a chunk stream that comes with a ticket.

1. Check the ticket (ticket_check.py).
2. Stage each chunk; a master passes it on to the replicas (replication.py).
3. Complete the blob: it is durable here. A replica is done.
4. A master waits for the promised copies, and
5. commits at the directory (commits.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from file_server.metrics import count_received, count_write
from file_server.store.chunk_store import ChunkStore, Staging
from file_server.writes.blob_sender import BlobSender
from file_server.writes.commits import CommitClient
from file_server.writes.replication import Replication
from file_server.writes.ticket_check import TicketCheck, check_content, fence_of
from file_server.writes.upload_slots import MASTER_SLOTS, REPLICA_SLOTS, UploadSlot, UploadSlots
from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.chunk_stream import Read, StreamReader
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import BadRequest, IncompleteBody
from lockstep_store.wire.messages.servers import CommitItem, Hop, WriteReply
from lockstep_store.wire.messages.writes import WriteTicket

SMALL_BYTES = 1024 * 1024
SMALL_FRAMES = 64
SMALL_THREADS = 64


class StreamWriteHandler:
    """Handles writes for file server `own_id`. Thread-safe: each write runs on its request's thread."""

    def __init__(
        self,
        own_id: str,
        store: ChunkStore,
        tickets: TicketCheck,
        sender: BlobSender,
        commits: CommitClient,
        clock: Clock,
    ) -> None:
        self._own_id = own_id
        self._store = store
        self._tickets = tickets
        self._sender = sender
        self._commits = commits
        self._pool = ThreadPoolExecutor(SMALL_THREADS, thread_name_prefix="replicate")
        self._slots = {"master": UploadSlots(clock, MASTER_SLOTS), "replica": UploadSlots(clock, REPLICA_SLOTS)}

    def close(self) -> None:
        """Drop the queued sends; those that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def write(self, ticket_text: str, hop: Hop, read: Read) -> WriteReply:
        """Receive one write from `read`. On return it is durable and, on a master, committed.

        Raises TicketRefused, MissingChunks (names the chunks to send), TooFewHolders, StorageFull, or the directory's
        refusal of the commit; then nothing has become visible.
        """
        ticket = self._tickets.check(ticket_text, hop)
        reader = StreamReader(read)
        with self._store.stage() as staging:
            try:
                replication = self._receive(ticket, ticket_text, hop, reader, staging)
            except IncompleteBody:
                staging.keep()  # the sender will try again with the rest only
                raise
            manifest = reader.manifest
            count_write(hop, manifest.size)
            if replication is None:
                crash_point("file_server.replica.stream-sealed")
                return WriteReply(manifest.digest, manifest.size, self._own_id)
            holders = replication.settle(manifest, self._own_id)
        item = CommitItem(
            ticket_text, manifest.digest, manifest.size, holders, reader.trailing_metadata, replication.unreachable
        )
        committed = self._commits.commit(item)
        crash_point("file_server.answer.stream-ready")
        return WriteReply(
            manifest.digest, manifest.size, self._own_id, committed.version, committed.copies, committed.cursor
        )

    def _receive(
        self, ticket: WriteTicket, ticket_text: str, hop: Hop, reader: StreamReader, staging: Staging
    ) -> Replication | None:
        frames = _within(ticket, hop, iter(reader))
        first: deque[Chunk] = deque()
        may_be_small = ticket.size is None or ticket.size <= SMALL_BYTES
        if may_be_small and _take_small(frames, first):
            return self._receive_small(ticket, ticket_text, hop, reader, list(first), staging)
        with self._slots[hop].slot() as slot:
            rest = _recorded(chain(_drained(first), frames), slot)
            return self._receive_large(ticket, ticket_text, hop, reader, rest, staging)

    def _receive_small(
        self,
        ticket: WriteTicket,
        ticket_text: str,
        hop: Hop,
        reader: StreamReader,
        chunks: list[Chunk],
        staging: Staging,
    ) -> Replication | None:
        """Store a body that is whole in memory while it is being sent to the replicas."""
        check_content(ticket, reader.manifest.digest, reader.manifest.size)
        replication = None
        if hop == "master":
            replication = Replication(self._sender, ticket, ticket_text)
            replication.send_small(chunks, self._pool)
        for chunk in chunks:
            staging.put(chunk)
        staging.complete(reader.manifest, fence_of(ticket))
        return replication

    def _receive_large(
        self,
        ticket: WriteTicket,
        ticket_text: str,
        hop: Hop,
        reader: StreamReader,
        frames: Iterator[Chunk],
        staging: Staging,
    ) -> Replication | None:
        """Store a long body: pass on and stage each frame before reading the next."""
        self._store.check_fence(fence_of(ticket))
        replication = Replication(self._sender, ticket, ticket_text) if hop == "master" else None
        try:
            if replication is not None:
                replication.open_streams()
            for chunk in frames:
                if replication is not None:
                    replication.offer(chunk)
                    crash_point("file_server.replica.offered")
                staging.put(chunk)
            check_content(ticket, reader.manifest.digest, reader.manifest.size)
            if replication is not None:
                replication.finish(reader.manifest)
            staging.complete(reader.manifest, fence_of(ticket))
        except BaseException:
            if replication is not None:
                replication.cut()
            raise
        return replication


def _take_small(frames: Iterator[Chunk], taken: deque[Chunk]) -> bool:
    """Move frames to `taken` up to a small body's bound; return whether the stream has ended."""
    size = 0
    for chunk in frames:
        taken.append(chunk)
        size += len(chunk.data) if chunk.data is not None else 0
        if size > SMALL_BYTES or len(taken) > SMALL_FRAMES:
            return False
    return True


def _drained(chunks: deque[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks and drop each reference, so that memory is freed as they are handled."""
    while chunks:
        yield chunks.popleft()


def _within(ticket: WriteTicket, hop: Hop, frames: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the frames; BadRequest as soon as they exceed the ticket's size."""
    size = 0
    for chunk in frames:
        size += chunk.length
        count_received(hop, chunk)
        if ticket.size is not None and size > ticket.size:
            raise BadRequest(f"the stream is longer than the {ticket.size} bytes that the write declared")
        yield chunk


def _recorded(frames: Iterator[Chunk], slot: UploadSlot) -> Iterator[Chunk]:
    """Yield the frames and record each arrival in the slot."""
    for chunk in frames:
        slot.frame_arrived()
        yield chunk
