"""Directory time: the count of seconds that decides when leases and tickets end.

It is the value saved before the last stop plus the machine's monotonic seconds since this start. So setting the wall
clock changes nothing, and the time that the directory was down does not count. The value is saved in transactions that
are written anyway, and every few seconds when there are none.
"""

from __future__ import annotations

from collections.abc import Callable

from directory_server.metadata.statements import people
from directory_server.metadata.store import Reader, Tx
from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.crash_points import crash_point

SAVE_SECONDS = 1.0
MAX_UNSAVED_SECONDS = 5.0
TIME_SETTING = "directory_time"


class DirectoryClock:
    """Directory time, continuing from `saved` seconds (0: the first start).

    A crash loses at most `MAX_UNSAVED_SECONDS`, so the clock starts that much after what was saved. It must never go
    back: a ticket from before the crash would outlive the time that the collector waits for it. Leases do not depend
    on it (see LockManager.start).
    """

    def __init__(self, clock: Clock, saved: float = 0.0) -> None:
        self._clock = clock
        self._started_at = saved + MAX_UNSAVED_SECONDS if saved else 0.0
        self._offset = self._started_at - clock.monotonic()
        self._saved = saved
        self._wall_at_start = clock.wall()

    def now(self) -> float:
        """Directory time in seconds; only ever rises while the directory runs."""
        return self._offset + self._clock.monotonic()

    def since_start(self) -> float:
        """Seconds since this directory started."""
        return self.now() - self._started_at

    def wall(self) -> float:
        """Return seconds since 1970, for display and date conditions. No lock, lease or ticket depends on it."""
        return self._clock.wall()

    def calendar(self) -> float:
        """Return the wall clock, but never ahead of the seconds that have passed since this start.

        So setting the clock forward changes nothing until the next start; setting it back does.
        """
        return min(self._clock.wall(), self._wall_at_start + self.since_start())

    def must_be_saved(self) -> bool:
        """Whether to save the time in a transaction of its own, because nothing else was written for some time."""
        return self.now() - self._saved >= MAX_UNSAVED_SECONDS - 2 * SAVE_SECONDS

    def save_in(self, tx: Tx) -> None:
        """Save the time in a transaction; see `save`."""
        self.save(lambda now: write_time(tx, now))

    def save(self, write: Callable[[float], None]) -> None:
        """Save the time with `write`, inside a transaction, unless it was saved less than a second ago.

        If the transaction fails afterwards, the next one saves the time a second later.
        """
        now = self.now()
        if now - self._saved >= SAVE_SECONDS:
            write(now)
            crash_point("directory.clock.saved")
            self._saved = now


def read_time(reader: Reader) -> float:
    """Return the saved time; 0 before the first start."""
    return float(people.read_setting(reader, TIME_SETTING) or 0.0)


def write_time(tx: Tx, now: float) -> None:
    """Save the time now, whenever it was saved last."""
    people.write_setting(tx, TIME_SETTING, repr(now))
