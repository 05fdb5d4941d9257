"""Small writes that came in one call: each is checked by itself, all good ones are made durable together.

As the master they are passed on, sealed and committed together too, so that under load a write costs a share of each
call instead of calls of its own. Each ends as POST /v1/write would have ended it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from file_server.metrics import count_received, count_write
from file_server.store.local.chunk_store import ChunkStore
from file_server.store.local.seal import Seal
from file_server.store.local.staging import missing_chunks
from file_server.writes.blob_sender import BlobSender
from file_server.writes.commits import CommitClient
from file_server.writes.replication import Replication
from file_server.writes.ticket_check import TicketCheck, check_content, fence_of
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, to_problem
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Outcome
from lockstep_store.wire.messages.servers import (
    CommitItem,
    Hop,
    SmallWrite,
    SmallWritesReply,
    SmallWritesRequest,
    WriteReply,
)


class _Received(NamedTuple):
    """A write that passed its checks; `replication` only at the master."""

    position: int
    ticket_text: str
    seal: Seal
    manifest: Manifest
    facts: dict[str, str]
    replication: Replication | None


class SmallWriteDesk:
    """Takes small writes for file server `own_id`. Thread-safe."""

    def __init__(
        self, own_id: str, store: ChunkStore, tickets: TicketCheck, sender: BlobSender, commits: CommitClient
    ) -> None:
        self._own_id = own_id
        self._store = store
        self._tickets = tickets
        self._sender = sender
        self._commits = commits

    def write(self, request: SmallWritesRequest) -> SmallWritesReply:
        """Take the writes; each is durable (and as a master committed), or refused."""
        results: list[Outcome[WriteReply]] = [Outcome() for _ in request.items]
        received: list[_Received] = []
        for index, item in enumerate(request.items):
            try:
                received.append(self._receive(index, item, request.hop))
            except LockstepError as error:
                results[index].problem = to_problem(error)
        sealed = self._seal(received, results, request.hop)
        if request.hop == "master":
            self._commit(sealed, results)
            crash_point("file_server.answer.ready")
        else:
            crash_point("file_server.replica.sealed")
            for write in sealed:
                results[write.position].value = WriteReply(write.manifest.digest, write.manifest.size, self._own_id)
        return SmallWritesReply(results)

    def _receive(self, index: int, item: SmallWrite, hop: Hop) -> _Received:
        ticket = self._tickets.check(item.ticket, hop)
        reader = StreamReader(_reading(item.stream))
        with self._store.stage() as staging:
            for chunk in reader:
                count_received(hop, chunk)
                staging.put(chunk)
            manifest = reader.manifest
            check_content(ticket, manifest.digest, manifest.size)
            seal = Seal(staging.take_inline(), manifest, fence_of(ticket))
        replication = None
        if hop == "master":
            replication = Replication(self._sender, ticket, item.ticket)
            replication.send_encoded(item.stream)
        return _Received(index, item.ticket, seal, manifest, reader.facts, replication)

    def _seal(self, received: list[_Received], results: list[Outcome[WriteReply]], hop: Hop) -> list[_Received]:
        """Those whose blob is durable here."""
        outcomes: list[list[Digest] | LockstepError] = []
        if received:
            outcomes = self._store.record_small([write.seal for write in received])
        sealed = []
        for write, outcome in zip(received, outcomes, strict=True):
            if isinstance(outcome, LockstepError):
                results[write.position].problem = to_problem(outcome)
            elif outcome:
                results[write.position].problem = to_problem(missing_chunks(outcome))
            else:
                count_write(hop, write.manifest.size)
                sealed.append(write)
        return sealed

    def _commit(self, sealed: list[_Received], results: list[Outcome[WriteReply]]) -> None:
        ready: list[tuple[_Received, CommitItem]] = []
        for write in sealed:
            assert write.replication is not None
            try:
                holders = write.replication.settle(write.manifest, self._own_id)
            except LockstepError as error:
                results[write.position].problem = to_problem(error)
                continue
            manifest = write.manifest
            ready.append((write, CommitItem(write.ticket_text, manifest.digest, manifest.size, holders, write.facts)))
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


def _reading(stream: bytes) -> Callable[[int], bytes]:
    done = 0

    def read(count: int) -> bytes:
        nonlocal done
        data = stream[done : done + count]
        done += len(data)
        return data

    return read
