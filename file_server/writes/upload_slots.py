"""Bounds the large uploads that are received at a time, and so the memory of their buffers.

An upload whose sender falls silent loses its slot after a while, and goes on without one if it continues: a machine
that lost power, which causes no error here, must not block other uploads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.errors import Overloaded

MASTER_SLOTS = 8
REPLICA_SLOTS = 12
"""Counted separately: masters that wait for each other's replica slots with their own held would deadlock."""
WAIT_SECONDS = 40.0
"""Shorter than a sender's time-out for one operation (60 s), so that it gets the reason."""
SILENT_SECONDS = 30.0


class UploadSlot:
    """One upload's slot."""

    __slots__ = ("_clock", "last_frame_at")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last_frame_at = clock.monotonic()

    def frame_arrived(self) -> None:
        """Record that the sender is alive. Call it for every frame."""
        self.last_frame_at = self._clock.monotonic()


class UploadSlots:
    """The slots for uploads of one kind. Thread-safe."""

    def __init__(
        self,
        clock: Clock,
        slots: int = MASTER_SLOTS,
        wait_seconds: float = WAIT_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._clock = clock
        self._slots = slots
        self._wait_seconds = wait_seconds
        self._silent_seconds = silent_seconds
        self._taken: set[UploadSlot] = set()
        self._changed = threading.Condition()

    @contextmanager
    def slot(self) -> Iterator[UploadSlot]:
        """Wait for a slot and hold it for the block. Overloaded if none becomes free in time."""
        slot = UploadSlot(self._clock)
        with self._changed:
            if not self._wait_for_room():
                raise Overloaded("this file server is receiving too many large uploads; try again shortly")
            slot.frame_arrived()
            self._taken.add(slot)
        try:
            yield slot
        finally:
            with self._changed:
                self._taken.discard(slot)
                self._changed.notify()

    def _wait_for_room(self) -> bool:
        deadline = self._clock.monotonic() + self._wait_seconds
        while not self._has_room():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            self._changed.wait(min(left, 1.0))  # a sender that falls silent notifies nobody
        return True

    def _has_room(self) -> bool:
        silent_since = self._clock.monotonic() - self._silent_seconds
        return sum(slot.last_frame_at > silent_since for slot in self._taken) < self._slots
