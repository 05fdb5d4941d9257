"""Tracks chunks without a blob: since when each has had none, and which of them an upload still needs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from lockstep_store.wire.digest import Digest


class UnusedChunks:
    """Counts the grace periods, in `monotonic` seconds. Thread-safe.

    Kept in memory on purpose: a restart begins every grace period again, so neither a wall clock nor downtime can end
    one.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[Digest, float] = {}
        self._pins: Counter[Digest] = Counter()
        self._guard = threading.Lock()

    def pin(self, digest: Digest) -> None:
        """Stop a chunk's grace period until as many calls of `unpin`."""
        with self._guard:
            self._pins[digest] += 1

    def unpin(self, digests: Iterable[Digest]) -> None:
        """Undo one `pin` of each chunk."""
        with self._guard:
            for digest in digests:
                self._pins[digest] -= 1
                if self._pins[digest] <= 0:
                    del self._pins[digest]

    def put_off(self, digests: Iterable[Digest]) -> None:
        """Begin the grace periods of these chunks again: a write may count on them."""
        if not self._since:
            return
        now = self._monotonic()
        with self._guard:
            for digest in digests:
                if digest in self._since:
                    self._since[digest] = now

    def due(self, unused: list[tuple[int, Digest]], grace_seconds: float) -> list[int]:
        """Return the ids in `unused` (all chunks without a blob now) that have had none for `grace_seconds`."""
        now = self._monotonic()
        with self._guard:
            self._since = {
                digest: now if digest in self._pins else self._since.get(digest, now) for _, digest in unused
            }
            return [id for id, digest in unused if now - self._since[digest] >= grace_seconds]
