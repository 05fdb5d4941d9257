"""Bounds the bytes of whole answers in the runner's memory, in all and for each client.

The runner keeps what it was given until the client has read it. Without a bound, clients that ask and do not read fill
the memory. An answer without room is streamed, which keeps little of it but occupies a thread.
"""

from __future__ import annotations

import threading
from collections import Counter as Counts

from prometheus_client import Gauge

TOTAL_BYTES = 64 * 1024 * 1024
CLIENT_BYTES = 32 * 1024 * 1024

IN_FLIGHT = Gauge("lockstep_answer_bytes_in_flight", "Bytes of whole answers that clients have not read yet")


class AnswerBytes:
    """Thread-safe."""

    def __init__(self, total: int = TOTAL_BYTES, per_client: int = CLIENT_BYTES) -> None:
        self._total = total
        self._per_client = per_client
        self._guard = threading.Lock()
        self._taken = 0
        self._by_client: Counts[str] = Counts()

    @property
    def taken(self) -> int:
        return self._taken

    def take(self, client: str, size: int) -> bool:
        """Whether there is room for `size` bytes to `client`, which then are taken."""
        with self._guard:
            if self._taken + size > self._total or self._by_client[client] + size > self._per_client:
                return False
            self._taken += size
            self._by_client[client] += size
        IN_FLIGHT.inc(size)
        return True

    def give_back(self, client: str, size: int) -> None:
        with self._guard:
            self._taken -= size
            self._by_client[client] -= size
            if not self._by_client[client]:
                del self._by_client[client]
        IN_FLIGHT.dec(size)
