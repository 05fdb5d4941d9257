"""Follow the locks: every state of them, even while the cluster restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from lockstep_store.runtime.backoff import pause_after
from lockstep_store.wire.errors import TooManyRequests, Unavailable
from lockstep_store.wire.messages.locks import LocksReply

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class LockSource(Protocol):
    """The call that a watcher makes."""

    def lock_events(self) -> Iterator[LocksReply]: ...


class LockWatcher:
    """The locks and who waits for them: now, and again whenever they have changed, without end.

    Before the first state everything raises. Later the watcher waits for an unavailable cluster, and calls `on_trouble`
    with the reason when that begins and with an empty text when it ends.
    """

    def __init__(
        self,
        source: LockSource,
        *,
        on_trouble: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._on_trouble = on_trouble
        self._sleep = sleep

    def __iter__(self) -> Iterator[LocksReply]:
        begun, why, failures = False, "", 0
        while True:
            try:
                for state in self._source.lock_events():
                    if why:
                        self._on_trouble("")
                    begun, why, failures = True, "", 0
                    yield state
            except (Unavailable, TooManyRequests) as error:
                if not begun:
                    raise
                if not why:
                    why = str(error)
                    self._on_trouble(why)
            failures += 1
            self._sleep(pause_after(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
