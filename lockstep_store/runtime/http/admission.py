"""Admission: how many requests may hold a thread for long at the same time, in all and of one client.

A thread is held for as long as a client sends a body or takes a streamed answer, and the runner cannot time out either.
A hundred clients that stall would otherwise stop everyone else. So some threads are always left for requests that end
by themselves, and no client gets all of the others. Whoever finds no room is told so at once (503, Retry-After):
waiting would hold a thread too.
"""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from prometheus_client import Counter, Gauge

from lockstep_store.runtime.tracing import request_id
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import Overloaded, to_problem

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
TurnAway = Callable[[Overloaded, Environ, StartResponse], Iterable[bytes]]

RESERVED_SHARE = 8
"""One thread in so many is never held by a body or a streamed answer."""

HELD = Gauge("lockstep_held_threads", "Threads held by clients that send a body or take a streamed answer")
TURNED_AWAY = Counter(
    "lockstep_turned_away_total", "Requests answered 503 at once because too many threads were held", ["by"]
)


class Bounds(NamedTuple):
    """How many places there are, and how many of them for one client."""

    total: int
    per_client: int


Counted = tuple[bool, str | None]
"""Whether only requests of the part count here, and whose; None for everybody's."""


class Admission:
    """Counts the threads each client holds. Thread-safe. Requests `in_part` also keep to the bounds of `part`."""

    def __init__(self, total: int, per_client: int, part: Bounds | None = None) -> None:
        self.total = total
        self.per_client = per_client
        self._part = part
        self._guard = threading.Lock()
        self._held: Counts[Counted] = Counts()

    def enter(self, client: str, in_part: bool = False) -> Pass:
        """A pass to be given back. Overloaded when there is no room for `client`, or for anyone."""
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
            TURNED_AWAY.labels("client").inc()
            raise Overloaded(
                f"{mine} uploads and downloads from the same address or program are under way here already; "
                "let some of them end first"
            )
        TURNED_AWAY.labels("total").inc()
        raise Overloaded("too many uploads and downloads are under way here; try again shortly, or use another proxy")

    def leave(self, counted: Iterable[Counted]) -> None:
        """One request that was counted there holds no thread any more."""
        with self._guard:
            for each in counted:
                self._held[each] -= 1
                if not self._held[each]:
                    del self._held[each]
        HELD.dec()

    @property
    def held(self) -> int:
        """How many threads are held now."""
        return self._held[False, None]


class Pass:
    """One request's place. Giving it back twice does nothing."""

    __slots__ = ("_admission", "_counted", "_held")

    def __init__(self, admission: Admission, counted: Iterable[Counted]) -> None:
        self._admission = admission
        self._counted = counted
        self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._admission.leave(self._counted)


class AdmissionGate:
    """A WSGI application in front of another one.

    `holds(environ)`: whether the request holds a thread while its body comes. `client(environ)`: whose request it is.
    Streamed answers are counted whatever `holds` says; answers in one piece leave their thread at once. `turn_away`
    makes the refusal, in the words of whichever protocol the request speaks. `in_part(environ)`: see Admission.
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
        try:
            if self._holds(environ):
                # The body of a request that is turned away is not read: that is what must not be waited for.
                place = self._admission.enter(self._client(environ), self._in_part(environ))
            answer = self._inner(environ, start_response)
            if not isinstance(answer, list):
                try:
                    return _HeldAnswer(answer, place or self._admission.enter(self._client(environ)))
                except Overloaded:
                    _close(answer)
                    raise
        except Overloaded as error:
            return self._turn_away(error, environ, start_response)
        except BaseException:
            if place is not None:
                place.give_back()
            raise
        if place is not None:
            place.give_back()
        return answer


class _HeldAnswer:
    """A streamed answer; its place is given back when it has ended, however it ends."""

    def __init__(self, answer: Iterable[bytes], place: Pass) -> None:
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
        """The runner has sent it, or the client went away."""
        self._place.give_back()
        _close(self._answer)

    def __del__(self) -> None:
        self._place.give_back()


def gate_for_people(
    wsgi: Wsgi, threads: int, long_polls: Collection[str] = (), turn_away: TurnAway | None = None
) -> AdmissionGate:
    """Before a proxy with so many threads: one address gets three quarters of them at most.

    That is more than 64 parts of an upload at a time from one workstation, and leaves something to everybody else.
    `long_polls`: paths that hold their thread without a body.
    """
    return AdmissionGate(
        wsgi,
        Admission(threads - threads // RESERVED_SHARE, max(1, threads * 3 // 4)),
        lambda environ: has_body(environ) or environ["PATH_INFO"] in long_polls,
        remote_address,
        turn_away,
    )


def gate_for_programs(wsgi: Wsgi, threads: int, stream_path: str) -> AdmissionGate:
    """Before a file server: streams to `stream_path`, of which one other program gets half of the threads at most.

    Those from proxies take half of the places, so that as many copies can come in from other file servers: a write that
    was taken by its master would otherwise fail at a replica that is full of masters' writes, which fail likewise.
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
    """Whether anything is to be read of a request before it can be answered."""
    length = environ.get("CONTENT_LENGTH")
    return (bool(length) and length != "0") or "HTTP_TRANSFER_ENCODING" in environ


def remote_address(environ: Environ) -> str:
    """The address a request came from, without its port."""
    address: str = environ.get("REMOTE_ADDR", "")
    host, colon, port = address.rpartition(":")
    return host if colon and port.isdigit() and (":" not in host or host.endswith("]")) else address


def calling_program(environ: Environ) -> str:
    """The role and id of the program that calls, as it says: mutual TLS has let it in, so it belongs to the cluster."""
    token: str = environ.get("HTTP_X_LOCKSTEP_PEER", "")
    return token.rpartition(".")[0] or remote_address(environ)


def _close(answer: Iterable[bytes]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        with suppress(Exception):
            close()


def turn_away_with_problem(error: Overloaded, _: Environ, start_response: StartResponse) -> list[bytes]:
    """The refusal as problem JSON, as every door but S3 speaks."""
    body = encode(to_problem(error, request_id()))
    start_response(
        f"{error.status} -",
        [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body))), ("Retry-After", "1")],
    )
    return [body]
