"""The inventory: this file server's holdings, compared with the directory's books, page by page in digest order.

After each registration, once a day, and whenever the directory orders it, everything held is named. Why everything,
and not only what changed since some cursor: a walk costs one small call for a thousand blobs and finds whatever went
wrong in whatever way, also behind this program's back. For the same reason a walk that was cut off begins again: the
disk may be an older one, and so may a place that it remembers. What the books miss is counted by the directory; what
they count and is not here is looked for once more and then reported, so that repair makes it again. Nothing is dropped
here: surplus is repair's to trim, blobs without a version are the collector's.

A page is a little older than the answer to it. A blob sealed in between is not on the page and may be in the books,
so what is called missing is looked for again before it is reported, and again after that, because a write may have
brought it back just then. A blob dropped in between was given up by the directory first, which remembers that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from prometheus_client import Counter

from file_server.directory_link import Directory
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

DEFAULT_ROUND_SECONDS = 24 * 3600.0
PAUSE_FACTOR = 4.0
"""Seconds of rest for each second that a page took: people's reads and writes come first."""
RETRY_SECONDS = 2.0
IDLE_SECONDS = 60.0
CHECK_BYTES = 16 * 1024 * 1024

COMPARED = Counter("lockstep_file_server_inventoried_blobs", "Blobs compared with the directory's books")
MISSED = Counter("lockstep_file_server_missing_blobs", "Blobs that the books counted here and that were not here")

Phase = Literal["bytes", "blobs", "notes"]


class Inventory:
    """`step` handles one page."""

    def __init__(
        self,
        own_id: str,
        store: ChunkStore,
        directory: Directory,
        clock: Clock,
        round_seconds: float = DEFAULT_ROUND_SECONDS,
        wake: Callable[[], None] = lambda: None,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` has `step` called now, `tell` sends a heartbeat, which says what is done."""
        self._own_id = own_id
        self._store = store
        self._directory = directory
        self._clock = clock
        self._round_seconds = round_seconds
        self.wake = wake
        self.tell = tell
        self._due: float | None = None  # monotonic seconds; None until the first registration
        self._order: InventoryOrder | None = None  # as the heartbeat's thread was told
        self._walking_for: InventoryOrder | None = None  # as this job goes about it
        self._phase: Phase | None = None
        self._after: Digest | None = None
        self._place = 0
        self._registrations = 0
        self._walked_since = 0  # the registration that the walk under way began after
        self.done = 0
        """The id of the last order that was carried out."""
        self.is_whole = False
        """Whether everything held was compared since the latest registration."""

    def begin(self) -> None:
        """The server has registered: compare everything, from the first blob on."""
        self.is_whole = False
        self._registrations += 1
        self._due = self._clock.monotonic()
        self.wake()

    def take(self, order: InventoryOrder | None) -> None:
        """An order that came with a heartbeat. A new one replaces the walk under way."""
        if order is not None and order.id != self.done and (self._order is None or order.id != self._order.id):
            self._order = order
            self.wake()

    def step(self) -> float:
        """Compare one page; seconds until the next."""
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
                next_phase = self._check_some()
            elif self._phase == "blobs":
                next_phase = self._compare(order)
            else:
                next_phase = self._send_notes(order)
        except LockstepError as error:
            log.info("the inventory waits: %s", error)
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
            if self._order is finished:  # else another was given meanwhile, and is taken up with the next step
                self._order = None
        if finished is not None or self.is_whole != was_whole:
            self.tell()

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
        log.error("%d blobs that the directory counts here are missing or damaged, %s first", len(absent), absent[0])
        self._directory.ask(DAMAGED, DamagedRequest(self._own_id, absent, id))
        # A write may have brought one back between the look and the report, and its copy was promised to somebody.
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

    def _check_some(self) -> Phase:
        """What fails its check is quarantined and reported by the store itself."""
        size = 0
        while size < CHECK_BYTES:
            checked = self._store.verify_next(self._place)
            if checked is None:
                self._place = 0
                return "blobs"
            self._place, length = checked
            size += max(length, 4096)
        return "bytes"
