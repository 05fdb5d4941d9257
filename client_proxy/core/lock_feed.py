"""Notices changes of the locks, with one waiting call at the directory for everybody who listens at this proxy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from client_proxy.core.directory_calls import Directory
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.locks import LOCK_CHANGES, LockChangesRequest

WAIT_SECONDS = 2.0
"""Of one call. It is also how long a call may go on for nobody after the last listener has left."""
NO_PLACE_PAUSE_SECONDS = 0.5
"""After an early reply without a change: the directory has no place left for waiting callers, or is stopping."""
FAILURE_PAUSE_SECONDS = 1.0


class LockFeed:
    """Counts what may have changed the locks. It asks only while somebody listens. Thread-safe.

    A listener reads `number`, then lists the locks, and waits for another number: so it misses nothing.
    """

    def __init__(self, directory: Directory, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._listeners = 0
        self._number = 0
        self._revision: int | None = None

    @property
    def number(self) -> int:
        return self._number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Follow the directory at least until the end of the block."""
        with self._changed:
            self._listeners += 1
            if self._listeners == 1:
                self._revision = None  # unknown after a pause, so the first reply counts as a change
                self._job = BackgroundJob("lock feed", self.step).start()
        try:
            yield
        finally:
            with self._changed:
                self._listeners -= 1
                if not self._listeners:
                    self._job.stop(timeout=0)

    def wait(self, seen: int, seconds: float) -> int:
        """Return the number, as soon as it is not `seen` or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._number != seen, seconds)
            return self._number

    def step(self) -> float:
        """Wait for one change at the directory, as a BackgroundJob; return the seconds until the next call."""
        began, seen = self._monotonic(), self._revision
        try:
            found = self._directory.call(LOCK_CHANGES, LockChangesRequest(seen, WAIT_SECONDS)).revision
        except LockstepError:
            # Nobody knows what has changed meanwhile. The listeners' own calls get the error, too, and can report it.
            self._tell(None)
            return FAILURE_PAUSE_SECONDS
        if found != seen:
            self._tell(found)
            return 0.0
        return NO_PLACE_PAUSE_SECONDS if self._monotonic() - began < WAIT_SECONDS / 2 else 0.0

    def _tell(self, revision: int | None) -> None:
        with self._changed:
            self._revision = revision
            self._number += 1
            self._changed.notify_all()
