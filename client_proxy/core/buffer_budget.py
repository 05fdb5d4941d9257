"""How much memory all transfers of a proxy may use together for windows and read-ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULT_BUDGET_BYTES = 32 * 1024 * 1024
LARGEST_SHARE = 4
"""One in so many of the bytes that are left: those who come later shall not find nothing."""


class BufferBudget:
    """Grants shares of a fixed number of bytes, and less (down to nothing) when it runs short.

    Nobody ever waits for a share: a transfer without one works chunk by chunk. Waiting instead would let a few
    clients that read slowly stop everyone else.
    """

    def __init__(self, total: int = DEFAULT_BUDGET_BYTES) -> None:
        self._left = total
        self._guard = threading.Lock()

    @contextmanager
    def share(self, wanted: int) -> Iterator[int]:
        """Hold up to `wanted` bytes inside the block; the value is how many were granted."""
        with self._guard:
            granted = max(0, min(wanted, self._left // LARGEST_SHARE))
            self._left -= granted
        try:
            yield granted
        finally:
            with self._guard:
                self._left += granted
