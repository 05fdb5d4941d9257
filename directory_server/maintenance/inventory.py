"""Inventories: compares the copies that file servers report with the holder rows.

A server lists everything it holds, page by page in digest order: after it registers, once a day, and when ordered to.
Copies without a holder row are counted like a finished copy order, so a copy that was just dropped is not counted, and
surplus ones are dropped. Holder rows without a copy are returned to the server, which looks again before it reports
them missing. Blobs without references are left to garbage collection, except while recovery waits for the server.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter

from directory_server.maintenance.recovery import Recovery
from directory_server.metadata.statements import recovery as rows
from directory_server.metadata.statements import servers
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.recovery import MAX_PROBLEMS
from lockstep_store.wire.messages.servers import MAX_INVENTORY, InventoryOrder, InventoryReply, InventoryRequest

COUNTED = Counter("lockstep_directory_counted_again", "Copies that inventories found and the metadata lacked")
MISSING = Counter("lockstep_directory_missing_copies", "Copies that the metadata had and their file servers lacked")


@dataclass
class Tally:
    """The result so far of one ordered inventory of one server; at most `MAX_PROBLEMS` digests of each kind."""

    order: InventoryOrder
    compared: int = 0
    unknown: int = 0
    missing: dict[Digest, None] = field(default_factory=dict)
    damaged: dict[Digest, None] = field(default_factory=dict)
    counted: dict[Digest, None] = field(default_factory=dict)
    more: int = 0
    done: bool = False

    def note(self, kind: dict[Digest, None], digests: Iterable[Digest]) -> None:
        """Add digests to one kind."""
        for digest in digests:
            if digest in kind:
                continue
            if len(kind) < MAX_PROBLEMS:
                kind[digest] = None
            else:
                self.more += 1


class Inventories:
    """Orders inventories and compares their pages. `held` counts copies (RepairPlanner.held). Thread-safe."""

    def __init__(
        self, store: MetadataStore, recovery: Recovery, held: Callable[[str, Sequence[Digest]], Sequence[Digest]]
    ) -> None:
        self._store = store
        self._recovery = recovery
        self._held = held
        self._mutex = threading.Lock()
        self._ordered: dict[str, Tally] = {}
        self._recovering: dict[str, int] = {}

    # ------------------------------------------------------------ orders

    def begin(self, server_ids: Iterable[str], *, deep: bool) -> int:
        """Order an inventory of each of these servers, replacing earlier orders; return the order's id."""
        id = new_id()
        with self._mutex:
            self._ordered = {server: Tally(InventoryOrder(id, deep=deep)) for server in server_ids}
        return id

    def order_for(self, server_id: str) -> InventoryOrder | None:
        """Return the inventory that the server has yet to take, for the reply to its heartbeat."""
        state = self._recovery.state
        if state is not None and self._recovery.covers(server_id):
            with self._mutex:
                id = self._recovering.setdefault(server_id, new_id())
            return InventoryOrder(id, state.backup_cursor, state.through)
        tally = self._ordered.get(server_id)
        return tally.order if tally is not None and not tally.done else None

    def note_done(self, server_id: str, id: int) -> None:
        """Note that the server has finished order `id`."""
        if id and id == self._recovering.get(server_id):
            self._recovery.server_done(server_id)
        tally = self._tally(server_id, id)
        if tally is not None:
            tally.done = True

    def tallies(self) -> dict[str, Tally]:
        """Return the tallies of the latest `begin`, by server."""
        return dict(self._ordered)

    def _tally(self, server_id: str, id: int) -> Tally | None:
        tally = self._ordered.get(server_id)
        return tally if tally is not None and id and tally.order.id == id else None

    # ------------------------------------------------------------ pages

    def compare(self, server_id: str, request: InventoryRequest) -> InventoryReply:
        """INVENTORY: compare one page in one snapshot. `held` decides again what counts, in its own transaction."""
        listed = set(request.digests)
        with self._store.read() as reader:
            held = rows.held_in_range(reader, server_id, request.after, MAX_INVENTORY + 1)
            through = request.through
            if len(held) > MAX_INVENTORY and (through is None or held[-2][0] < through):
                held = held[:-1]
                through = held[-1][0]  # more rows in this range than one reply can name: shorten the page
            if through is not None:
                held = [row for row in held if row[0] <= through]
                listed = {digest for digest in listed if digest <= through}
            counted = {digest for digest, _ in held}
            blobs = {digest: servers.find_blob(reader, digest) for digest in sorted(listed - counted)}
            absent = [digest for digest, damaged in held if digest not in listed and not damaged]
            missing = [digest for digest in absent if (blob := servers.find_blob(reader, digest)) and blob.refs > 0]
        uncounted = [digest for digest, blob in blobs.items() if blob is not None and blob.refs > 0]
        unknown = [digest for digest, blob in blobs.items() if blob is None]
        if uncounted:
            uncounted = self._count(server_id, uncounted)
        tally = self._tally(server_id, request.id)
        if tally is not None:
            tally.compared += len(listed)
            tally.unknown += len(unknown)
            tally.note(tally.counted, uncounted)
        named = unknown if self._recovery.covers(server_id) else []
        return InventoryReply(missing, named, len(uncounted), through)

    def _count(self, server_id: str, digests: list[Digest]) -> list[Digest]:
        """Count copies; return those that count now. The others were dropped while the page was in flight."""
        self._held(server_id, digests)
        with self._store.read() as reader:
            counted = [digest for digest in digests if server_id in servers.holders_of(reader, digest)]
        if counted:
            COUNTED.inc(len(counted))
            log.info("file_server-%s holds %d copies that the metadata lacked; counted them", server_id, len(counted))
        return counted

    def note_damaged(self, server_id: str, digests: Sequence[Digest], id: int) -> None:
        """Note a DAMAGED report: copies missing in the server's inventory `id`, or damaged ones (`id` 0)."""
        if id:
            MISSING.inc(len(digests))
        tally = self._ordered.get(server_id)
        if tally is not None and not tally.done:
            tally.note(tally.missing if id == tally.order.id else tally.damaged, digests)


def new_id() -> int:
    """Return a new order's id. Random, because a count would repeat after a restart."""
    return secrets.randbelow(1 << 52) + 1
