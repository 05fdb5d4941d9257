"""Inventories: what file servers say they hold, compared with the books.

A server names everything it has, page by page in digest order (after it registers, once a day, and when an order
asks for it). Copies that the books miss are counted again, the way a finished copy order is, so that what was just
given up is not counted and what is too much is trimmed; copies that the books count and nobody has are named to the
server, which looks again before it reports them. Blobs that no version refers to are the collector's, except while
recovery waits for the server.
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

COUNTED = Counter("lockstep_directory_counted_again", "Copies that inventories found and the books did not count")
MISSING = Counter("lockstep_directory_missing_copies", "Copies that the books counted and their servers did not have")


@dataclass
class Tally:
    """What one ordered inventory of one server has come to; at most `MAX_PROBLEMS` digests of a kind are kept."""

    order: InventoryOrder
    compared: int = 0
    unknown: int = 0
    missing: dict[Digest, None] = field(default_factory=dict)
    damaged: dict[Digest, None] = field(default_factory=dict)
    counted: dict[Digest, None] = field(default_factory=dict)
    more: int = 0
    done: bool = False

    def note(self, kind: dict[Digest, None], digests: Iterable[Digest]) -> None:
        """Add digests to one of the kinds."""
        for digest in digests:
            if digest in kind:
                continue
            if len(kind) < MAX_PROBLEMS:
                kind[digest] = None
            else:
                self.more += 1


class Inventories:
    """Thread-safe. `held` counts copies as the repair planner does, and says which are unwanted."""

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
        """Order an inventory of each of these servers, in place of what was ordered before; its id."""
        id = new_id()
        with self._mutex:
            self._ordered = {server: Tally(InventoryOrder(id, deep=deep)) for server in server_ids}
        return id

    def order_for(self, server_id: str) -> InventoryOrder | None:
        """For the heartbeat's answer: what this server has still to do."""
        state = self._recovery.state
        if state is not None and self._recovery.covers(server_id):
            with self._mutex:
                id = self._recovering.setdefault(server_id, new_id())
            return InventoryOrder(id, state.backup_cursor, state.through)
        tally = self._ordered.get(server_id)
        return tally.order if tally is not None and not tally.done else None

    def note_done(self, server_id: str, id: int) -> None:
        """The server says that it has carried out order `id`."""
        if id and id == self._recovering.get(server_id):
            self._recovery.server_done(server_id)
        tally = self._tally(server_id, id)
        if tally is not None:
            tally.done = True

    def tallies(self) -> dict[str, Tally]:
        """Of the latest `begin`, by server."""
        return dict(self._ordered)

    def _tally(self, server_id: str, id: int) -> Tally | None:
        tally = self._ordered.get(server_id)
        return tally if tally is not None and id and tally.order.id == id else None

    # ------------------------------------------------------------ pages

    def compare(self, server_id: str, request: InventoryRequest) -> InventoryReply:
        """INVENTORY: one page. It reads one snapshot; what is to be counted is decided again when it is written."""
        listed = set(request.digests)
        with self._store.read() as reader:
            books = rows.held_in_range(reader, server_id, request.after, MAX_INVENTORY + 1)
            through = request.through
            if len(books) > MAX_INVENTORY and (through is None or books[-2][0] < through):
                books = books[:-1]
                through = books[-1][0]  # the books have more in this range than one answer can name
            if through is not None:
                books = [row for row in books if row[0] <= through]
                listed = {digest for digest in listed if digest <= through}
            counted = {digest for digest, _ in books}
            facts = {digest: servers.blob_facts(reader, digest) for digest in sorted(listed - counted)}
            absent = [digest for digest, damaged in books if digest not in listed and not damaged]
            missing = [digest for digest in absent if (known := servers.blob_facts(reader, digest)) and known[1] > 0]
        uncounted = [digest for digest, known in facts.items() if known is not None and known[1] > 0]
        unknown = [digest for digest, known in facts.items() if known is None]
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
        """Those of `digests` that count now; the others were given up while the page was on its way."""
        self._held(server_id, digests)
        with self._store.read() as reader:
            counted = [digest for digest in digests if server_id in servers.holders_of(reader, digest)]
        if counted:
            COUNTED.inc(len(counted))
            log.info("file_server-%s holds %d copies that were not counted", server_id, len(counted))
        return counted

    def note_damaged(self, server_id: str, digests: Sequence[Digest], id: int) -> None:
        """DAMAGED was reported for a server: as missing by its inventory `id`, or as bytes that are bad (0)."""
        if id:
            MISSING.inc(len(digests))
        tally = self._ordered.get(server_id)
        if tally is not None and not tally.done:
            tally.note(tally.missing if id == tally.order.id else tally.damaged, digests)


def new_id() -> int:
    """An order's id; the directory and its file servers restart at different times, so it is not a count."""
    return secrets.randbelow(1 << 52) + 1
