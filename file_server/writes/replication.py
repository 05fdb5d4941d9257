"""Replication: bringing one write to its replicas, and counting who has it durably.

A small body is sent whole to all replicas at once; of a large one every frame is passed on as it arrives. A replica
that lacks chunks gets them from this server's store, one that is gone is replaced by a spare of the ticket. With fewer
copies than promised the write fails before the directory hears of it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from file_server.writes.blob_sender import SMALL_TIMEOUT_SECONDS, STREAM_TIMEOUT_SECONDS, BlobSender, digests_of
from file_server.writes.forwarding import Forward
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.chunk_stream import encode_stream, end_frame
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import LockstepError, MissingChunks, TicketRefused, TooFewHolders
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder, WriteTicket
from lockstep_store.wire.messages.servers import MAX_SMALL_STREAM_BYTES, SmallWrite

Outcome = LockstepError | None
"""Why a holder does not have the blob durably; None when it does."""


class Replication:
    """One write's other holders. Used by the one thread that receives the write."""

    def __init__(self, sender: BlobSender, ticket: WriteTicket, ticket_text: str) -> None:
        self._sender = sender
        self._ticket = ticket
        self._text = ticket_text
        # Those that failed just now come last, but they come: they may be back, and a write without copies fails.
        self._spares = sorted(ticket.spares, key=sender.is_avoided)
        self._replicas = [self._reachable(replica) for replica in ticket.replicas]
        self._forwards: list[Forward] = []
        self._pending: list[tuple[Holder, Callable[[], Outcome]]] = []
        self._failures: list[str] = []

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
        """Send a small write's chunk stream, as it came, to all replicas, in one call with other writes to each."""
        item = SmallWrite(self._text, stream)
        for replica in self._replicas:
            crash_point("file_server.replica.sending")
            self._pending.append((replica, self._sender.small.submit(replica.url, item).outcome))

    def open_streams(self) -> None:
        """Open a stream to every replica; `offer`, `finish` and `cut` go to all of them."""
        for replica in self._replicas:
            forward = Forward(replica, partial(self._sender.send, replica, self._text), self._sender.stall_seconds)
            self._forwards.append(forward)
            crash_point("file_server.replica.streaming")
            self._pending.append((replica, partial(forward.outcome, 2 * STREAM_TIMEOUT_SECONDS)))

    def offer(self, chunk: Chunk) -> None:
        """Pass a frame on, waiting for slow replicas for a bounded time."""
        for forward in self._forwards:
            forward.offer(chunk)

    def finish(self, manifest: Manifest) -> None:
        """End the streams: every frame of the blob was offered, and replicas may make it durable."""
        for forward in self._forwards:
            forward.finish(end_frame(manifest.digest, manifest.size))

    def cut(self) -> None:
        """The write failed here: replicas must see their streams end too soon. After `finish` it does nothing."""
        for forward in self._forwards:
            forward.cut()

    def settle(self, manifest: Manifest, own_id: str) -> list[str]:
        """The ids of all holders, this server first; the blob must be sealed here.

        Raises TooFewHolders when the promised copies cannot be made, TicketRefused when a holder has seen a newer
        lock on the path.
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
                f"only {len(holders)} of {self._ticket.copies} copies could be made, so nothing was changed "
                f"({'; '.join(self._failures) or 'no other file server was named'}): mend that, or add a file server, "
                "and try again",
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
            log.warning("file server %s does not have the blob: %s", holder.id, failure)
            self._failures.append(f"file server {holder.id}: {failure}")

    def _reachable(self, replica: Holder) -> Holder:
        """The replica, or a spare in its place when it has just been found unreachable."""
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
