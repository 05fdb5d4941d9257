"""Forwarding: a master passes the chunks of a large upload on to one replica as they arrive.

A slow replica holds the upload back for a bounded time, then is left out. Replacing a replica that failed is left to
replication.py.
"""

from __future__ import annotations

from lockstep_store.runtime.peers.chunk_sender import ChunkSender, Send, StreamCut
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.errors import LockstepError, PeerUnreachable
from lockstep_store.wire.messages.files import Holder

ROOM_BYTES = 5 * 1024 * 1024
"""Room for one chunk of the largest size (4 MiB), or for several usual ones: the next is queued while one is sent."""


class Forward:
    """One replica's copy of an upload under way."""

    def __init__(self, holder: Holder, send: Send, stall_seconds: float) -> None:
        """`send` returns when the blob is durable on the replica."""
        self.holder = holder
        self._stall_seconds = stall_seconds
        self._alive = True
        self._sender = ChunkSender(send, name=f"forward-{holder.id}", room=ROOM_BYTES)
        self._sender.start()

    def offer(self, chunk: Chunk) -> None:
        """Pass one chunk on; a replica that has failed or stalls is left out from then on."""
        if self._alive and not self._sender.put([chunk], self._stall_seconds):
            self._alive = False
            self._sender.cut()

    def finish(self, end: bytes) -> None:
        """Send the end frame: every chunk was offered."""
        self._sender.finish(end)

    def cut(self) -> None:
        """Cut the stream, because the upload failed."""
        self._sender.cut()

    def outcome(self, timeout: float) -> LockstepError | None:
        """Return None when the blob is durable on the replica, otherwise why not. Waits at most `timeout` seconds."""
        stopped = PeerUnreachable(f"file server {self.holder.id} stopped reading the upload")
        if not self._sender.wait(timeout if self._alive else 0):
            self._sender.cut()
            late = PeerUnreachable(f"file server {self.holder.id} did not answer within {timeout:.0f} s")
            return late if self._alive else stopped
        error = self._sender.error
        if isinstance(error, LockstepError):
            return error
        if isinstance(error, StreamCut):
            return PeerUnreachable(f"the stream to file server {self.holder.id} was cut")
        if error is not None:
            return LockstepError(f"forwarding to file server {self.holder.id} failed: {error!r}")
        return None if self._alive else stopped  # an answer before the end of the stream proves nothing
