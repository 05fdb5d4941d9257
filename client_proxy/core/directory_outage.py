"""Remembers that the directory does not answer, so that requests are refused at once instead of each waiting.

A call that lost its patience begins an outage. During one, a call a second tries the directory, once; every other is
refused at once, as long as the last failure is recent. So the first call that gets through ends the outage, and after
a quiet time nobody is refused for what was true a minute ago.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lockstep_store.wire.errors import Unavailable

TRY_SECONDS = 1.0
"""Between two calls that try whether the directory answers again, and the time that one has for it."""
RECENT_SECONDS = 3.0
"""An older failure says nothing about now."""


class DirectoryOutage:
    """Thread-safe."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._since: float | None = None
        self._failed_at = 0.0
        self._tried_at = 0.0
        self._trying = False

    @contextmanager
    def admitted(self) -> Iterator[bool]:
        """Run one call: whether it is only a try, without patience. Unavailable while the directory is known away."""
        is_try = self._admit()
        try:
            yield is_try
        finally:
            if is_try:
                self._trying = False

    def _admit(self) -> bool:
        if self._since is None:
            return False
        with self._guard:
            now = self._monotonic()
            if self._since is None or (now - self._failed_at > RECENT_SECONDS and not self._trying):
                return False
            if self._trying or now - self._tried_at < TRY_SECONDS:
                raise Unavailable(
                    f"the directory server has not replied for {now - self._since:.0f} s: nothing can be read or "
                    "written until it is back; try again in a moment"
                )
            self._trying, self._tried_at = True, now
            return True

    def note_failure(self, since: float) -> None:
        """A call got no answer from `since` on, and gave up."""
        with self._guard:
            self._since = since if self._since is None else self._since
            self._failed_at = self._monotonic()

    def note_answer(self) -> None:
        """The directory answered, whatever it said."""
        if self._since is not None:
            with self._guard:
                self._since = None
