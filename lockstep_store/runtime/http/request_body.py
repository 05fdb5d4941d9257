"""A request's body, read from Granian's ASGI interface by plain threads.

Up to COLLECT_BYTES are collected before a thread begins with the request, so a client that stalls early occupies none.
After that a thread reads, and waits in `ClientWaits`.
"""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from lockstep_store.runtime.http.client_waits import ClientWait, ClientWaits
from lockstep_store.wire.errors import IncompleteBody

COLLECT_BYTES = 32 * 1024
SMALL_FRAME_BYTES = 1024
"""Shorter frames are joined as they come: a body of two-byte chunks would take fifteen times its size."""


class Future(Protocol):
    """What Granian's ASGI protocol returns for a message that is not there yet."""

    def done(self) -> bool: ...
    def result(self) -> dict[str, Any]: ...
    def cancel(self) -> bool: ...
    def add_done_callback(self, callback: Callable[[Future], None]) -> None: ...


Receive = Callable[[], Future]


class RequestBody:
    """`wsgi.input` of one request. Not thread-safe.

    Only one message is asked for at a time: nothing promises their order, and with four some uploads stalled.
    """

    def __init__(self, receive: Receive, declared: int | None, wait: ClientWait, waits: ClientWaits) -> None:
        self._receive = receive
        self._left = declared
        self._wait = wait
        self._waits = waits
        self._frames: deque[bytes | bytearray] = deque()
        self._have = 0
        self._failure = ""
        self.complete = declared == 0
        """Whether nothing is left to wait for: the whole body has come, or none of the rest will."""

    def collect(self, then: Callable[[], None]) -> None:
        """Call `then` when the body, or COLLECT_BYTES of it, are here. Does not wait: the rest goes on in callbacks."""
        self._collect(None, then)

    def read(self, count: int = -1) -> bytes:
        """Return `count` bytes, or what is left. IncompleteBody when the body is broken, cut off or too slow."""
        while (count < 0 or self._have < count) and not self.complete:
            future = self._receive()
            if not future.done():
                self._wait_for(future)
            self._take(future)
        if self._failure:
            raise IncompleteBody(self._failure)
        return self._taken(self._have if count < 0 else count)

    def abandon(self) -> None:
        """Nobody reads the rest: whoever has the reply's messages gets the body's, too."""
        if not self.complete:
            self.complete, self._failure = True, "the body was not read before the reply began"

    def readline(self, size: int = -1) -> bytes:
        """Part of the interface of `wsgi.input`; no handler reads lines."""
        raise NotImplementedError

    def _collect(self, came: Future | None, then: Callable[[], None]) -> None:
        while True:
            if came is not None:
                self._take(came)
            if self.complete or self._have >= COLLECT_BYTES:
                then()
                return
            came = self._receive()
            if not came.done():
                self._wait.begin(came.cancel)
                self._waits.body_awaited(self._wait)
                came.add_done_callback(lambda future: self._collect_more(future, then))
                return

    def _collect_more(self, came: Future, then: Callable[[], None]) -> None:
        self._waits.body_came(self._wait)
        self._wait.end()
        self._collect(came, then)

    def _wait_for(self, future: Future) -> None:
        here = threading.Lock()
        here.acquire()
        self._wait.begin(future.cancel)
        self._waits.body_awaited(self._wait)
        future.add_done_callback(lambda _: here.release())
        here.acquire()
        self._waits.body_came(self._wait)
        self._wait.end()

    def _take(self, future: Future) -> None:
        """Add the bytes of the message that came."""
        try:
            message = future.result()
        except CancelledError:
            message = {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            self.complete = True
            self._failure = "the body is not whole: its framing is broken, or the connection ended or was too slow"
            return
        data: bytes = message["body"]
        if data:
            self._add(data)
            self._have += len(data)
            self._wait.moved += len(data)
        if self._left is not None:
            # The message that tells the end need not be awaited when the length is known.
            self._left -= len(data)
            self.complete = self._left <= 0
        if not message["more_body"]:
            self.complete = True

    def _add(self, data: bytes) -> None:
        last = self._frames[-1] if self._frames else None
        if len(data) >= SMALL_FRAME_BYTES:
            self._frames.append(data)
        elif isinstance(last, bytearray) and len(last) < COLLECT_BYTES:
            last += data
        else:
            self._frames.append(bytearray(data))

    def _taken(self, count: int) -> bytes:
        """The first `count` bytes of those that are here."""
        frames = self._frames
        if frames and len(frames[0]) == count:
            self._have -= count
            return bytes(frames.popleft())
        parts: list[bytes | bytearray] = []
        while count and frames:
            frame = frames.popleft()
            if len(frame) > count:
                frames.appendleft(frame[count:])
                frame = frame[:count]
            parts.append(frame)
            count -= len(frame)
        self._have -= sum(map(len, parts))
        return b"".join(parts)
