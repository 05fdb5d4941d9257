"""Admission: bounds the threads that slow requests may occupy, in total and for each client.

A client occupies a thread while it sends a body or receives a streamed reply. A hundred stalled clients would block
everyone else. So some threads are always reserved for requests that end by themselves, and no client gets all the
others. A request over the bounds gets the place of a client that has stalled for a while (`client_waits`), or is
refused at once (503, Retry-After), because waiting would occupy a thread too.
"""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from prometheus_client import Counter, Gauge

from lockstep_store.runtime.http.client_waits import HeldPlace
from lockstep_store.runtime.http.exchange import EXCHANGE
from lockstep_store.runtime.tracing import request_id
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import Overloaded, to_problem

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
TurnAway = Callable[[Overloaded, Environ, StartResponse], Iterable[bytes]]

RESERVED_SHARE = 8
"""One thread in this many is never occupied by a body or a streamed reply."""

HELD = Gauge("lockstep_held_threads", "Threads occupied by clients that send a body or receive a streamed reply")
TURNED_AWAY = Counter(
    "lockstep_turned_away_total", "Requests refused with 503 because too many threads were occupied", ["by"]
)


class Bounds(NamedTuple):
    """The number of places, and how many of them one client may have."""

    total: int
    per_client: int


Counted = tuple[bool, str | None]
"""Whether only requests of the part count, and the client whose requests count (None: every client's)."""


class Admission:
    """Counts the threads that each client occupies. Thread-safe. The bounds `part` also apply to requests `in_part`."""

    def __init__(self, total: int, per_client: int, part: Bounds | None = None) -> None:
        self.total = total
        self.per_client = per_client
        self._part = part
        self._guard = threading.Lock()
        self._held: Counts[Counted] = Counts()

    def enter(self, client: str, in_part: bool = False) -> Pass:
        """Return a pass, to be given back. Overloaded when `client` or all clients together are over their bound."""
        bounds: dict[Counted, int] = {(False, client): self.per_client, (False, None): self.total}
        if in_part and self._part is not None:
            bounds |= {(True, client): self._part.per_client, (True, None): self._part.total}
        with self._guard:
            full = [whose for (part, whose), bound in bounds.items() if self._held[part, whose] >= bound]
            if not full:
                self._held.update(bounds.keys())
                HELD.inc()
                return Pass(self, bounds)
            mine = self._held[False, client]
        if client in full:
            raise Overloaded(
                f"too many uploads and downloads from your address or program are in progress ({mine}): "
                "wait until some of them end"
            )
        raise Overloaded("too many uploads and downloads are in progress: retry shortly, or use another proxy")

    def leave(self, place: Pass) -> None:
        """Stop counting a request that no longer occupies a thread; once only, whoever calls at the same time."""
        with self._guard:
            if not place.held:
                return
            place.held = False
            for each in place.counted:
                self._held[each] -= 1
                if not self._held[each]:
                    del self._held[each]
        HELD.dec()

    def is_full_for(self, client: str) -> bool:
        """Whether `client` occupies as many threads as one client may."""
        return self._held[False, client] >= self.per_client

    @property
    def held(self) -> int:
        """The number of threads occupied now."""
        return self._held[False, None]


class Pass:
    """One request's place. Giving it back again does nothing."""

    __slots__ = ("_admission", "counted", "held")

    def __init__(self, admission: Admission, counted: Iterable[Counted]) -> None:
        self._admission = admission
        self.counted = counted
        self.held = True

    def give_back(self) -> None:
        if self.held:
            self._admission.leave(self)


class AdmissionGate:
    """A WSGI application in front of another one.

    `holds(environ)`: whether the request occupies a thread while its body arrives. `client(environ)`: who sent it.
    Streamed replies are always counted; replies in one piece free their thread at once. `turn_away` creates the refusal
    in the request's protocol. `in_part(environ)`: see Admission.
    """

    def __init__(
        self,
        inner: Wsgi,
        admission: Admission,
        holds: Callable[[Environ], bool],
        client: Callable[[Environ], str],
        turn_away: TurnAway | None = None,
        in_part: Callable[[Environ], bool] = lambda environ: False,
    ) -> None:
        self._inner = inner
        self._admission = admission
        self._holds = holds
        self._client = client
        self._turn_away = turn_away or turn_away_with_problem
        self._in_part = in_part

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        place: Pass | None = None
        answer: Iterable[bytes] = []
        try:
            if self._holds(environ):
                # The body of a refused request is not read: waiting for it is what admission prevents.
                place = self._enter(environ, self._in_part(environ))
            answer = self._inner(environ, start_response)
            if not isinstance(answer, list):
                place = place or self._enter(environ, False)
                # An exchange gives the place back later, when the client has read the reply.
                return answer if EXCHANGE in environ else HeldAnswer(answer, place)
        except BaseException as error:
            _close(answer)
            if place is not None:
                place.give_back()
            if not isinstance(error, Overloaded):
                raise
            TURNED_AWAY.labels("client" if self._admission.is_full_for(self._client(environ)) else "total").inc()
            return self._turn_away(error, environ, start_response)
        if place is not None:
            place.give_back()
        return answer

    def _enter(self, environ: Environ, in_part: bool) -> Pass:
        """Return a pass; a client that has stalled for a while loses its own to this request."""
        client, exchange = self._client(environ), environ.get(EXCHANGE)
        try:
            place = self._admission.enter(client, in_part)
        except Overloaded:
            # When the client's own bound is reached, nobody else's place would help.
            whose = client if self._admission.is_full_for(client) else None
            if exchange is None or not exchange.make_room(whose):
                raise
            place = self._admission.enter(client, in_part)
        if exchange is not None:
            exchange.wait.place = place
        return place


class HeldAnswer:
    """A streamed reply, which gives its place back when it ends, however it ends."""

    def __init__(self, answer: Iterable[bytes], place: HeldPlace) -> None:
        self._answer = answer
        self._pieces = iter(answer)
        self._place = place

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self._place.give_back()
            raise

    def close(self) -> None:
        """Called by the runner when the reply was sent or the client has disconnected."""
        self._place.give_back()
        _close(self._answer)

    def __del__(self) -> None:
        self._place.give_back()


def gate_for_people(
    wsgi: Wsgi, threads: int, long_polls: Collection[str] = (), turn_away: TurnAway | None = None
) -> AdmissionGate:
    """Return the gate of a proxy with `threads` threads: one address gets at most three quarters of them.

    That allows 64 parallel parts of an upload from one workstation, and leaves threads for everybody else. Bodies
    without a credential get a quarter of the places. `long_polls`: paths that occupy their thread without a body.
    """
    places = threads - threads // RESERVED_SHARE
    anonymous = max(1, places // 4)
    return AdmissionGate(
        wsgi,
        Admission(places, max(1, threads * 3 // 4), Bounds(anonymous, anonymous)),
        lambda environ: awaits_body(environ) or environ["PATH_INFO"] in long_polls,
        remote_address,
        turn_away,
        in_part=_is_anonymous,
    )


def gate_for_programs(wsgi: Wsgi, threads: int, stream_path: str) -> AdmissionGate:
    """Return the gate of a file server: it counts streams to `stream_path`. One program gets at most half the threads.

    Proxies' streams get half of the places, so that as many can arrive from other file servers. Otherwise a write that
    a master has accepted would fail at a replica full of masters' writes, which fail in the same way.
    """
    places = threads - threads // RESERVED_SHARE
    from_proxies = max(1, places // 2)
    return AdmissionGate(
        wsgi,
        Admission(places, max(1, threads // 2), Bounds(from_proxies, max(1, from_proxies * 4 // 5))),
        lambda environ: environ["PATH_INFO"] == stream_path,
        calling_program,
        in_part=lambda environ: environ.get("HTTP_X_LOCKSTEP_HOP") != "replica",
    )


def has_body(environ: Environ) -> bool:
    """Whether the request has a body to read."""
    length = environ.get("CONTENT_LENGTH")
    return (bool(length) and length != "0") or "HTTP_TRANSFER_ENCODING" in environ


def awaits_body(environ: Environ) -> bool:
    """Whether some of the request's body is still to come."""
    exchange = environ.get(EXCHANGE)
    return has_body(environ) if exchange is None else not exchange.body.complete


def _is_anonymous(environ: Environ) -> bool:
    exchange = environ.get(EXCHANGE)
    return exchange is not None and bool(exchange.wait.anonymous)


def remote_address(environ: Environ) -> str:
    """Return the address that sent the request, without its port."""
    address: str = environ.get("REMOTE_ADDR", "")
    host, colon, port = address.rpartition(":")
    return host if colon and port.isdigit() and (":" not in host or host.endswith("]")) else address


def calling_program(environ: Environ) -> str:
    """Return the caller's role and id as it claims them: mutual TLS has shown that it belongs to the cluster."""
    token: str = environ.get("HTTP_X_LOCKSTEP_PEER", "")
    return token.rpartition(".")[0] or remote_address(environ)


def _close(answer: Iterable[bytes]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        with suppress(Exception):
            close()


def turn_away_with_problem(error: Overloaded, _: Environ, start_response: StartResponse) -> list[bytes]:
    """Send the refusal as problem JSON, the format of every door but S3."""
    body = encode(to_problem(error, request_id()))
    start_response(
        f"{error.status} -",
        [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body))), ("Retry-After", "1")],
    )
    return [body]
