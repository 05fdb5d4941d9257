"""Waits for what another thread or program does, for as long as it takes and no longer than a test may last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 90.0
"""For what must come, however slow the machine: waiting costs nothing when it comes. A test may last 900 s."""
LOOK_SECONDS = 0.005

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    seconds: float = PATIENCE_SECONDS,
    what: str = "the condition",
    look_seconds: float = LOOK_SECONDS,
) -> T:
    """What `condition` returns as soon as it is true; fails the test after `seconds`.

    `look_seconds`: the pause between two looks, longer where a look costs what is waited for its processor time.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:g} s (last: {value!r})"
        time.sleep(look_seconds)
