"""Time as an argument: rules ask a `Clock`, tests hand them one they can move."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks that must never be mixed up."""

    def monotonic(self) -> float:
        """Seconds that only ever rise; what every decision is made by."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, for people to read. It may jump; nothing is decided by it."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
