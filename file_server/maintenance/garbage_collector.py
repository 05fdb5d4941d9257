"""Drops blobs that no version refers to, then chunks that no blob refers to.

It walks the blobs slowly and asks the directory about those older than the grace period. A blob's age counts from the
start of this process or from its latest write, whichever is later, in monotonic time: no wall clock can make a blob
look old. The directory keeps what an open ticket may need. A blob stored again between request and reply is kept,
because its generation has changed.
"""

from __future__ import annotations

from collections import deque

from prometheus_client import Counter

from file_server.defaults import GRACE_SECONDS
from file_server.directory_link import DirectoryCaller
from file_server.store.chunk_store import ChunkStore
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.servers import COLLECT, CollectRequest

CHUNK_GRACE_SECONDS = 600.0
"""For chunks without a blob: long enough for an interrupted writer to return. Chunks of running uploads are pinned."""
PAGE_BLOBS = 500
PAGE_SECONDS = 1.0
WALK_SECONDS = 60.0
MARK_SECONDS = 10.0

DROPPED = Counter("lockstep_file_server_dropped_blobs", "Blobs dropped because no version refers to them")
COLLECTED = Counter("lockstep_file_server_collected_chunks", "Chunks removed because no blob refers to them")


class Ages:
    """Estimates the age of generations from marks made now and then."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, latest_generation: int) -> None:
        """Record that every generation up to `latest_generation` existed at `now` (monotonic seconds)."""
        if not self._marks or now - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append((now, latest_generation))

    def older_than(self, now: float, seconds: float) -> int:
        """Return the highest generation known to have existed for `seconds`; 0 without one."""
        while len(self._marks) > 1 and self._marks[1][0] <= now - seconds:
            self._marks.popleft()
        if self._marks and self._marks[0][0] <= now - seconds:
            return self._marks[0][1]
        return 0


class GarbageCollector:
    """Collects garbage; `step` handles one page of blobs."""

    def __init__(
        self, store: ChunkStore, directory: DirectoryCaller, clock: Clock, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._ages = Ages()
        self._after = 0

    def step(self) -> float:
        """Ask about one page of old blobs and drop the unused; return the seconds until the next page."""
        now = self._clock.monotonic()
        self._ages.mark(now, self._store.latest_generation)
        page = self._store.blobs(self._after, self._ages.older_than(now, self._grace_seconds), PAGE_BLOBS)
        if page:
            try:
                reply = self._directory.ask(COLLECT, CollectRequest([blob.digest for blob in page]))
            except LockstepError as error:
                log.info("garbage collection waits for the directory server: %s", error)
                return WALK_SECONDS
            drop = set(reply.drop)
            dropped = [blob for blob in page if blob.digest in drop]
            for blob in dropped:
                if self._store.drop_blob(blob.digest, blob.generation):
                    crash_point("file_server.blob.dropped")
                    DROPPED.inc()
            self._after = page[-1].id
        if len(page) == PAGE_BLOBS:
            return PAGE_SECONDS
        self._after = 0
        COLLECTED.inc(self._store.collect_chunks(min(self._grace_seconds, CHUNK_GRACE_SECONDS)).removed)
        return min(WALK_SECONDS, max(PAGE_SECONDS, self._grace_seconds / 4))
