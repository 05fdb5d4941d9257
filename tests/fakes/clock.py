"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """Monotonic time starts at `start`; wall time is separate, so that a test can step it by an hour."""

    def __init__(self, start: float = 0.0, wall: float = 1_800_000_000.0) -> None:
        self._monotonic = start
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._monotonic += seconds
        self._wall += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forwards or back, as an administrator or NTP does."""
        self._wall += seconds
