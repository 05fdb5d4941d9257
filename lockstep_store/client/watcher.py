"""Follow the journal: each change once and in order, even while the cluster restarts.

The only state is the cursor. It moves when a change has been yielded, so a lost reply is requested again from the same
place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from lockstep_store.runtime.backoff import pause_after
from lockstep_store.wire.errors import TooManyRequests, Unavailable
from lockstep_store.wire.messages.journal import Change, ChangesReply

WAIT_SECONDS = 25
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0


class ChangeSource(Protocol):
    """The call that a watcher makes."""

    def changes(
        self, cursor: int | None = None, bucket: str | None = None, *, wait_seconds: int = 0
    ) -> ChangesReply: ...


class Watcher:
    """The changes below `prefix` of one bucket, or of all, after `cursor` (None: from now on).

    The first request may raise. Later the watcher waits for an unavailable cluster, and calls `on_trouble` with the
    reason when that begins and with an empty text when it ends.
    """

    def __init__(
        self,
        source: ChangeSource,
        bucket: str | None = None,
        prefix: str = "",
        cursor: int | None = None,
        *,
        on_trouble: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._bucket = bucket
        self._prefix = prefix
        self._on_trouble = on_trouble
        self._sleep = sleep
        self.cursor = cursor

    def __iter__(self) -> Iterator[Change]:
        return self.follow()

    def until_now(self) -> Iterator[Change]:
        """Yield every change committed so far, then end. Without a cursor, start at the very first change."""
        end = self._source.changes(None, self._bucket).cursor
        self.cursor = self.cursor or 0
        yield from self._handed_on(self._source.changes(self.cursor, self._bucket))
        while self.cursor < end:
            yield from self._handed_on(self._ask(0))

    def follow(self) -> Iterator[Change]:
        """Yield every change, without end."""
        if self.cursor is None:
            # Asked for by itself: had the first wait no cursor and its answer been lost, its changes would be too.
            self.cursor = self._source.changes(None, self._bucket).cursor
        else:
            yield from self._handed_on(self._source.changes(self.cursor, self._bucket))
        while True:
            yield from self._handed_on(self._ask(WAIT_SECONDS))

    def _handed_on(self, reply: ChangesReply) -> Iterator[Change]:
        for change in reply.changes:
            if change.path.startswith(self._prefix):
                yield change
            self.cursor = change.cursor
        self.cursor = reply.cursor

    def _ask(self, wait_seconds: int) -> ChangesReply:
        failures = 0
        while True:
            try:
                reply = self._source.changes(self.cursor, self._bucket, wait_seconds=wait_seconds)
            except (Unavailable, TooManyRequests) as error:
                if not failures:
                    self._on_trouble(str(error))
                failures += 1
                self._sleep(pause_after(failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
                continue
            if failures:
                self._on_trouble("")
            return reply
