"""Time as an argument: rules read a `Clock`, and tests pass one that they can move."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks that must never be mixed up."""

    def monotonic(self) -> float:
        """Seconds that never go back. All decisions use them."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, for people to read. They may jump, so no decision uses them."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


def seconds_since_boot() -> float:
    """Seconds that never go back, and that go on while the machine sleeps, which `time.monotonic` need not do."""
    return time.clock_gettime(_NEVER_STANDS_STILL)


_NEVER_STANDS_STILL = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
