"""When a directory server that stands by may take over.

The lock of an active server that has ended is free; one that hangs still holds it, and its session is ended. Neither
happens before its row has stayed the same for a while: after a restart of PostgreSQL the active server comes back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import psycopg

from directory_server.metadata.engines.postgres.errors import gone
from directory_server.metadata.engines.postgres.presence import Presence, Seen
from lockstep_store.runtime.tracing import log

STEP_SECONDS = 0.5
ENDED_SECONDS = 2.0
"""How long the row stays the same before a free lock is taken. An active server whose connection broke takes it back
within about a second."""
HUNG_SECONDS = 6.0
"""How long the row stays the same before the session of the active server is ended. A busy one can be late."""


class StandbyDatabase:
    """Watches the active directory server of the database at `url`, for one that is reached at `address`."""

    def __init__(self, url: str, address: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._presence = Presence(url, secrets.token_hex(16), address)
        self._monotonic = monotonic
        self._last: Seen | None = None
        self._same_since = 0.0
        self.active = ""
        """The address of the active directory server; empty if there is none, or it is not known."""
        self.problem = ""
        """Why this one could not take over now; empty if it could."""

    def is_my_turn(self) -> bool:
        """Look at the active server, as often as every `STEP_SECONDS`; return whether to try to take over now."""
        asked_at = self._monotonic()
        try:
            seen = self._presence.beat()
            if self._monotonic() - asked_at >= ENDED_SECONDS:
                self._last = None  # PostgreSQL hung, so the active server could not show anything either
            silent = self._silent_for(seen)
            self.problem = ""
            if seen.beat is None:
                return not seen.is_locked
            if seen.is_locked and silent >= HUNG_SECONDS:
                log.warning("the active directory server at %s has hung for %.0f s: taking over", seen.url, silent)
                self._presence.end_session(seen)
            self.active = seen.url if silent < HUNG_SECONDS else ""
            return not seen.is_locked and silent >= ENDED_SECONDS
        except psycopg.Error as error:
            # Whether it was silent meanwhile is not known.
            self._last, self.problem, self.active = None, gone(error), ""
            return False

    def close(self) -> None:
        """Stop watching. Safe to repeat."""
        self._presence.close()

    def _silent_for(self, seen: Seen) -> float:
        now = self._monotonic()
        if self._last is None or (seen.active, seen.beat) != (self._last.active, self._last.beat):
            self._same_since = now
        self._last = seen
        return now - self._same_since
