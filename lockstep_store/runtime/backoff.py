"""Exponential back-off: how long to wait before the next try."""

from __future__ import annotations

import math
from collections.abc import Callable


def pause_after(
    failures: int, first: float, longest: float = math.inf, jitter: Callable[[], float] | None = None
) -> float:
    """Seconds to wait after `failures` failures in a row: `first`, doubled each time, at most `longest`.

    `jitter` gives numbers from 0 to 1, evenly spread; the pause is then half to one and a half times as long. Without
    it, all the callers that an outage gathered come back in one wave.
    """
    pause = min(longest, first * 2.0 ** min(max(failures - 1, 0), 60))
    return pause if jitter is None else pause * (0.5 + jitter())
