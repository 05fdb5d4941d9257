"""Notices a disk that hangs: one that neither ends a flush nor fails it, as dying disks do for minutes.

The network of such a server works on, so nobody else can tell it from one that is only busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

HANGING_SECONDS = 5.0
"""A flush that was under way for so long counts as hanging: others give up waiting for a small write by then."""
HANGING_LOOKS = 5
"""And for so many looks: a program that was stopped finds that time has passed, not that its disk hangs."""


class _UnderWay:
    __slots__ = ("looks", "since")

    def __init__(self) -> None:
        self.looks = 0
        self.since = 0.0


class FlushWatch:
    """What has been asked of the disk and is not answered yet. Thread-safe; `hangs` is for one thread."""

    def __init__(self) -> None:
        self._under_way: dict[_UnderWay, None] = {}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block waits for the disk."""
        one = _UnderWay()
        self._under_way[one] = None
        try:
            yield
        finally:
            del self._under_way[one]

    def hangs(self, now: float) -> bool:
        """Whether something has been under way for too long; to be asked about once a second, `now` in seconds."""
        found = False
        for one in list(self._under_way):
            if not one.looks:
                one.since = now
            one.looks += 1
            found |= one.looks > HANGING_LOOKS and now - one.since >= HANGING_SECONDS
        return found
