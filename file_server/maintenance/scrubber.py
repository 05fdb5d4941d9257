"""Reads and checks everything stored, so that damage is found while another copy is still good.

It sleeps in proportion to the time of each step, continues after a restart where it was, and removes what a crash left
behind. The store quarantines and reports damaged chunks.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from file_server.defaults import SCRUB_PAUSE_FACTOR, SCRUB_ROUND_SECONDS
from file_server.store.chunk_store import SWEEP_PARTS, ChunkStore
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point

STEP_BYTES = 8 * 1024 * 1024
STEP_CHUNKS = 256
MIN_PAUSE_SECONDS = 0.5
STEP_BLOBS = 200
_PLACE = "scrubbed"

SCRUBBED_BYTES = Counter("lockstep_file_server_scrubbed_bytes", "Plain bytes read again and checked")
SCRUB_PLACE = Gauge("lockstep_file_server_scrub_place", "Id of the chunk that the scrubber checked last")


class Scrubber:
    """Checks all stored chunks, a few in each `step`."""

    def __init__(
        self,
        store: ChunkStore,
        clock: Clock,
        pause_factor: float = SCRUB_PAUSE_FACTOR,
        round_seconds: float = SCRUB_ROUND_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pause_factor = pause_factor
        self._round_seconds = round_seconds
        self._after = store.remembered(_PLACE)
        self._chunks_left = True
        self._blobs_after: int | None = 0
        self._parts_left = SWEEP_PARTS

    def step(self) -> float:
        """Check up to 8 MiB of chunks and some manifests, and sweep one part; return the seconds to sleep."""
        started = self._clock.monotonic()
        if self._parts_left:
            self._sweep(SWEEP_PARTS - self._parts_left)
            self._parts_left -= 1
        if self._chunks_left:
            self._check_chunks()
        if self._blobs_after is not None:
            self._check_manifests(self._blobs_after)
        if not self._chunks_left and not self._parts_left and self._blobs_after is None:
            self._chunks_left, self._parts_left, self._blobs_after = True, SWEEP_PARTS, 0
            return self._round_seconds
        return max(MIN_PAUSE_SECONDS, (self._clock.monotonic() - started) * self._pause_factor)

    def _sweep(self, part: int) -> None:
        removed = self._store.sweep_orphans(part)
        if removed:
            crash_point("file_server.orphan.removed")
            log.info("removed chunks that a crash left behind: %d", removed)

    def _check_manifests(self, after: int) -> None:
        page = self._store.blobs(after, None, STEP_BLOBS)
        for blob in page:
            self._store.verify_blob(blob.digest)
        self._blobs_after = page[-1].id if len(page) == STEP_BLOBS else None

    def _check_chunks(self) -> None:
        size = 0
        for _ in range(STEP_CHUNKS):
            found = self._store.verify_next(self._after)
            if found is None:
                self._after, self._chunks_left = 0, False
                break
            self._after, length = found
            SCRUBBED_BYTES.inc(length)
            size += length
            if size >= STEP_BYTES:
                break
        self._store.remember(_PLACE, self._after)
        crash_point("file_server.scrub.remembered")
        SCRUB_PLACE.set(self._after)
