"""Blocks threads that wait for a lock or a change, and wakes the right ones.

It decides and stores nothing: a woken caller reads the outcome of its request from the metadata.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WaitingCallers:
    """Blocks at most `limit` threads, so that waiting never takes every thread of the program."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._closed = False
        self._events: dict[tuple[str, str], list[threading.Event]] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def place(self, key: tuple[str, str]) -> Iterator[threading.Event | None]:
        """An event that `wake(key)` sets; None when too many callers wait, or the directory is stopping."""
        event = threading.Event()
        with self._mutex:
            if self._count >= self._limit or self._closed:
                event = None  # type: ignore[assignment]
            else:
                self._count += 1
                self._events.setdefault(key, []).append(event)
        try:
            yield event
        finally:
            if event is not None:
                with self._mutex:
                    self._count -= 1
                    self._events[key].remove(event)
                    if not self._events[key]:
                        del self._events[key]

    def wake(self, key: tuple[str, str]) -> None:
        """Wake every caller that waits for `key`."""
        with self._mutex:
            for event in self._events.get(key, ()):
                event.set()

    def close(self) -> None:
        """Refuse new callers, and wake all others for a last look at their outcome."""

        with self._mutex:
            self._closed = True
            for events in self._events.values():
                for event in events:
                    event.set()

    @property
    def count(self) -> int:
        """How many callers wait now."""
        return self._count

    @property
    def closed(self) -> bool:
        return self._closed
