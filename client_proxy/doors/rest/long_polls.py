"""Long polls: requests that wait at the directory for something to happen, each keeping a thread of the proxy's.

Their number is bounded, and each wait is made of steps, so that a proxy which is told to stop answers soon.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

STEP_SECONDS = 2.0
"""A wait is asked of the directory in steps of this length, so that a proxy told to stop answers within one."""


class LongPolls:
    """The requests of one kind that wait, at most `at_most` at one time. Thread-safe."""

    def __init__(self, at_most: int) -> None:
        self._places = threading.BoundedSemaphore(at_most)
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """From now on no step is longer than nothing."""
        self._stopping.set()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether one more may wait, for as long as the block lasts."""
        found = self._places.acquire(blocking=False)
        try:
            yield found
        finally:
            if found:
                self._places.release()

    def step(self, seconds_left: float) -> float:
        """How many of the seconds left the directory is to keep the next call; none when the proxy stops."""
        return 0.0 if self.stopping else max(0.0, min(seconds_left, STEP_SECONDS))

    def pause(self, seconds: float) -> None:
        """Sleep, but not on when the proxy stops."""
        self._stopping.wait(seconds)
