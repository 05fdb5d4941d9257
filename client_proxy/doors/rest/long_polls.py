"""Bounds long polls: requests that wait at the directory and occupy a thread of the proxy.

Each wait is divided into steps, so that a proxy that stops can answer soon.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

STEP_SECONDS = 2.0
"""The longest step of a wait, and so the longest that a stopping proxy takes to answer."""


class LongPolls:
    """The waiting requests of one kind, at most `at_most`. Thread-safe."""

    def __init__(self, at_most: int) -> None:
        self._places = threading.BoundedSemaphore(at_most)
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Make all further steps end at once."""
        self._stopping.set()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take one of the places for the block. Yields whether there was one."""
        found = self._places.acquire(blocking=False)
        try:
            yield found
        finally:
            if found:
                self._places.release()

    def step(self, seconds_left: float) -> float:
        """The seconds that the next call to the directory waits; 0 when the proxy stops."""
        return 0.0 if self.stopping else max(0.0, min(seconds_left, STEP_SECONDS))

    def pause(self, seconds: float) -> None:
        """Sleep, or return at once when the proxy stops."""
        self._stopping.wait(seconds)
