"""Exponential back-off between retries."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

JITTER: Callable[[], float] = random.SystemRandom().random
"""Uniform from 0 to 1, from the system: retries in the background must not advance one that was seeded."""


def pause_after(
    failures: int, first: float, longest: float = math.inf, jitter: Callable[[], float] | None = None
) -> float:
    """Return the seconds to wait after `failures` failures in a row: `first`, doubled each time, at most `longest`.

    `jitter` returns uniform random numbers from 0 to 1; the pause is then half to one and a half times as long. Without
    it, all callers retry in one wave after an outage.
    """
    pause = min(longest, first * 2.0 ** min(max(failures - 1, 0), 60))
    return pause if jitter is None else pause * (0.5 + jitter())
