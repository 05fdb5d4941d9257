"""Shares of a program's threads: what proxies ask for on behalf of people cannot occupy the threads of anything else.

A flood of requests reaches the directory and the file servers through the proxies. If it could occupy every thread,
heartbeats and commits would wait behind it, and the cluster would take healthy file servers for dead ones.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from lockstep_store.runtime.http.admission import TURNED_AWAY
from lockstep_store.wire.errors import Overloaded

WAIT_SECONDS = 4.0
"""How long a request waits for its turn: less than a proxy's time-out, so that the proxy gets the reason. A read that
another file server can serve goes there sooner."""


class ThreadShare:
    """At most `running` requests of one kind at a time, and `waiting` more that wait for their turn. Thread-safe.

    A waiting request occupies a thread, too. The line is for bursts: more of them at a time would only compete for the
    interpreter.
    """

    def __init__(self, running: int, waiting: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self.threads = running + waiting
        """The most threads that this share ever occupies."""
        self.free = running
        """How many more may begin at once."""
        self.in_line = 0
        self._longest_line = waiting
        self._wait_seconds = wait_seconds
        self._guard = threading.Lock()  # every call takes it, and a Condition's own `with` costs three times as much
        self._turn = threading.Condition(self._guard)

    def enter(self) -> None:
        """Occupy a thread until `leave`. Overloaded when too many wait already, or the wait took too long."""
        with self._guard:
            if self.free or self._wait():
                self.free -= 1
                return
        TURNED_AWAY.labels("share").inc()
        raise Overloaded("too many requests are in progress, so nothing was done: retry shortly")

    def _wait(self) -> bool:
        """Whether the request's turn came. The caller holds `_guard`."""
        if self.in_line == self._longest_line:
            return False
        self.in_line += 1
        try:
            return self._turn.wait_for(lambda: self.free, self._wait_seconds) > 0
        finally:
            self.in_line -= 1

    def leave(self) -> None:
        """Let the next request run."""
        with self._guard:
            self.free += 1
            if self.in_line:
                self._turn.notify()


class StreamPlace:
    """The thread that a streamed reply occupies until it is sent. Giving it back again does nothing."""

    def __init__(self, share: ThreadShare) -> None:
        self._share = [share]

    @property
    def held(self) -> bool:
        return bool(self._share)

    def give_back(self) -> None:
        with suppress(IndexError):  # `pop` decides between threads that do it at the same moment
            self._share.pop().leave()
