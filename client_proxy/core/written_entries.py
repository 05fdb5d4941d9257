"""Chunks and manifests that this proxy has just written, on their way to the cache's disk.

A write must not wait for that disk, so a thread of its own stores them. They can be read meanwhile. What does not fit
is not cached: then it is read from a file server, like anything else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from lockstep_store.wire.digest import Digest

Kind = Literal["chunks", "manifests"]
Key = tuple[Kind, Digest]

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Beside what uploads may hold: some twenty chunks."""
IDLE_SECONDS = 5.0
"""How long the thread stays alive with nothing to do."""


class WrittenEntries:
    """Thread-safe. `store` puts one entry on the disk, and never raises."""

    def __init__(self, store: Callable[[Key, bytes], None], max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._waiting: dict[Key, bytes] = {}
        self._bytes = 0
        self._condition = threading.Condition()
        self._running = False

    def __contains__(self, key: Key) -> bool:
        return key in self._waiting

    def get(self, key: Key) -> bytes | None:
        """The entry, while it waits."""
        return self._waiting.get(key)

    def add(self, key: Key, data: bytes | memoryview) -> None:
        """Take a verified entry, unless too much is waiting. Never waits."""
        with self._condition:
            if key in self._waiting or self._bytes + len(data) > self._max_bytes:
                return
            self._waiting[key] = bytes(data)
            self._bytes += len(data)
            if self._running:
                self._condition.notify()
                return
            self._running = True
        threading.Thread(target=self._run, name="cache-writer", daemon=True).start()

    def drain(self) -> None:
        """Wait until everything is stored."""
        with self._condition:
            self._condition.wait_for(lambda: not self._waiting)

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._waiting and not self._condition.wait_for(lambda: bool(self._waiting), IDLE_SECONDS):
                    self._running = False
                    return
                key, data = next(iter(self._waiting.items()))
            self._store(key, data)
            with self._condition:
                del self._waiting[key]
                self._bytes -= len(data)
                if not self._waiting:
                    self._condition.notify_all()
