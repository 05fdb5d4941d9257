"""Waits for clients: which requests wait for their client to send or to read, and when such a client is cut off.

A client that stalls keeps a thread, a place or memory. One that is too slow is cut off by closing its connection. When
places are needed, clients that have stalled for a moment are cut off at once, anonymous ones first.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from prometheus_client import Counter

from lockstep_store.runtime.tracing import log

STALL_SECONDS = 20.0
"""A client that sends or reads nothing for this long is cut off."""
ANONYMOUS_STALL_SECONDS = 10.0
"""The same for a body without a credential."""
MIN_BYTES_PER_SECOND = 1024
"""A client that is slower than this on average, after STALL_SECONDS of waiting for it, is cut off."""
MIN_ANSWER_BYTES_PER_SECOND = 16 * 1024
"""The same for a whole answer in the runner's memory, whose progress is not visible."""
EVICT_SECONDS = 2.0
"""When places are needed, a client that has stalled for this long loses its own."""
EVICTION_PAUSE_SECONDS = 0.05
EVICTION_PAUSE_SHARE = 10
"""With thousands of connections, finding one takes a tenth of a second: the pause is this many times as long."""
CHECK_SECONDS = 1.0

CUT_OFF = Counter("lockstep_cut_off_clients_total", "Connections closed because the client was too slow", ["while"])


class HeldPlace(Protocol):
    """What a request holds for its client; see `admission.Pass`."""

    @property
    def held(self) -> bool: ...
    def give_back(self) -> None: ...


def _nothing() -> None:
    pass


class ClientWait:
    """One request's waits for its client. `cancel` ends the present wait where the connection cannot be closed."""

    __slots__ = ("_cancel", "anonymous", "client", "deadline", "moved", "peer", "place", "port", "since", "waited")

    def __init__(self, client: str, peer: tuple[str, int], port: int, anonymous: bool) -> None:
        self.client = client
        self.peer = peer
        self.port = port
        self.anonymous = anonymous
        self.place: HeldPlace | None = None
        self.since = 0.0
        self.waited = 0.0
        self.moved = 0
        self.deadline: float | None = None
        self._cancel: Callable[[], object] = _nothing

    def begin(self, cancel: Callable[[], object] = _nothing) -> None:
        """The wait begins."""
        self.since, self._cancel = time.monotonic(), cancel

    def end(self) -> None:
        """The wait is over. What the client sent or took is added to `moved`."""
        # The message that was waited for keeps its callback, and with it the request, for as long as it exists itself.
        self._cancel = _nothing
        self.waited += time.monotonic() - self.since
        if self.waited > STALL_SECONDS and self.moved >= self.waited * MIN_BYTES_PER_SECOND:
            # Otherwise a client that was fast once could be slow for hours.
            self.waited, self.moved = 0.0, 0

    def is_too_slow(self, now: float) -> bool:
        if self.deadline is not None:
            return now > self.deadline
        idle = now - self.since
        if idle > (ANONYMOUS_STALL_SECONDS if self.anonymous else STALL_SECONDS):
            return True
        waited = self.waited + idle
        return waited > STALL_SECONDS and self.moved < waited * MIN_BYTES_PER_SECOND

    def give_up(self) -> None:
        """End the wait where its connection could not be closed, and give the place back."""
        self._cancel()
        if self.place is not None:
            self.place.give_back()


class ClientWaits:
    """The waits of one listener. Thread-safe; adding and removing take no lock."""

    def __init__(self) -> None:
        self._bodies: set[ClientWait] = set()
        self._answers: set[ClientWait] = set()
        self._evicting = threading.Lock()
        self._next_eviction = 0.0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to cut off slow clients."""
        threading.Thread(target=self._run, name="slow clients", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def bodies(self) -> int:
        """How many requests wait for their body now."""
        return len(self._bodies)

    def body_awaited(self, wait: ClientWait) -> None:
        self._bodies.add(wait)

    def body_came(self, wait: ClientWait) -> None:
        self._bodies.discard(wait)

    def answer_awaited(self, wait: ClientWait) -> None:
        self._answers.add(wait)

    def answer_taken(self, wait: ClientWait) -> None:
        self._answers.discard(wait)

    def step(self) -> None:
        """Cut off every client that is too slow."""
        now = time.monotonic()
        for waits, doing in ((self._bodies, "sending"), (self._answers, "reading")):
            self._cut([wait for wait in list(waits) if wait.is_too_slow(now)], doing)

    def evict(self, client: str | None = None) -> bool:
        """Cut off the client, or this client's request, that has stalled longest while it held a place.

        False when none has stalled for EVICT_SECONDS, and for a moment after each time: finding a connection costs.
        """
        now = time.monotonic()
        stalled = [
            (not wait.anonymous, wait.since, doing, wait)
            for waits, doing in ((self._bodies, "sending"), (self._answers, "reading"))
            for wait in list(waits)
            if wait.place is not None and wait.place.held
            if wait.since < now - EVICT_SECONDS and client in (None, wait.client)
        ]
        if not stalled:
            return False
        with self._evicting:
            if now < self._next_eviction:
                return False
            self._next_eviction = now + EVICTION_PAUSE_SECONDS
        _, _, doing, victim = min(stalled, key=lambda item: item[:2])
        self._cut([victim], doing)
        taken = time.monotonic() - now
        self._next_eviction = now + max(EVICTION_PAUSE_SECONDS, taken * EVICTION_PAUSE_SHARE)
        return True

    def _cut(self, victims: list[ClientWait], doing: str) -> None:
        """Close these clients' connections, which ends their waits."""
        if not victims:
            return
        for port in {wait.port for wait in victims}:
            close_connections({wait.peer for wait in victims if wait.port == port}, port)
        for wait in victims:
            self._bodies.discard(wait)
            self._answers.discard(wait)
            CUT_OFF.labels(doing).inc()
            log.info("closed a connection of %s: too slow while %s", wait.client, doing)
            wait.give_up()

    def _run(self) -> None:
        while not self._stopped.wait(CHECK_SECONDS):
            try:
                self.step()
            except Exception:  # noqa: BLE001 - the next check must come
                log.exception("cutting off slow clients failed")


def close_connections(peers: set[tuple[str, int]], port: int) -> int:
    """Shut down this process's connections between `port` and `peers`, and return how many were found.

    The runner owns the sockets and cannot be asked to close them; a copy of a descriptor can. The copy also keeps the
    number from being given to another connection between the look and the shutdown.
    """
    wanted: dict[int, set[object]] = {}
    for address, number in peers:
        wanted.setdefault(number, set()).add(ipaddress.ip_address(address))
    closed = 0
    try:
        descriptors = [int(entry.name) for entry in os.scandir("/proc/self/fd")]
    except OSError:
        return 0
    for descriptor in descriptors:
        look = None
        try:
            look = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
            if _is_between(look, port, wanted):
                with socket.socket(fileno=os.dup(descriptor)) as copy:
                    if _is_between(copy, port, wanted):
                        copy.shutdown(socket.SHUT_RDWR)
                        closed += 1
        except (OSError, ValueError):
            continue  # no connection, or one that is over
        finally:
            if look is not None:
                look.detach()
    return closed


def _is_between(connection: socket.socket, port: int, wanted: Mapping[int, Collection[object]]) -> bool:
    peer = connection.getpeername()
    # Most connections have another port, and parsing an address takes longer than all the rest.
    if not isinstance(peer, tuple) or peer[1] not in wanted:
        return False
    return connection.getsockname()[1] == port and ipaddress.ip_address(peer[0]) in wanted[peer[1]]
