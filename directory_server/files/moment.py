"""The time of a transaction, by each clock that its decisions use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class WallClock(Protocol):
    """Seconds since 1970, for display and for conditions of policies."""

    def wall(self) -> float: ...


class MomentClock(Protocol):
    """The clocks of a `Moment`; `calendar` is wall time that nobody can put forward."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def calendar(self) -> float: ...


@dataclass(frozen=True)
class Moment:
    """A moment: `at` is wall time, for display; directory `time` decides; `calendar` decides about dates.

    See object_lock for the calendar. With a calendar of 0 no date has passed.
    """

    at: float
    time: float
    calendar: float = 0.0

    @classmethod
    def of(cls, clock: MomentClock) -> Moment:
        return cls(clock.wall(), clock.now(), clock.calendar())
