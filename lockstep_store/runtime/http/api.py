"""Serves the calls of a program: a thin WSGI layer.

A call declared in `wire.messages` costs one dictionary look-up, decode, handler, encode. Request ids, errors and
metrics are handled here for all of them. The pages for operators are routes like any other. No framework is below it:
only a proxy serves people, and a framework would take a quarter of a file server's start.
`lockstep_store.runtime.http.service` listens and handles certificates.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from prometheus_client import Counter, Histogram

from lockstep_store.runtime.http.admission import HeldAnswer
from lockstep_store.runtime.http.content import WHOLE_ANSWER_BYTES
from lockstep_store.runtime.http.exchange import EXCHANGE
from lockstep_store.runtime.http.operator_views import health_page, metrics_page
from lockstep_store.runtime.http.thread_shares import StreamPlace, ThreadShare
from lockstep_store.runtime.peers.caller import PEER_HEADER
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.runtime.tracing import OPERATION, log, request_id, start_request
from lockstep_store.wire.codec import Call, encode
from lockstep_store.wire.errors import (
    IncompleteBody,
    InternalError,
    LockstepError,
    MethodNotAllowed,
    NotFound,
    PeerRefused,
    TooLarge,
    Unavailable,
    to_problem,
)
from lockstep_store.wire.messages.cluster import Health

REQUEST_SECONDS = Histogram(
    "lockstep_request_seconds",
    "Seconds to answer a call between programs, until the answer's first byte",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
REFUSALS = Counter("lockstep_refusals_total", "Calls between programs that were refused", ["route", "code"])

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
READ_BLOCK_BYTES = 256 * 1024

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
Req = TypeVar("Req")
Rep = TypeVar("Rep")


class RawReply(NamedTuple):
    """A reply: its body is a list of bytes, or an iterator whose total length the headers declare."""

    status: int
    headers: list[tuple[str, str]]
    body: list[bytes] | Iterator[bytes]


class RawRequest:
    """A request as the runner delivers it, for handlers that read or write streams."""

    def __init__(self, environ: Environ, rest: str = "") -> None:
        self.environ = environ
        self.path: str = environ["PATH_INFO"]
        self.rest = rest
        self.query: str = environ.get("QUERY_STRING", "")
        declared = environ.get("CONTENT_LENGTH")
        self.content_length: int | None = int(declared) if declared and str(declared).isdigit() else None
        self._input = environ["wsgi.input"]

    def header(self, name: str, default: str = "") -> str:
        """Return a request header's value, by its usual name."""
        value: str = self.environ.get("HTTP_" + name.upper().replace("-", "_"), default)
        return value

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes of the body; none at its end.

        A program's body that is cut short ends like a whole one; a person's raises IncompleteBody.
        """
        data: bytes = self._input.read(count)
        return data

    def may_send_whole(self, size: int) -> bool:
        """Whether a reply of `size` bytes may be sent in one piece, without a thread; if not, it is streamed."""
        exchange = self.environ.get(EXCHANGE)
        return size <= WHOLE_ANSWER_BYTES and (exchange is None or exchange.reserve(size))

    def body(self, limit: int) -> bytes:
        """Return the whole body. TooLarge over `limit`; IncompleteBody when it is shorter than declared."""
        if self.content_length is not None and self.content_length > limit:
            raise TooLarge(f"the body has {self.content_length} bytes; at most {limit} are accepted here")
        parts: list[bytes] = []
        have = 0
        while have <= limit:
            block = self.read(min(READ_BLOCK_BYTES, limit + 1 - have))
            if not block:
                break
            parts.append(block)
            have += len(block)
        if have > limit:
            raise TooLarge(f"the body is longer than the {limit} bytes accepted here")
        if self.content_length is not None and have != self.content_length:
            raise IncompleteBody(f"the body ended after {have} of {self.content_length} declared bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)


RawHandler = Callable[[RawRequest], RawReply]
_JSON = ("Content-Type", "application/json")
_PROBLEM_JSON = ("Content-Type", "application/problem+json")


class Api:
    """A program's routes. The object itself is the WSGI application.

    `verify_peer` returns the identity in a peer header, or raises PeerRefused. `share_of(path)`: the share of threads
    that the calls of proxies to this path may occupy; None for calls that they make for themselves.
    """

    def __init__(
        self,
        program: str,
        id: str,
        verify_peer: Callable[[str], PeerIdentity] | None = None,
        share_of: Callable[[str], ThreadShare | None] = lambda path: None,
    ) -> None:
        self.program = program
        self.id = id
        self.health: Callable[[], Health] = lambda: Health(True, program, id, "", pid=os.getpid())
        self.admit: Callable[[str], None] | None = None
        """Called with the path before a declared call is served; raises to refuse it."""
        self._verify_peer = verify_peer
        self._share_of = share_of
        self._routes: dict[tuple[str, str], RawHandler] = {}
        self._prefixes: list[tuple[str, str, RawHandler]] = []
        self._pages = {"/health": lambda: health_page(self.health()), "/metrics": metrics_page}

    def serve(
        self,
        call: Call[Req, Rep],
        handler: Callable[[Req, Any], Rep],
        roles: Collection[str] | None = None,
    ) -> None:
        """Serve `call` with `handler(request, peer)`. With `roles`, reject peers of other roles."""
        seconds = REQUEST_SECONDS.labels(call.path)
        share = self._share_of(call.path)

        def answer(request: RawRequest) -> RawReply:
            started = time.perf_counter()
            peer = self._peer(request, roles)
            if (admit := self.admit) is not None:
                admit(call.path)
            if share is None or not _is_proxy(peer):
                body = reply(request, peer)
            else:
                share.enter()
                try:
                    body = reply(request, peer)
                finally:
                    share.leave()
            seconds.observe(time.perf_counter() - started)
            return RawReply(200, [_JSON, ("Content-Length", str(len(body)))], [body])

        def reply(request: RawRequest, peer: PeerIdentity | None) -> bytes:
            return encode(handler(call.decode_request(request.body(MAX_MESSAGE_BYTES)), peer))

        self._routes["POST", call.path] = answer

    def serve_raw(
        self,
        method: str,
        path: str,
        handler: RawHandler,
        prefix: bool = False,
        roles: Collection[str] | None = None,
    ) -> None:
        """Serve a stream route; with `prefix`, every path that begins with `path` (see `RawRequest.rest`). With
        `roles`, reject peers of other roles."""
        if roles is not None:
            handler = self._only_for(roles, handler, self._share_of(path))
        if prefix:
            self._prefixes.append((method, path, handler))
        else:
            self._routes[method, path] = handler

    @property
    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route of the thin layer, for documents and tests."""
        return sorted([*self._routes, *((method, path + "…") for method, path, _ in self._prefixes)])

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        handler = self._routes.get((environ["REQUEST_METHOD"], path))
        rest = ""
        if handler is None:
            for method, prefix, candidate in self._prefixes:
                if path.startswith(prefix) and method == environ["REQUEST_METHOD"]:
                    handler, rest = candidate, path[len(prefix) :]
                    break
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        try:
            if handler is None:
                status, headers, body = self._page(environ["REQUEST_METHOD"], path)
            else:
                environ[OPERATION] = path.removesuffix(rest)
                status, headers, body = handler(RawRequest(environ, rest))
        except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a reply
            status, headers, body = error_reply(error, path.removesuffix(rest))
        start_response(f"{status} -", [*headers, ("X-Request-Id", id)])
        return body

    def _page(self, method: str, path: str) -> RawReply:
        """Reply with an operator's page, or a problem that is not counted: callers can make up any number of paths."""
        page = self._pages.get(path)
        if page is None and all(known != path for _, known in self._routes):
            return problem_reply(NotFound("no such address"))
        if page is None or method not in ("GET", "HEAD"):
            return problem_reply(MethodNotAllowed("this address does not support that method"))
        status, content_type, body = page()
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        return RawReply(status, headers, [] if method == "HEAD" else [body])

    def _only_for(self, roles: Collection[str], handler: RawHandler, share: ThreadShare | None) -> RawHandler:
        def answer(request: RawRequest) -> RawReply:
            peer = self._peer(request, roles)
            return handler(request) if share is None or not _is_proxy(peer) else _within(share, handler, request)

        return answer

    def _peer(self, request: RawRequest, roles: Collection[str] | None) -> PeerIdentity | None:
        if self._verify_peer is None:
            return None
        peer = self._verify_peer(request.header(PEER_HEADER))
        if roles is not None and peer.role not in roles:
            raise PeerRefused(f"{peer.role}-{peer.id} is not allowed to call {request.path}")
        return peer


def _is_proxy(peer: PeerIdentity | None) -> bool:
    return peer is not None and peer.role == "client_proxy"


def _within(share: ThreadShare, handler: RawHandler, request: RawRequest) -> RawReply:
    """Reply in a thread of `share`, until the reply was sent."""
    share.enter()
    place = StreamPlace(share)
    try:
        reply = handler(request)
    except BaseException:
        place.give_back()
        raise
    if isinstance(reply.body, list):
        place.give_back()
        return reply
    return RawReply(reply.status, reply.headers, HeldAnswer(reply.body, place))


def error_reply(error: Exception, route: str) -> RawReply:
    """Return any failure as a problem reply. An unexpected one is logged with its trace, and its details stay inside.

    `route` must be a declared path: every path that is counted stays in memory for good.
    """
    if not isinstance(error, LockstepError):
        log.exception("unexpected failure in %s", route)
        error = InternalError(f"internal error: see the server's log for request {request_id()}")
    REFUSALS.labels(route, error.code).inc()
    return problem_reply(error)


def problem_reply(error: LockstepError) -> RawReply:
    """Return a failure as a problem reply, without counting it."""
    body = encode(to_problem(error, request_id()))
    headers = [_PROBLEM_JSON, ("Content-Length", str(len(body)))]
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", "1"))
    return RawReply(error.status, headers, [body])
