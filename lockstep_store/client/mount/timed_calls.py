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

DEADLINE_SECONDS = 10.0
REFUSING_SECONDS = 2.0
"""After a request without a reply, others are refused at once for this time: a listing asks for many files."""
REQUESTS = 16
FETCHES = 6

P = ParamSpec("P")
T = TypeVar("T")


class TimedCalls:
    """Two pools: one for requests that come back at once, one for content, which may take its time."""

    def __init__(
        self, *, deadline_seconds: float = DEADLINE_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._refused_until = float("-inf")
        self._requests = ThreadPoolExecutor(REQUESTS, "mount-request")
        self._fetches = ThreadPoolExecutor(FETCHES, "mount-fetch")

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns. PeerUnreachable after the deadline, or shortly after another one's."""
        self.check_reachable()
        return self.wait(self._requests.submit(call, *args, **kwargs))

    def fetch(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin to fetch content; `wait` for parts of it."""
        self.check_reachable()
        return self._fetches.submit(call, *args, **kwargs)

    def wait(self, future: Future[T], progress: Callable[[], int] = lambda: 0) -> T:
        """Return the result. PeerUnreachable if it does not come, and `progress` does not change, for the deadline."""
        while True:
            before = progress()
            try:
                return future.result(self._deadline)
            except TimeoutError:
                if progress() != before:
                    continue
                self._refuse()
                raise PeerUnreachable(f"the proxy did not answer within {self._deadline:.0f} s") from None
            except PeerUnreachable as error:
                if error.facts.get("unsent") or error.facts.get("final"):  # a lost connection alone may be tried again
                    self._refuse()
                raise

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

    def _refuse(self) -> None:
        self._refused_until = self._monotonic() + REFUSING_SECONDS
