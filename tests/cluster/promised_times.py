"""Times that were promised to people, watched on a machine that may be busy with something else."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 5
PAUSE_SECONDS = 1.0
"""Before the second try, and doubled with each: whatever keeps the machine busy shall have come to its end."""


class TooSlow(AssertionError):
    """What was right, but late."""


def check_time(seconds: float, promised: float, what: str) -> None:
    """Raise TooSlow for what took longer than was promised."""
    if seconds >= promised:
        raise TooSlow(f"{what} took {seconds:.2f} s, and {promised:g} s are promised")


def in_time_once(attempt: Callable[[int], None]) -> None:
    """Attempt it some times, with the number of the try, until it is in time. Only lateness is forgiven: what is late
    for a reason of its own is late each time."""
    for number in range(TRIES):
        try:
            return attempt(number)
        except TooSlow as late:
            if number == TRIES - 1:
                raise
            print(f"try {number + 1}: {late}")
            time.sleep(PAUSE_SECONDS * 2**number)
