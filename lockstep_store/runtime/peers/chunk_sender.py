"""Sends one chunk stream from its own thread, so that the owner can prepare or receive chunks meanwhile.

Waiting chunks are bounded in bytes and in number: a slow receiver slows the owner down and never fills memory. A stream
that is cut ends without its end frame, so the receiver stores nothing from it. The owner handles receivers that fail.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context

from lockstep_store.wire.chunk_stream import MAGIC, frame_header
from lockstep_store.wire.chunking import Chunk

MAX_WAITING_FRAMES = 256
"""Bounds chunks without bytes, which also use memory."""

Block = bytes | memoryview
Send = Callable[[Iterator[Block]], bytes]
"""Sends the blocks of a stream to its receiver and returns the body of the reply."""


class StreamCut(Exception):
    """Raised inside the stream after `cut`, so that the connection is closed before the end frame."""


class ChunkSender:
    """One stream. `start` it, `put` its chunks, then `finish` or `cut` it, and `wait`.

    Holds at most `room` bytes of chunks, the one being sent included, or one `put` that is larger. `on_sent` is called
    with the size of each chunk's bytes when they are sent. Thread-safe.
    """

    def __init__(self, send: Send, *, name: str, room: int, on_sent: Callable[[int], None] = lambda size: None) -> None:
        self.answer: bytes | None = None
        self.error: BaseException | None = None
        """Why there is no reply, once the stream has ended; StreamCut after `cut`."""
        self._send = send
        self._room = room
        self._on_sent = on_sent
        self._changed = threading.Condition()
        self._waiting: deque[Chunk] = deque()
        self._held_bytes = 0
        self._end: bytes | None = None
        self._cut = False
        self._ended = False
        context = copy_context()  # for the request id
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, chunks: Sequence[Chunk], timeout: float | None = None) -> bool:
        """Queue chunks, waiting for room at most `timeout` seconds; False without room or when the stream has ended."""
        size = sum(map(_bytes_of, chunks))
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended or self._has_room(size), timeout) or self._ended:
                return False
            self._waiting.extend(chunks)
            self._held_bytes += size
            self._changed.notify_all()
        return True

    def finish(self, end: bytes) -> None:
        """Send `end` after the chunks and end the stream; from now on `cut` does nothing."""
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def cut(self) -> None:
        """End the stream without its end frame, unless it was finished. Safe to repeat."""
        with self._changed:
            self._cut = self._cut or self._end is None
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the stream has ended, and return whether it has; then `answer` or `error` is set."""
        self._thread.join(timeout)
        return self._ended

    def _has_room(self, size: int) -> bool:
        if self._waiting and len(self._waiting) >= MAX_WAITING_FRAMES:
            return False
        return not self._held_bytes or self._held_bytes + size <= self._room

    def _run(self) -> None:
        try:
            self.answer = self._send(self._blocks())
        except BaseException as error:  # noqa: BLE001 - carried to the owner
            self.error = error
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()

    def _blocks(self) -> Iterator[Block]:
        yield MAGIC
        while (chunk := self._next()) is not None:
            yield frame_header(chunk)
            size = _bytes_of(chunk)
            if chunk.data is not None:
                self._on_sent(size)
                yield chunk.data
            del chunk
            with self._changed:
                self._held_bytes -= size
                self._changed.notify_all()
        assert self._end is not None
        yield self._end

    def _next(self) -> Chunk | None:
        """Return the next chunk, None at the end of a finished stream."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._end is not None or self._cut)
            if self._cut:
                raise StreamCut
            return self._waiting.popleft() if self._waiting else None


def _bytes_of(chunk: Chunk) -> int:
    return len(chunk.data) if chunk.data is not None else 0
