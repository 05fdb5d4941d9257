"""Replication: sends one write to its replicas and counts the servers that have it durably.

A small body goes whole to all replicas at once; a large one frame by frame as it arrives. A replica that lacks chunks
gets them from the store; a replica that fails is replaced by a spare from the ticket. With fewer copies than promised
the write fails and is not committed.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from file_server.writes.blob_sender import SMALL_TIMEOUT_SECONDS, STREAM_TIMEOUT_SECONDS, BlobSender, digests_of
from file_server.writes.forwarding import Forward
from file_server.writes.small_write_sender import PendingWrite
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.chunk_stream import encode_stream, end_frame
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import LockstepError, MissingChunks, PeerUnreachable, TicketRefused, TooFewHolders
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import MAX_SMALL_STREAM_BYTES, SmallWrite
from lockstep_store.wire.messages.writes import WriteTicket

Outcome = LockstepError | None
"""Why a holder does not have the blob durably; None if it does."""


class Replication:
    """One write's other holders. Used only by the thread that receives the write."""

    def __init__(self, sender: BlobSender, ticket: WriteTicket, ticket_text: str) -> None:
        self._sender = sender
        self._ticket = ticket
        self._text = ticket_text
        # Spares that failed a short while ago come last, but are tried: without enough copies the write fails.
        self._spares = sorted(ticket.spares, key=sender.is_avoided)
        self._replicas = [self._reachable(replica) for replica in ticket.replicas]
        self._forwards: list[Forward] = []
        self._pending: list[tuple[Holder, Callable[[], Outcome]]] = []
        self._failures: list[str] = []
        self.unreachable: list[str] = []
        """After `settle`: the ids of the file servers that could not be reached."""

    def send_small(self, chunks: list[Chunk], pool: ThreadPoolExecutor) -> None:
        """Send a body that is whole in memory to all replicas at once."""
        body = b"".join(encode_stream(chunks))
        if len(body) <= MAX_SMALL_STREAM_BYTES:
            self.send_encoded(body)
            return
        for replica in self._replicas:
            send = partial(self._sender.send, replica, self._text, [body], SMALL_TIMEOUT_SECONDS)
            context = contextvars.copy_context()  # the request id goes along
            self._pending.append((replica, pool.submit(context.run, _outcome_of, send).result))

    def send_encoded(self, stream: bytes) -> None:
        """Send a small write's chunk stream as received to all replicas, in one call with other writes to each."""
        for url, write in self.prepare_encoded(stream):
            self._sender.small.submit(url, [write])

    def prepare_encoded(self, stream: bytes) -> list[tuple[str, PendingWrite]]:
        """The same, but the caller submits the writes: to these URLs."""
        item = SmallWrite(self._text, stream)
        prepared = []
        for replica in self._replicas:
            crash_point("file_server.replica.sending")
            write = PendingWrite(item)
            self._pending.append((replica, write.outcome))
            prepared.append((replica.url, write))
        return prepared

    def open_streams(self) -> None:
        """Open a stream to every replica; `offer`, `finish` and `cut` go to all of them."""
        for replica in self._replicas:
            forward = Forward(replica, partial(self._sender.send, replica, self._text), self._sender.stall_seconds)
            self._forwards.append(forward)
            crash_point("file_server.replica.streaming")
            self._pending.append((replica, partial(forward.outcome, 2 * STREAM_TIMEOUT_SECONDS)))

    def offer(self, chunk: Chunk) -> None:
        """Pass a frame on to every replica, waiting for slow ones for a bounded time."""
        for forward in self._forwards:
            forward.offer(chunk)

    def finish(self, manifest: Manifest) -> None:
        """End the streams: every frame of the blob was offered, and replicas may make it durable."""
        for forward in self._forwards:
            forward.finish(end_frame(manifest.digest, manifest.size))

    def cut(self) -> None:
        """Cut the streams, because the write failed here. Does nothing after `finish`."""
        for forward in self._forwards:
            forward.cut()

    def settle(self, manifest: Manifest, own_id: str) -> list[str]:
        """Wait for the replicas and return the ids of all holders, this server first. The blob must be stored here.

        Raises TooFewHolders if the promised copies cannot be made, TicketRefused if a holder has seen a newer lock on
        the path.
        """
        crash_point("file_server.settle.begun")
        holders = [own_id]
        for replica, wait in self._pending:
            failure = wait()
            if isinstance(failure, MissingChunks):
                missing = digests_of(failure)
                failure = _outcome_of(partial(self._sender.send_missing, replica, self._text, manifest, missing))
            self._count(holders, replica, failure)
        while len(holders) < self._ticket.copies and self._spares:
            spare = self._spares.pop(0)
            failure = _outcome_of(partial(self._sender.send_from_store, spare, self._text, manifest))
            self._count(holders, spare, failure)
        if len(holders) < self._ticket.copies:
            raise TooFewHolders(
                f"nothing was changed: only {len(holders)} of {self._ticket.copies} copies could be made "
                f"({'; '.join(self._failures) or 'the ticket names no other file server'}); fix that, or add a file "
                "server, and try again",
                holders=holders,
            )
        crash_point("file_server.settle.done")
        return holders

    def _count(self, holders: list[str], holder: Holder, failure: Outcome) -> None:
        self._sender.note(holder, failure)
        if failure is None:
            holders.append(holder.id)
        elif isinstance(failure, TicketRefused) and "fence" in failure.facts:
            raise failure
        else:
            log.warning("file server %s did not store the blob: %s", holder.id, failure)
            self._failures.append(f"file server {holder.id}: {failure}")
            if isinstance(failure, PeerUnreachable):
                self.unreachable.append(holder.id)

    def _reachable(self, replica: Holder) -> Holder:
        """Return the replica, or a spare if the replica was found unreachable a short while ago."""
        if self._sender.is_avoided(replica) and self._spares and not self._sender.is_avoided(self._spares[0]):
            self._spares.append(replica)
            return self._spares.pop(0)
        return replica


def _outcome_of(send: Callable[[], object]) -> Outcome:
    try:
        send()
    except LockstepError as error:
        return error
    return None
