"""Follows the journal, so that the tree hears of every change within moments.

After any trouble the tree is emptied and the feed starts anew: what was missed need not be found out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from lockstep_store.runtime.backoff import pause_after
from lockstep_store.wire.errors import LockstepError, NotLoggedIn
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.journal import Change, ChangesReply

WAIT_SECONDS = 5
TRUSTED_SECONDS = 8.0
"""How long a request's reply keeps the tree trusted, from when the request was sent: the longest time for which a
change stays unseen, when the network swallows everything."""
GATHER_SECONDS = 0.1
"""How long changes gather after a reply with some. Asked again at once, a program that saves a thousand files would
cause a thousand such requests, which cost this machine and the cluster more than the saves."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0


class ChangesOf(Protocol):
    """The request for changes (`JournalCalls.changes`)."""

    def __call__(
        self, cursor: int | None = None, bucket: str | None = None, *, wait_seconds: int = 0
    ) -> ChangesReply: ...


class Followed(Protocol):
    """What hears of the changes."""

    def apply(self, change: Change) -> None: ...

    def forget(self) -> None: ...


class ChangeFeed:
    """One bucket's changes. `step` is the work of a background job."""

    def __init__(
        self,
        changes: ChangesOf,
        bucket: str,
        tree: Followed,
        *,
        on_trouble: Callable[[str], None],
        log_in_again: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_trouble` gets the reason when trouble begins, and an empty text when it ends. `log_in_again` is called
        when the log-in has ended."""
        self._changes = changes
        self._bucket = bucket
        self._tree = tree
        self._on_trouble = on_trouble
        self._log_in_again = log_in_again
        self._monotonic = monotonic
        self._cursor: int | None = None
        self._heard_at = float("-inf")
        self._failures = 0

    def is_fresh(self) -> bool:
        """Whether every change until a moment ago has been applied."""
        return self._monotonic() - self._heard_at < TRUSTED_SECONDS

    def step(self) -> float:
        """Wait for changes and apply them; return the seconds until the next step."""
        try:
            pause = self._follow()
        except LockstepError as error:
            self._heard_at, self._cursor = float("-inf"), None
            self._failures += 1
            if self._failures == 1:
                self._on_trouble(str(error))
            if isinstance(error, NotLoggedIn):
                self._log_in_again()
            return pause_after(self._failures, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        if self._failures:
            self._failures = 0
            self._on_trouble("")
        return pause

    def _follow(self) -> float:
        asked_at = self._monotonic()
        if self._cursor is None:
            cursor = self._changes(None, self._bucket).cursor
            self._tree.forget()
            self._cursor, self._heard_at = cursor, asked_at
            return 0.0
        reply = self._changes(self._cursor, self._bucket, wait_seconds=WAIT_SECONDS)
        for change in reply.changes:
            self._tree.apply(change)
        self._cursor = reply.cursor
        if len(reply.changes) >= MAX_LISTING:  # more are waiting
            return 0.0
        self._heard_at = asked_at
        return GATHER_SECONDS if reply.changes else 0.0
