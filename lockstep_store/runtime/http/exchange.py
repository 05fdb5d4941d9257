"""One request and its reply, over Granian's ASGI interface, answered by a WSGI application on a plain thread.

Granian's WSGI interface hides what signatures are made of, shows a broken body as one that ends, cannot time out a
client, and does not tell when an answer has been read. Its ASGI interface does all of it. Its messages need no event
loop: this module waits for them with locks, and `exchanges.py` calls it on the threads of Granian's pool.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from lockstep_store.runtime.http.answer_bytes import AnswerBytes
from lockstep_store.runtime.http.client_waits import (
    MIN_ANSWER_BYTES_PER_SECOND,
    STALL_SECONDS,
    ClientWait,
    ClientWaits,
)
from lockstep_store.runtime.http.request_body import Future, RequestBody
from lockstep_store.runtime.http.request_head import BadHead, Headers, check_head, environment, is_anonymous
from lockstep_store.runtime.tracing import log, request_id, start_request
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import InternalError, LockstepError, Overloaded, Problem, to_problem

EXCHANGE = "lockstep.exchange"
"""In the WSGI environment: the Exchange, which knows what WSGI has no word for."""
COUNTED_BYTES = 128 * 1024
"""Whole answers from this size on are counted until they are read. The runner buffers as much as this anyway."""
ROOM_SECONDS = 1.0
"""How long an answer that is ready waits for room."""

_names: dict[str, bytes] = {}

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Exchange:
    """Built and answered on threads of the pool; callbacks of its messages may come on others."""

    def __init__(self, watcher: Any, app: Wsgi, waits: ClientWaits, answers: AnswerBytes) -> None:
        self._watcher = watcher
        self._proto = watcher.proto
        self._app = app
        self._waits = waits
        self._answers = answers
        scope = watcher.scope
        address, port = scope["client"]
        self.wait = ClientWait(address, (address, int(port)), int(scope["server"][1]), is_anonymous(scope))
        self._reserved = 0
        self._started = False
        self._gone = False
        self._status, self._headers = 0, []  # type: tuple[int, list[tuple[str, str]]]
        check_head(scope)
        self.environ = environment(scope)
        length = self.environ.get("CONTENT_LENGTH")
        chunked = "HTTP_TRANSFER_ENCODING" in self.environ
        declared = None if chunked else int(length) if length else 0
        self.body = RequestBody(self._proto.receive, declared, self.wait, waits)
        self.environ["wsgi.input"] = self.body
        self.environ[EXCHANGE] = self

    @property
    def collects(self) -> bool:
        """Whether to collect the body's beginning first. A client that expects 100 (Continue) waits for the doors."""
        return not self.body.complete and "HTTP_EXPECT" not in self.environ

    def answer(self) -> None:
        """Call the application and send its reply. Every failure becomes a reply, or ends the connection."""
        handed_over = False
        try:
            handed_over = self._answer()
        except BaseException:  # noqa: BLE001 - the last place where a failure can become a reply
            log.exception("a request failed outside its door")
            if not self._started:
                with suppress(Exception):
                    self._refuse(InternalError(f"internal error: see the server's log for request {request_id()}"))
        finally:
            self.environ.pop(EXCHANGE, None)
            if not handed_over:
                self._give_room_back()
                # Ends a reply that is not whole by closing its connection.
                self._watcher.done()

    def reserve(self, size: int) -> bool:
        """Whether an answer of `size` bytes may be sent whole; otherwise it is to be streamed."""
        if size < COUNTED_BYTES:
            return True
        if not self._answers.take(self.wait.client, size):
            return False
        self._reserved += size
        return True

    def make_room(self, client: str | None) -> bool:
        """Cut off a stalled request, of `client` or of anybody, so that this one gets its place."""
        return self._waits.evict(client)

    def _answer(self) -> bool:
        body = self._app(self.environ, self._start_response)
        try:
            if isinstance(body, list):
                return self._send_whole(body[0] if len(body) == 1 else b"".join(body))
            # PEP 3333 lets an application name its status as late as with the first piece.
            pieces = iter(body)
            self._stream(next(pieces, b""), pieces)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return False

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self._status, self._headers = int(status.partition(" ")[0]), headers

    def _send_whole(self, body: bytes) -> bool:
        """Send a reply in one piece. True when the room it takes is given back later, when it was read."""
        size = len(body)
        if size < COUNTED_BYTES or ("Content-Length", str(size)) not in self._headers:
            self._start()
            self._send({"type": "http.response.body", "body": body, "more_body": False})
            return False
        if self._reserved < size and not self._wait_for_room(size):
            self._refuse(Overloaded("too many answers have not been read by their clients yet: retry shortly"))
            return False
        # Without an end the runner keeps the reply's channel until the declared length was read.
        self._start()
        self._send({"type": "http.response.body", "body": body, "more_body": True})
        now = time.monotonic()
        self.wait.begin(lambda: None)
        self.wait.deadline = now + STALL_SECONDS + size / MIN_ANSWER_BYTES_PER_SECOND
        self._waits.answer_awaited(self.wait)
        self._when_over(self._was_read)
        return True

    def _wait_for_room(self, size: int) -> bool:
        until = time.monotonic() + ROOM_SECONDS
        while not self.reserve(size):
            if time.monotonic() > until:
                return False
            time.sleep(ROOM_SECONDS / 20)
        return True

    def _when_over(self, then: Callable[[], None], message: Future | None = None) -> None:
        """Call `then` when the runner has sent the reply or its client has gone, which is one message to it."""
        while message is None or message.result()["type"] != "http.disconnect":
            message = self._proto.receive()
            if not hasattr(message, "done"):
                break  # over already
            if not message.done():
                message.add_done_callback(lambda came: self._when_over(then, came))
                return
        then()

    def _was_read(self) -> None:
        self._waits.answer_taken(self.wait)
        self._give_room_back()

    def _has_gone(self) -> None:
        self._gone = True

    def _leave(self, taken: Future) -> None:
        self._gone = True
        taken.cancel()

    def _give_room_back(self) -> None:
        if self._reserved:
            self._answers.give_back(self.wait.client, self._reserved)
            self._reserved = 0

    def _stream(self, first: bytes, pieces: Iterator[bytes]) -> None:
        self._start()
        if self.body.complete:
            # The runner takes pieces for a client that has gone without a word.
            self._when_over(self._has_gone)
        piece: bytes | None = first
        while piece is not None and not self._gone:
            if piece:
                taken = self._send({"type": "http.response.body", "body": piece, "more_body": True})
                if hasattr(taken, "done") and not taken.done():
                    self._wait_for_reader(taken)
                self.wait.moved += len(piece)
            piece = next(pieces, None)
        if not self._gone:
            self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _wait_for_reader(self, taken: Future) -> None:
        here = threading.Lock()
        here.acquire()
        self.wait.begin(lambda: self._leave(taken))
        self._waits.answer_awaited(self.wait)
        taken.add_done_callback(lambda _: here.release())
        here.acquire()
        self._waits.answer_taken(self.wait)
        self.wait.end()

    def _refuse(self, error: LockstepError) -> None:
        refuse(self._proto, to_problem(error, request_id()))
        self._started = True

    def _start(self) -> None:
        if not self._status:
            raise RuntimeError("the application has not called start_response")
        headers = [(_names.get(name) or _name(name), value.encode("latin-1")) for name, value in self._headers]
        self._send({"type": "http.response.start", "status": self._status, "headers": headers})
        self._started = True

    def _send(self, message: dict[str, Any]) -> Any:
        return self._proto.send(message)


def refuse(proto: Any, problem: Problem) -> None:
    """Send `problem` and close the connection."""
    body = encode(problem)
    headers: Headers = [
        (b"Content-Type", b"application/problem+json"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Connection", b"close"),
        (b"X-Request-Id", problem.request_id.encode()),
    ]
    if problem.retry:
        headers.append((b"Retry-After", b"1"))
    proto.send({"type": "http.response.start", "status": problem.status, "headers": headers})
    proto.send({"type": "http.response.body", "body": body, "more_body": False})


def refuse_head(watcher: Any, error: BadHead) -> None:
    """Answer a request whose head is refused, whatever its method; its body is not read."""
    title = "Request header fields too large" if error.status == 431 else "Bad request"
    refuse(watcher.proto, Problem("bad_request", error.status, str(error), title=title, request_id=start_request()))
    watcher.done()


def _name(name: str) -> bytes:
    encoded = name.encode("latin-1")
    if len(_names) < 1000:
        _names[name] = encoded
    return encoded
