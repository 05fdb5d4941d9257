"""Fills the search index with the files that it lacks after an upgrade or a restore, a few hundred in a transaction.

How far it is stands in the metadata, so a restart goes on from there. The engine adds what is written meanwhile.
"""

from __future__ import annotations

import time

from directory_server.metadata.statements import search
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.runtime.tracing import log

FILES_A_STEP = 300
"""Some ten milliseconds, in which nobody writes."""
IDLE_SECONDS = 3600.0


class SearchFilling:
    """A job. It leaves others at least as much time as it takes."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._filled = False

    def step(self) -> float:
        """Add some files; return seconds until the next step."""
        if self._filled:
            return IDLE_SECONDS
        with self._store.read() as reader:
            self._filled = search.is_filled(reader)
        if self._filled:
            return IDLE_SECONDS
        began = time.monotonic()

        def work(tx: Tx) -> bool:
            return search.fill(tx, FILES_A_STEP)

        self._filled = self._store.write(work)
        if self._filled:
            log.info("the search index has every file")
        return time.monotonic() - began
