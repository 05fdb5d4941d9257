"""Chunks without a blob: how long each has been one, and which an upload under way counts on all the same."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from lockstep_store.wire.digest import Digest


class UnusedChunks:
    """Their grace periods, by `monotonic` seconds. Thread-safe.

    In memory on purpose: after a restart every grace period begins again, so neither a wall clock nor the time spent
    stopped can end one.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[Digest, float] = {}
        self._pins: Counter[Digest] = Counter()
        self._guard = threading.Lock()

    def pin(self, digest: Digest) -> None:
        """Its grace period does not pass before as many calls of `unpin`."""
        with self._guard:
            self._pins[digest] += 1

    def unpin(self, digests: Iterable[Digest]) -> None:
        """One pin less for each."""
        with self._guard:
            for digest in digests:
                self._pins[digest] -= 1
                if self._pins[digest] <= 0:
                    del self._pins[digest]

    def put_off(self, digests: Iterable[Digest]) -> None:
        """Whoever asked about these may use them: their grace periods begin again."""
        if not self._since:
            return
        now = self._monotonic()
        with self._guard:
            for digest in digests:
                if digest in self._since:
                    self._since[digest] = now

    def due(self, unused: list[tuple[int, Digest]], grace_seconds: float) -> list[int]:
        """The ids among `unused`, all chunks without a blob now, for which that has been so for `grace_seconds`."""
        now = self._monotonic()
        with self._guard:
            self._since = {
                digest: now if digest in self._pins else self._since.get(digest, now) for _, digest in unused
            }
            return [id for id, digest in unused if now - self._since[digest] >= grace_seconds]
