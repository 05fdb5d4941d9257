"""Counts the changes of the locks and of the queue, and blocks callers until there is one.

A caller learns that something changed, and lists the locks of the person it asks for. So it decides nothing about what
anybody may see.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from directory_server.locks.waiting_callers import WaitingCallers
from lockstep_store.wire.messages.locks import LockChangesReply, LockChangesRequest

MAX_FOLLOWERS = 32
"""One for each proxy with listeners. Beyond them callers do not wait, and ask again when they like."""
_ANY_LOCK = ("", "")


class LockChanges:
    """The revision of the locks and the queue. It begins at `first`, and rises with each change. Thread-safe.

    Renewals do not count: nobody gains or loses a lock by them.
    """

    def __init__(
        self, first: int, max_followers: int = MAX_FOLLOWERS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._revision = first
        self._guard = threading.Lock()
        self._monotonic = monotonic
        self._waiting = WaitingCallers(max_followers)

    def note(self) -> None:
        """Count a change that is committed."""
        with self._guard:
            self._revision += 1
        self._waiting.wake(_ANY_LOCK)

    def wait(self, request: LockChangesRequest) -> LockChangesReply:
        """Return the revision, at once if it is not `request.seen`, else when it changes or the time is up."""
        until = self._monotonic() + request.wait_seconds
        with self._waiting.place(_ANY_LOCK) as event:
            while event is not None and self._revision == request.seen and not self._waiting.closed:
                if not event.wait(max(0.0, until - self._monotonic())):
                    break
                event.clear()
        return LockChangesReply(self._revision)

    @property
    def followers(self) -> int:
        """How many callers wait now."""
        return self._waiting.count

    def close(self) -> None:
        """Answer every caller that waits."""
        self._waiting.close()
