"""Times that were promised to people, watched on a machine that may be busy with something else."""

from __future__ import annotations

from collections.abc import Callable

TRIES = 3


class TooSlow(AssertionError):
    """What was right, but late."""


def check_time(seconds: float, promised: float, what: str) -> None:
    """Raise TooSlow for what took longer than was promised."""
    if seconds >= promised:
        raise TooSlow(f"{what} took {seconds:.2f} s, and {promised:g} s are promised")


def in_time_once(attempt: Callable[[int], None]) -> None:
    """Attempt it up to three times, with the number of the try, until it is in time. Only lateness is forgiven: what
    is late for a reason of its own is late each time."""
    for number in range(TRIES):
        try:
            return attempt(number)
        except TooSlow as late:
            if number == TRIES - 1:
                raise
            print(f"try {number + 1}: {late}")
