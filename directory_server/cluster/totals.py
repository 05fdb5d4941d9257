"""Totals over whole tables: expensive to count, so they are counted rarely and cached."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from directory_server.metadata.statements import files, servers
from directory_server.metadata.store import MetadataStore

FRESH_SECONDS = 5.0
COPIES_FRESH_SECONDS = 1.0
# Counting takes at most this fraction of the time: a directory with many millions of files is counted less often.
COST_SHARE = 0.02


class Sums(NamedTuple):
    """Totals of the cluster. `logical_bytes` is the sum of the current versions' sizes."""

    files: int = 0
    logical_bytes: int = 0
    versions: int = 0
    blobs: int = 0


class ClusterTotals:
    """Counts and caches totals. Thread-safe."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._sums = Sums()
        self._good_until = float("-inf")
        self._copies: dict[str, int] = {}
        self._copies_good_until = float("-inf")

    def latest(self) -> Sums:
        """Return totals that are at most a few seconds old, or older if counting is slow."""
        with self._guard:
            started = time.monotonic()
            if started >= self._good_until:
                self._sums = self._count()
                cost = time.monotonic() - started
                self._good_until = started + max(FRESH_SECONDS, cost / COST_SHARE)
            return self._sums

    def counted_copies(self) -> dict[str, int]:
        """Return the number of undamaged blobs by file server; at most a second old, or older if counting is slow."""
        with self._guard:
            started = time.monotonic()
            if started >= self._copies_good_until:
                with self._store.read() as reader:
                    self._copies = servers.counted_copies(reader)
                cost = time.monotonic() - started
                self._copies_good_until = started + max(COPIES_FRESH_SECONDS, cost / COST_SHARE)
            return self._copies

    def _count(self) -> Sums:
        with self._store.read() as reader:
            current = reader.one(files.FILES_TOTAL) or (0, 0)
            versions = reader.one(files.VERSIONS_TOTAL) or (0,)
            blobs = reader.one(files.BLOBS_TOTAL) or (0,)
        return Sums(current[0], int(current[1]), versions[0], blobs[0])
