"""Compares the stored blobs with the directory's records, page by page in digest order.

It names every blob after each registration, once a day, and when the directory orders it. Naming only the changes since
a cursor was refused: a walk costs one small call for a thousand blobs and finds every kind of error, whatever its
cause. An interrupted walk begins again for the same reason: an older disk remembers an older place. The directory adds
the copies that its records lack. A copy that it counts but that is not here is checked again and reported, so that
repair makes it again. The inventory drops nothing: repair removes surplus copies, the collector removes blobs without a
version.

A page is a little older than the reply to it. A blob stored in between is not on the page but may be in the records, so
a missing blob is checked before the report, and again after it, because a write may just have stored it. A blob dropped
in between was given up by the directory first, which remembers that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from prometheus_client import Counter

from file_server.defaults import INVENTORY_SECONDS
from file_server.directory_link import DirectoryCaller
from file_server.store.chunk_store import ChunkStore
from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.servers import (
    DAMAGED,
    FOUND,
    HELD,
    INVENTORY,
    MAX_FOUND,
    MAX_INVENTORY,
    DamagedRequest,
    FoundBlob,
    FoundRequest,
    HeldRequest,
    InventoryOrder,
    InventoryRequest,
)

PAUSE_FACTOR = 4.0
"""Seconds of pause for each second that a page took: people's reads and writes come first."""
RETRY_SECONDS = 2.0
IDLE_SECONDS = 60.0
CHECK_BYTES = 16 * 1024 * 1024

COMPARED = Counter("lockstep_file_server_inventoried_blobs", "Blobs compared with the directory's records")
MISSED = Counter("lockstep_file_server_missing_blobs", "Blobs that the directory counted here and that were not here")

Phase = Literal["bytes", "blobs", "notes"]


class Inventory:
    """Walks the stored blobs; `step` handles one page."""

    def __init__(
        self,
        own_id: str,
        store: ChunkStore,
        directory: DirectoryCaller,
        clock: Clock,
        round_seconds: float = INVENTORY_SECONDS,
        wake: Callable[[], None] = lambda: None,
        report_done: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` runs `step` now; `report_done` sends a heartbeat, which names the last order carried out."""
        self._own_id = own_id
        self._store = store
        self._directory = directory
        self._clock = clock
        self._round_seconds = round_seconds
        self.wake = wake
        self.report_done = report_done
        self._due: float | None = None  # monotonic seconds; None until the first registration
        self._order: InventoryOrder | None = None  # set by the heartbeat's thread
        self._walking_for: InventoryOrder | None = None  # the one that this job works on
        self._phase: Phase | None = None
        self._after: Digest | None = None
        self._place = 0
        self._registrations = 0
        self._walked_since = 0  # the registration that the walk under way began after
        self.done = 0
        """The id of the last order carried out."""
        self.is_whole = False
        """Whether everything held was compared since the latest registration."""

    def begin(self) -> None:
        """Compare everything from the first blob on, because the server has registered."""
        self.is_whole = False
        self._registrations += 1
        self._due = self._clock.monotonic()
        self.wake()

    def take(self, order: InventoryOrder | None) -> None:
        """Accept an order from a heartbeat. A new order replaces the current walk."""
        if order is not None and order.id != self.done and (self._order is None or order.id != self._order.id):
            self._order = order
            self.wake()

    def step(self) -> float:
        """Compare one page; return the seconds until the next."""
        if self._order is not self._walking_for or self._registrations != self._walked_since:
            self._begin_walk(self._order)
        if self._phase is None:
            now = self._clock.monotonic()
            if self._due is None or now < self._due:
                return IDLE_SECONDS if self._due is None else min(IDLE_SECONDS, self._due - now)
            self._begin_walk(None)
        order, started = self._walking_for, self._clock.monotonic()
        next_phase: Phase | None
        try:
            if self._phase == "bytes":
                next_phase = self._check_bytes()
            elif self._phase == "blobs":
                next_phase = self._compare(order)
            else:
                next_phase = self._send_notes(order)
        except LockstepError as error:
            log.info("the inventory pauses: %s", error)
            return RETRY_SECONDS
        self._phase = next_phase
        if next_phase is None:
            self._finish()
        return PAUSE_FACTOR * (self._clock.monotonic() - started)

    def _begin_walk(self, order: InventoryOrder | None) -> None:
        self._walking_for, self._walked_since = order, self._registrations
        self._after, self._place = None, 0
        self._phase = "bytes" if order is not None and order.deep else "blobs"

    def _finish(self) -> None:
        was_whole, self.is_whole = self.is_whole, self._walked_since == self._registrations
        self._due = self._clock.monotonic() + self._round_seconds
        finished, self._walking_for = self._walking_for, None
        if finished is not None:
            self.done = finished.id
            if self._order is finished:  # otherwise a newer order came meanwhile; the next step starts it
                self._order = None
        if finished is not None or self.is_whole != was_whole:
            self.report_done()

    # ------------------------------------------------------------ blobs

    def _compare(self, order: InventoryOrder | None) -> Phase | None:
        digests, through = self._store.blobs_by_digest(self._after, MAX_INVENTORY)
        id = order.id if order is not None else 0
        reply = self._directory.ask(INVENTORY, InventoryRequest(id, self._after, through, digests))
        COMPARED.inc(len(digests))
        self._report_missing(reply.missing, id)
        recovering = order is not None and order.notes_after is not None
        if recovering and reply.unknown:
            sizes = self._store.sizes(reply.unknown)
            self._directory.ask(FOUND, FoundRequest(blobs=[FoundBlob(*known) for known in sizes.items()]))
        self._after = reply.through
        if reply.through is not None:
            return "blobs"
        return "notes" if recovering else None

    def _report_missing(self, missing: list[Digest], id: int) -> None:
        absent = self._store.not_whole(missing)
        if not absent:
            return
        MISSED.inc(len(absent))
        log.error("missing or damaged blobs that the directory counts here: %d (first: %s)", len(absent), absent[0])
        self._directory.ask(DAMAGED, DamagedRequest(self._own_id, absent, id))
        # A write may have stored one between the check and the report, and its copy counts as one of those promised.
        lacking = set(self._store.not_whole(absent))
        back = [digest for digest in absent if digest not in lacking]
        if back:
            self._directory.ask(HELD, HeldRequest(back))

    # ------------------------------------------------------------ for a directory that was restored

    def _send_notes(self, order: InventoryOrder | None) -> Phase | None:
        assert order is not None
        assert order.notes_after is not None
        self._store.keep_notes()
        notes = self._store.notes(max(self._place, order.notes_after), order.notes_through, MAX_FOUND)
        if not notes:
            return None
        lacking = set(self._store.not_whole(note.version.digest for note in notes))
        here = [note for note in notes if note.version.digest not in lacking]
        if here:
            self._directory.ask(FOUND, FoundRequest(notes=here))
        self._place = notes[-1].version.cursor
        return "notes"

    # ------------------------------------------------------------ every byte

    def _check_bytes(self) -> Phase:
        """Read some chunks; the store quarantines and reports those that fail their check."""
        size = 0
        while size < CHECK_BYTES:
            checked = self._store.verify_next(self._place)
            if checked is None:
                self._place = 0
                return "blobs"
            self._place, length = checked
            size += max(length, 4096)
        return "bytes"
