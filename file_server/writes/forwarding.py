"""Forwarding: a master passes the frames of a large upload on to one replica as they arrive.

Each replica has a bounded queue and a thread that sends from it, so a slow one holds the upload back, for a bounded
time, and never fills memory. What to do about a replica that failed is left to replication.py.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator

from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.errors import LockstepError, PeerUnreachable
from lockstep_store.wire.messages.files import Holder

QUEUE_BYTES = 3 * 1024 * 1024
QUEUE_FRAMES = 256

Send = Callable[[Iterator[bytes | memoryview]], None]
"""Sends a stream to the replica and returns when the blob is durable there."""


class StreamCut(Exception):
    """The upload ended early: the sender must not finish the stream."""


class FrameQueue:
    """Frames on their way to one replica: at most 3 MiB of them, or one chunk that is larger."""

    def __init__(self) -> None:
        self._frames: deque[Chunk] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._complete = False
        self._cut = False
        self._reader_gone = False

    def put(self, chunk: Chunk, timeout: float) -> bool:
        """Add a frame; False when the reader is gone or made no room within `timeout` seconds."""
        size = chunk.length if chunk.data is not None else 0
        with self._changed:
            if not self._changed.wait_for(lambda: self._reader_gone or self._has_room(size), timeout):
                return False
            if self._reader_gone:
                return False
            self._frames.append(chunk)
            self._bytes += size
            self._changed.notify_all()
        return True

    def complete(self) -> None:
        """No more frames: the stream may end."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def cut(self) -> None:
        """Make the reader fail instead of ending the stream; after `complete` it is too late for that."""
        with self._changed:
            self._cut = self._cut or not self._complete
            self._changed.notify_all()

    def abandon(self) -> None:
        """The reader reads no more."""
        with self._changed:
            self._reader_gone = True
            self._frames.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Chunk]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._complete or self._cut)
                if self._cut:
                    raise StreamCut
                if not self._frames:
                    return
                chunk = self._frames.popleft()
                self._bytes -= chunk.length if chunk.data is not None else 0
                self._changed.notify_all()
            yield chunk

    def _has_room(self, size: int) -> bool:
        if not self._frames:
            return True
        return self._bytes + size <= QUEUE_BYTES and len(self._frames) < QUEUE_FRAMES


class Forward:
    """One replica's part in an upload under way."""

    def __init__(self, holder: Holder, send: Send, stall_seconds: float) -> None:
        self.holder = holder
        self._send = send
        self._stall_seconds = stall_seconds
        self._queue = FrameQueue()
        self._alive = True
        self._failure: LockstepError | None = None
        context = contextvars.copy_context()  # the request id goes along
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=f"forward-{holder.id}", daemon=True)
        self._thread.start()

    def offer(self, chunk: Chunk) -> None:
        """Pass one frame on; a replica that has failed or stalls is left out from then on."""
        if self._alive and not self._queue.put(chunk, self._stall_seconds):
            self._alive = False
            self._queue.cut()

    def finish(self) -> None:
        """Every frame was offered."""
        self._queue.complete()

    def cut(self) -> None:
        """The upload failed; the replica must see a stream without its end."""
        self._queue.cut()

    def outcome(self, timeout: float) -> LockstepError | None:
        """None when the blob is durable on the replica, otherwise why it is not. Waits at most `timeout` seconds."""
        if not self._alive:
            return self._failure or PeerUnreachable(f"file server {self.holder.id} stopped taking the upload")
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._queue.cut()
            return PeerUnreachable(f"file server {self.holder.id} did not answer in {timeout:.0f} s")
        return self._failure

    def _run(self) -> None:
        try:
            self._send(encode_stream(self._queue))
        except LockstepError as error:
            self._failure = error
        except StreamCut:
            self._failure = PeerUnreachable(f"the stream to file server {self.holder.id} was cut")
        except Exception as error:  # noqa: BLE001 - a thread's failure must reach the write that waits for it
            self._failure = LockstepError(f"forwarding to file server {self.holder.id} failed: {error!r}")
        finally:
            self._queue.abandon()
