"""Callers on hold: threads that wait for a lock, and waking the right ones.

Nothing is decided here and nothing is kept: a woken caller looks at the store for what has become of its request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CallersOnHold:
    """At most `limit` threads, so that waiting never takes every thread of the program."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._closed = False
        self._events: dict[tuple[str, str], list[threading.Event]] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def place(self, key: tuple[str, str]) -> Iterator[threading.Event | None]:
        """An event that `wake(key)` sets; None when too many wait already or the directory is stopping."""
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
        with self._mutex:
            for event in self._events.get(key, ()):
                event.set()

    def close(self) -> None:
        """Nobody waits from now on; those who do are woken to look a last time."""
        with self._mutex:
            self._closed = True
            for events in self._events.values():
                for event in events:
                    event.set()

    @property
    def closed(self) -> bool:
        return self._closed
