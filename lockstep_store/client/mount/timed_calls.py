"""Makes requests for the kernel's threads, and answers within a deadline.

The kernel's threads are not Python's: each call back into Python would open a connection of its own. So requests run
in threads that stay. A program that waits for the mount cannot be interrupted, so no answer may take for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from lockstep_store.wire.errors import PeerUnreachable

REFUSING_SECONDS = 2.0
"""After a request without a reply, others are refused at once for this time: a listing asks for many files."""
REQUESTS = 16
FETCHES = 6
SAVES = 8
LINES = 64
"""For how many locks programs can wait at a time."""

P = ParamSpec("P")
T = TypeVar("T")


class TimedCalls:
    """Four pools: for requests that come back at once, for content that is read, for saves, and for waiting in line."""

    def __init__(self, *, deadline_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._refused_until = float("-inf")
        self._requests = ThreadPoolExecutor(REQUESTS, "mount-request")
        self._fetches = ThreadPoolExecutor(FETCHES, "mount-fetch")
        self._saves = ThreadPoolExecutor(SAVES, "mount-save")
        self._lines = ThreadPoolExecutor(LINES, "mount-line")

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns. PeerUnreachable after the deadline, or shortly after another one's."""
        return self.wait(self.begin(call, *args, **kwargs))

    def fetch(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin to fetch content; `wait` for parts of it."""
        self.check_reachable()
        return self._fetches.submit(call, *args, **kwargs)

    def save(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns, which has a deadline of its own: a save under way must not go on unseen."""
        return self._saves.submit(call, *args, **kwargs).result()

    def wait_in_line(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin what may wait for others for any time."""
        self.check_reachable()
        return self._lines.submit(call, *args, **kwargs)

    def begin(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin a request; `wait` for its result."""
        self.check_reachable()
        return self._requests.submit(call, *args, **kwargs)

    def wait(self, future: Future[T], progress: Callable[[], int] = lambda: 0) -> T:
        """Return the result. PeerUnreachable if it does not come, and `progress` does not change, for the deadline."""
        while True:
            before = progress()
            try:
                return future.result(self._deadline)
            except TimeoutError:
                if progress() != before:
                    continue
                self.give_up_after(self._deadline)
            except PeerUnreachable as error:
                if error.facts.get("unsent") or error.facts.get("final"):  # a lost connection alone may be tried again
                    self._refuse()
                raise

    def give_up_after(self, seconds: float) -> None:
        """Raise PeerUnreachable if a request that has taken so long should have been answered."""
        if seconds >= self._deadline:
            self._refuse()
            raise PeerUnreachable(f"the proxy did not answer within {self._deadline:.0f} s")

    def check_reachable(self) -> None:
        """Raise PeerUnreachable if the proxy did not answer a moment ago."""
        if self._monotonic() < self._refused_until:
            raise PeerUnreachable("the proxy did not answer a moment ago", repeated=True)

    def note_reachable(self) -> None:
        """Refuse nothing more: the proxy has answered."""
        self._refused_until = float("-inf")

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._requests.shutdown(wait=False, cancel_futures=True)
        self._fetches.shutdown(wait=False, cancel_futures=True)
        self._lines.shutdown(wait=False, cancel_futures=True)
        self._saves.shutdown(wait=True)

    def _refuse(self) -> None:
        self._refused_until = self._monotonic() + REFUSING_SECONDS
