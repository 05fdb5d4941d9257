"""Detects a disk that hangs: it neither completes nor fails a flush, as dying disks may for minutes.

The server's network still works, so nobody else can tell it from a busy one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

HANGING_SECONDS = 5.0
"""A flush that takes longer counts as hanging: by then masters give up waiting for a small write."""
HANGING_LOOKS = 5
"""It must also be pending in more than so many looks: a program that was paused finds that time has passed."""


class _UnderWay:
    __slots__ = ("looks", "since")

    def __init__(self) -> None:
        self.looks = 0
        self.since = 0.0


class FlushWatch:
    """The disk operations that are pending. Thread-safe; `hangs` is for one thread."""

    def __init__(self) -> None:
        self._under_way: dict[_UnderWay, None] = {}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Watch the block: it waits for the disk."""
        one = _UnderWay()
        self._under_way[one] = None
        try:
            yield
        finally:
            del self._under_way[one]

    def hangs(self, now: float) -> bool:
        """Return whether an operation is pending for too long at `now`, in seconds. Call it once a second."""
        found = False
        for one in list(self._under_way):
            if not one.looks:
                one.since = now
            one.looks += 1
            found |= one.looks > HANGING_LOOKS and now - one.since >= HANGING_SECONDS
        return found
