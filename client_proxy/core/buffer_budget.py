"""Bounds the memory that all transfers of a proxy together use for windows and read-ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULT_BUDGET_BYTES = 32 * 1024 * 1024
LARGEST_SHARE = 4
"""A share is at most this fraction (1/4) of the bytes left, so later transfers also get some."""


class BufferBudget:
    """Grants shares of a fixed number of bytes: smaller ones, or none, when few are left.

    A transfer never waits for a share; without one it works chunk by chunk. If transfers waited, a few slow clients
    could stop all others.
    """

    def __init__(self, total: int = DEFAULT_BUDGET_BYTES) -> None:
        self._left = total
        self._guard = threading.Lock()

    @contextmanager
    def share(self, wanted: int) -> Iterator[int]:
        """Hold up to `wanted` bytes inside the `with` block. Its value is the number of bytes granted."""
        with self._guard:
            granted = max(0, min(wanted, self._left // LARGEST_SHARE))
            self._left -= granted
        try:
            yield granted
        finally:
            with self._guard:
                self._left += granted
