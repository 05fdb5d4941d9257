"""Which of the cluster's directory servers a program calls now.

Programs know the directory by one name, the addresses as they were given, with commas between. Of several, one is
active, and the others answer `StandingBy`. Nothing is repeated here: the next call goes to the next address, so for
callers a change is what a restart of the directory was, with the same rules for a reply that was lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import PeerUnreachable, StandingBy


class Directories:
    """The directory servers of `name`. Thread-safe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.urls = name.split(",")
        self._current = self.urls[0]
        self._guard = threading.Lock()

    @contextmanager
    def calling(self) -> Iterator[str]:
        """Yield the address for one call; go on to the next one if the call finds that it is not the active one."""
        url = self._current
        try:
            yield url
        except (PeerUnreachable, StandingBy) as error:
            self._move_on(url, error)
            raise

    def _move_on(self, failed: str, error: Exception) -> None:
        with self._guard:
            # Calls that failed at the same time move on once.
            if self._current == failed and len(self.urls) > 1:
                self._current = self.urls[(self.urls.index(failed) + 1) % len(self.urls)]
                log.debug("calling the directory server at %s now (%s)", self._current, error)
