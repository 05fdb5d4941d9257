"""Handles many small writes in one call: checks each alone, then stores the good ones together.

A master also replicates and commits them together, so that under load a write costs a share of each call. Each write
ends exactly as POST /v1/write would have ended it.
"""

from __future__ import annotations

import io
from typing import NamedTuple

from file_server.metrics import count_received, count_write
from file_server.store.chunk_store import ChunkStore, WholeBlob
from file_server.writes.blob_sender import BlobSender
from file_server.writes.commits import CommitClient
from file_server.writes.replication import Replication
from file_server.writes.small_write_sender import PendingWrite
from file_server.writes.ticket_check import TicketCheck, check_content, fence_of
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import LockstepError, to_problem
from lockstep_store.wire.messages.base import Outcome
from lockstep_store.wire.messages.servers import (
    CommitItem,
    Hop,
    SmallWrite,
    SmallWritesReply,
    SmallWritesRequest,
    WriteReply,
)


class _Received(NamedTuple):
    """A write that passed its checks. Only a master has a `replication`."""

    position: int
    ticket_text: str
    blob: WholeBlob
    metadata: dict[str, str]
    replication: Replication | None


class SmallWriteHandler:
    """Handles small writes for file server `own_id`. Thread-safe."""

    def __init__(
        self, own_id: str, store: ChunkStore, tickets: TicketCheck, sender: BlobSender, commits: CommitClient
    ) -> None:
        self._own_id = own_id
        self._store = store
        self._tickets = tickets
        self._sender = sender
        self._commits = commits

    def write(self, request: SmallWritesRequest) -> SmallWritesReply:
        """Store the writes; each is durable (and committed, on a master) or refused."""
        results: list[Outcome[WriteReply]] = [Outcome() for _ in request.items]
        received: list[_Received] = []
        forwarded: dict[str, list[PendingWrite]] = {}
        for index, item in enumerate(request.items):
            try:
                received.append(self._receive(index, item, request.hop, forwarded))
            except LockstepError as error:
                results[index].problem = to_problem(error)
        for url, writes in forwarded.items():  # only now: submitted one by one, they would leave in several calls
            self._sender.small.submit(url, writes)
        stored = self._put(received, results, request.hop)
        if request.hop == "master":
            self._commit(stored, results)
            crash_point("file_server.answer.ready")
        else:
            crash_point("file_server.replica.sealed")
            for write in stored:
                manifest = write.blob.manifest
                results[write.position].value = WriteReply(manifest.digest, manifest.size, self._own_id)
        return SmallWritesReply(results)

    def _receive(self, index: int, item: SmallWrite, hop: Hop, forwarded: dict[str, list[PendingWrite]]) -> _Received:
        """Check a write. A master adds what its replicas get, by their URLs, to `forwarded`."""
        ticket = self._tickets.check(item.ticket, hop)
        self._store.check_room()
        reader = StreamReader(io.BytesIO(item.stream).read)
        chunks = []
        for chunk in reader:
            count_received(hop, chunk)
            chunks.append(chunk)
        manifest = reader.manifest
        check_content(ticket, manifest.digest, manifest.size)
        replication = None
        if hop == "master":
            replication = Replication(self._sender, ticket, item.ticket)
            for url, write in replication.prepare_encoded(item.stream):
                forwarded.setdefault(url, []).append(write)
        blob = WholeBlob(chunks, manifest, fence_of(ticket))
        return _Received(index, item.ticket, blob, reader.trailing_metadata, replication)

    def _put(self, received: list[_Received], results: list[Outcome[WriteReply]], hop: Hop) -> list[_Received]:
        """Store the blobs; return the writes whose blob is durable here."""
        if not received:
            return []
        outcomes = self._store.put_blobs([write.blob for write in received])
        stored = []
        for write, refusal in zip(received, outcomes, strict=True):
            if refusal is not None:
                results[write.position].problem = to_problem(refusal)
            else:
                count_write(hop, write.blob.manifest.size)
                stored.append(write)
        return stored

    def _commit(self, stored: list[_Received], results: list[Outcome[WriteReply]]) -> None:
        ready: list[tuple[_Received, CommitItem]] = []
        for write in stored:
            assert write.replication is not None
            try:
                holders = write.replication.settle(write.blob.manifest, self._own_id)
            except LockstepError as error:
                results[write.position].problem = to_problem(error)
                continue
            digest, size = write.blob.manifest.digest, write.blob.manifest.size
            unreachable = write.replication.unreachable
            ready.append((write, CommitItem(write.ticket_text, digest, size, holders, write.metadata, unreachable)))
        if not ready:
            return
        committed = self._commits.commit_all([item for _, item in ready])
        for (write, item), outcome in zip(ready, committed, strict=True):
            if isinstance(outcome, LockstepError):
                results[write.position].problem = to_problem(outcome)
            else:
                results[write.position].value = WriteReply(
                    item.digest, item.size, self._own_id, outcome.version, outcome.copies, outcome.cursor
                )
