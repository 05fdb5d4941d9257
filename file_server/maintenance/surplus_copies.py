"""Drops surplus copies: the directory offers them with a heartbeat, this server asks, then drops.

A blob's generation is read before asking, and a blob stored again since then is kept, because a write may count on it.
The directory decides which copies are surplus (its repair/surplus_copies.py); the collector removes the chunks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from prometheus_client import Counter

from file_server.directory_link import DirectoryCaller
from file_server.store.chunk_store import ChunkStore
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.servers import COLLECT, MAX_DROPS, CollectRequest

IDLE_SECONDS = 60.0
PAUSE_SHARE = 2.0
"""Seconds of pause for each second of dropping."""

TRIMMED = Counter("lockstep_file_server_trimmed_blobs", "Copies dropped because there were more than promised")


class SurplusRemover:
    """Drops surplus copies: `take` adds those that a heartbeat offers, `step` handles some."""

    def __init__(
        self, store: ChunkStore, directory: DirectoryCaller, clock: Clock, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self.wake = wake
        self._offered: dict[Digest, None] = {}
        self._guard = threading.Lock()

    def take(self, digests: list[Digest]) -> None:
        """Add copies that the directory does not need."""
        if digests:
            with self._guard:
                self._offered.update(dict.fromkeys(digests))
            self.wake()

    def step(self) -> float:
        """Ask about some copies and drop those that are surplus; return the seconds to pause.

        Without a reply the offers are dropped: the directory repeats them.
        """
        with self._guard:
            batch = list(self._offered)[:MAX_DROPS]
            for digest in batch:
                del self._offered[digest]
        if not batch:
            return IDLE_SECONDS
        # Ask also about copies that are not held: the directory counts them until it gets this request.
        generations = {digest: self._store.generation(digest) for digest in batch}
        started = self._clock.monotonic()
        try:
            dropped = self._directory.ask(COLLECT, CollectRequest(batch)).drop
        except LockstepError as error:
            log.info("surplus copies wait for the directory server: %s", error)
            return IDLE_SECONDS
        for digest in dropped:
            generation = generations.get(digest)
            if generation is not None and self._store.drop_blob(digest, generation):
                TRIMMED.inc()
        return (self._clock.monotonic() - started) * PAUSE_SHARE
