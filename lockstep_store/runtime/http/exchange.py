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
from http import HTTPStatus
from typing import Any

from lockstep_store.runtime.http.answer_bytes import AnswerBytes
from lockstep_store.runtime.http.client_waits import (
    MIN_ANSWER_BYTES_PER_SECOND,
    STALL_SECONDS,
    ClientWait,
    ClientWaits,
)
from lockstep_store.runtime.http.late_replies import LateReplies
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
TAIL_BYTES = 2560 * 1024
"""The runner keeps about this much of a streamed reply that the client has not read yet."""

LIMIT_HEADER = "RateLimit"
"""Of replies to requests that a rate limit counted."""

_LIMITED = frozenset({429, 503})
"""What the API and S3 answer to a client that is over its limit."""

_names: dict[str, bytes] = {}

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Exchange:
    """Built and answered on threads of the pool; callbacks of its messages may come on others."""

    def __init__(self, watcher: Any, app: Wsgi, waits: ClientWaits, answers: AnswerBytes, late: LateReplies) -> None:
        self._watcher = watcher
        self._proto = watcher.proto
        self._app = app
        self._waits = waits
        self._answers = answers
        self._late = late
        scope = watcher.scope
        address, port = scope["client"]
        self.wait = ClientWait(address, (address, int(port)), int(scope["server"][1]), is_anonymous(scope))
        self._reserved = 0
        self._started = False
        self._kept = False
        """Whether the reply ends without this thread: it is held, or sent and not yet read by the client."""
        self._over = False
        self._letting_go = threading.Lock()
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
        try:
            self._answer()
        except BaseException:  # noqa: BLE001 - the last place where a failure can become a reply
            log.exception("a request failed outside its door")
            if not self._started:
                with suppress(Exception):
                    self._refuse(InternalError(f"internal error: see the server's log for request {request_id()}"))
        finally:
            self.environ.pop(EXCHANGE, None)
            if not self._kept:
                self._let_go()

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

    def _answer(self) -> None:
        body = self._app(self.environ, self._start_response)
        try:
            if isinstance(body, list):
                whole = body[0] if len(body) == 1 else b"".join(body)
                if self._status not in _LIMITED or not self._hold(whole):
                    self._send_whole(whole)
            else:
                # PEP 3333 lets an application name its status as late as with the first piece.
                pieces = iter(body)
                self._stream(next(pieces, b""), pieces)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self._status, self._headers = int(status.partition(" ")[0]), headers

    def _send_whole(self, body: bytes) -> None:
        size = len(body)
        if size < COUNTED_BYTES or ("Content-Length", str(size)) not in self._headers:
            self._start()
            self._send(body, more=False)
        elif self._reserved >= size or self._wait_for_room(size):
            self._start()
            self._send(body)
            self._keep_until_read(size)
            self._watch()
        else:
            self._refuse(Overloaded("too many answers have not been read by their clients yet: retry shortly"))

    def _hold(self, body: bytes) -> bool:
        """Send the refusal of a client that is over its rate limit later; False for every other reply."""
        if not any(name == LIMIT_HEADER for name, _ in self._headers):
            return False
        self._kept = self._late.hold(lambda: self._send_late(body))
        return self._kept

    def _send_late(self, body: bytes) -> None:
        try:
            self._send_whole(body)
        finally:
            self._let_go()

    def _wait_for_room(self, size: int) -> bool:
        until = time.monotonic() + ROOM_SECONDS
        while not self.reserve(size):
            if time.monotonic() > until:
                return False
            time.sleep(ROOM_SECONDS / 20)
        return True

    def _stream(self, first: bytes, pieces: Iterator[bytes]) -> None:
        self._start()
        sent = 0
        piece: bytes | None = first
        while piece is not None and not self._over:
            if piece:
                taken = self._send(piece)
                if not sent:
                    # Before the reply has begun, this would ask a client that expects 100 (Continue) for its body.
                    self._watch()
                sent += len(piece)
                if hasattr(taken, "done") and not taken.done():
                    self._wait_for_reader(taken)
                self.wait.moved += len(piece)
            piece = next(pieces, None)
        if sent and ("Content-Length", str(sent)) in self._headers:
            self._keep_until_read(min(sent, TAIL_BYTES))
        elif not self._over:
            self._send(b"", more=False)

    def _keep_until_read(self, size: int) -> None:
        """Keep the place and the room of a reply that is sent up to its declared length, without a thread.

        Such a reply must not be ended: then the runner would not tell when it was read.
        """
        self.wait.begin()
        self.wait.deadline = time.monotonic() + STALL_SECONDS + size / MIN_ANSWER_BYTES_PER_SECOND
        self._waits.answer_awaited(self.wait)
        self._kept = True
        if self._over:
            self._let_go()

    def _watch(self, message: Future | None = None) -> None:
        """Note when the runner has sent the reply or its client has gone, which is one message to it.

        The runner takes pieces for a client that has gone without a word. What the client still sends is dropped.
        """
        self.body.abandon()
        while message is None or message.result()["type"] != "http.disconnect":
            message = self._proto.receive()
            if not hasattr(message, "done"):
                break  # over already
            if not message.done():
                message.add_done_callback(self._watch)
                return
        self._over = True
        if self._kept:
            self._let_go()

    def _let_go(self) -> None:
        """Give back what the request holds. Ends a reply that is not whole by closing its connection."""
        if not self._letting_go.acquire(blocking=False):
            return
        self._waits.answer_taken(self.wait)
        if self._reserved:
            self._answers.give_back(self.wait.client, self._reserved)
        if self.wait.place is not None:
            self.wait.place.give_back()
        self._watcher.done()

    def _leave(self, taken: Future) -> None:
        self._over = True
        taken.cancel()

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
        self._proto.send({"type": "http.response.start", "status": self._status, "headers": headers})
        self._started = True

    def _send(self, body: bytes, more: bool = True) -> Any:
        return self._proto.send({"type": "http.response.body", "body": body, "more_body": more})


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
    title = HTTPStatus(error.status).phrase.capitalize()
    refuse(watcher.proto, Problem("bad_request", error.status, str(error), title=title, request_id=start_request()))
    watcher.done()


def _name(name: str) -> bytes:
    encoded = name.encode("latin-1")
    if len(_names) < 1000:
        _names[name] = encoded
    return encoded
