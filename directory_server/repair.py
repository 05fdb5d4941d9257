"""Repair: find blobs with too few living copies, and have them copied again.

The planner walks over all blobs in small pages whenever a server has gone, come back or lost its disk, and every ten
minutes besides. What it finds waits, most endangered first, until it is given to a target as an order in the answer
to a heartbeat. Nothing here is kept: after a restart the walk finds it all again. Reading the bytes, checking and
storing them is the file servers' work; they report with HELD.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from directory_server.collector import Collector
from directory_server.copy_rules import Standing
from directory_server.directory_clock import DirectoryClock
from directory_server.membership import Membership
from directory_server.metadata import people, servers
from directory_server.metadata.servers import HeldBlob
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.placement import Candidate, choose_target
from wire.cluster_messages import RepairInfo
from wire.crash_points import crash_point
from wire.digest import Digest
from wire.messages import Holder
from wire.server_messages import MAX_ORDERS, CopyOrder
from wire.tracing import log

REPAIR_GRACE_SECONDS = 60.0
PAGE = 1000
MAX_WAITING = 20_000
ORDERS_PER_STEP = 256
WALK_AGAIN_SECONDS = 600.0
ORDER_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 4 << 20
IDLE_SECONDS = 1.0
POSTPONED = 100
_BALANCING = "balancing"
# While walking, the planner sleeps this many times as long as a page took: it must not be felt.
GENTLENESS = 4.0

REPAIRED = Counter("lockstep_directory_repaired_blobs", "Copies made again by order of the repair planner")


@dataclass
class _Order:
    order: CopyOrder
    deadline: float
    sent: bool = False


class Repair:
    """Thread-safe. `copies` is how many are promised; `grace` the seconds a server may be down before it counts as
    gone."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        membership: Membership,
        collector: Collector,
        copies: int,
        grace: float = REPAIR_GRACE_SECONDS,
        order_seconds: float = ORDER_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._membership = membership
        self._collector = collector
        self._copies = copies
        self._grace = grace
        self._order_seconds = order_seconds
        self._mutex = threading.RLock()
        self._orders: dict[str, dict[Digest, _Order]] = {}
        self._waiting: list[tuple[int, Digest]] = []
        self._queued: set[Digest] = set()
        self._after: bytes | None = None
        self._walked_for: tuple[int, frozenset[str]] | None = None
        self._walked_at = 0.0
        self._overflowed = False
        self._found = [0, 0]
        self._told = [0, 0]
        self._repaired = 0
        with store.read() as reader:
            self._balancing = people.read_setting(reader, _BALANCING) == "on"

    # ------------------------------------------------------------ the planner's job

    def step(self) -> float:
        """For a BackgroundJob: one page of the walk and a batch of orders; the seconds until the next."""
        started = time.monotonic()
        with self._mutex:
            self._take_back_late_orders()
            self._start_walk_if_needed()
            if self._after is not None:
                self._walk()
            self._give_orders()
            busy = self._after is not None
        return max(0.01, GENTLENESS * (time.monotonic() - started)) if busy else IDLE_SECONDS

    def _start_walk_if_needed(self) -> None:
        now, situation = self._clock.now(), self._membership.whose_copies_count(self._grace)
        drained = self._overflowed and self._after is None and len(self._waiting) < MAX_WAITING // 2
        late = self._after is None and now - self._walked_at >= WALK_AGAIN_SECONDS
        if situation != self._walked_for or drained or late:
            self._walked_for, self._walked_at = situation, now
            self._after, self._found, self._overflowed = b"", [0, 0], False

    def _walk(self) -> None:
        assert self._after is not None
        with self._store.read() as reader:
            page = servers.page_of_blobs(reader, self._after, PAGE)
        for blob in page:
            self._examine(blob)
        self._after = page[-1].digest if len(page) == PAGE else None
        if self._after is None:
            if self._found != self._told:
                log.info("repair: %d blobs have too few copies, %d no living one", *self._found)
            self._told = self._found

    def _examine(self, blob: HeldBlob) -> None:
        living = len(self._membership.living(blob.holders, self._grace))
        if living >= self._copies:
            return
        # Copies on a server that is draining do not count, and are as good as any to copy from.
        if living == 0 and not self._sources(blob):
            self._found[1] += 1
            return
        self._found[0] += 1
        self._enqueue(living, blob.digest)

    def _enqueue(self, living: int, digest: Digest) -> None:
        if digest in self._queued or any(digest in orders for orders in self._orders.values()):
            return
        if len(self._waiting) >= MAX_WAITING:
            self._overflowed = True
            return
        self._queued.add(digest)
        heapq.heappush(self._waiting, (living, digest))

    # ------------------------------------------------------------ orders

    def _give_orders(self) -> None:
        """Hand the most endangered to targets; what cannot be copied now waits for the next step."""
        postponed: list[tuple[int, Digest]] = []
        room = [c for c in self._membership.candidates() if len(self._orders.get(c.id, ())) < MAX_ORDERS]
        for _ in range(min(ORDERS_PER_STEP, len(self._waiting))):
            if not any(candidate.writable for candidate in room) or self._must_hold_back():
                break
            living, digest = heapq.heappop(self._waiting)
            if not self._order(digest, room):
                # Behind all others, or a few that cannot be copied now would keep everyone else waiting.
                postponed.append((max(living, POSTPONED), digest))
                continue
            self._queued.discard(digest)
            room = [c for c in room if len(self._orders.get(c.id, ())) < MAX_ORDERS]
        for item in postponed:
            heapq.heappush(self._waiting, item)

    def _must_hold_back(self) -> bool:
        """Until the walk is over, something more endangered than this may still be found."""
        return self._waiting[0][0] > 1 and self._after is not None and len(self._waiting) < MAX_WAITING

    def _order(self, digest: Digest, room: Sequence[Candidate]) -> bool:
        """Order one more copy; True when that is done or no longer needed."""
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        if blob is None or len(self._membership.living(blob.holders, self._grace)) >= self._copies:
            return True
        sources = self._sources(blob)
        target = choose_target(str(digest), room, blob.holders)
        if target is None or not any(source.up for source in sources):
            return False
        seconds = self._order_seconds + blob.size / SLOWEST_BYTES_PER_SECOND
        order = CopyOrder(digest, blob.size, sources)
        self._orders.setdefault(target.id, {})[digest] = _Order(order, self._clock.now() + seconds)
        crash_point("directory.repair.ordered")
        return True

    def _sources(self, blob: HeldBlob) -> list[Holder]:
        holders = self._membership.holders_in_reading_order(blob.holders)
        return [h for h in holders if h.up or h.id in self._membership.living([h.id], self._grace)]

    def orders_for(self, server_id: str) -> list[CopyOrder]:
        """For the heartbeat's answer: what this server has been ordered and not been told yet."""
        with self._mutex:
            if self._waiting and len(self._orders.get(server_id, ())) < MAX_ORDERS // 2:
                self._give_orders()
            orders = [o for o in self._orders.get(server_id, {}).values() if not o.sent]
            for order in orders:
                order.sent = True
            return [order.order for order in orders]

    def _take_back_late_orders(self) -> None:
        now = self._clock.now()
        for orders in self._orders.values():
            for digest in [digest for digest, order in orders.items() if order.deadline <= now]:
                del orders[digest]
                self._enqueue(1, digest)

    # ------------------------------------------------------------ what file servers report

    def held(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """HELD: the caller has these durably. Counts them as copies; answers those that nothing refers to."""

        def note(tx: Tx) -> list[Digest]:
            unwanted = []
            for digest in digests:
                facts = servers.blob_facts(tx, digest)
                if facts is not None and facts[1] > 0:
                    servers.add_holder(tx, digest, server_id)
                    crash_point("directory.held.noted")
                elif self._collector.drop_in(tx, server_id, digest):
                    unwanted.append(digest)
            return unwanted

        unwanted = self._store.write(note)
        crash_point("directory.held.done")
        with self._mutex:
            for digest in digests:
                if self._orders.get(server_id, {}).pop(digest, None) is not None:
                    self._count_repaired(digest)
        return unwanted

    def _count_repaired(self, digest: Digest) -> None:
        self._repaired += 1
        REPAIRED.inc()
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        living = len(self._membership.living(blob.holders, self._grace)) if blob else self._copies
        if living < self._copies:
            self._enqueue(living, digest)
            return
        self._told = [max(0, self._told[0] - 1), self._told[1]]
        if self._after is not None and digest <= self._after:
            self._found[0] = max(0, self._found[0] - 1)

    def damaged(self, server_id: str, digests: Sequence[Digest]) -> None:
        """DAMAGED: these copies failed their check. They count no more and are made again.

        The last known copy stays in the books: a report that was wrong must not make the directory forget where the
        bytes are.
        """

        def note(tx: Tx) -> list[tuple[Digest, bool]]:
            noted = []
            for digest in digests:
                holders = servers.holders_of(tx, digest)
                if server_id in holders:
                    others = len(holders) > 1
                    noted.append((digest, others and servers.drop_holder(tx, digest, server_id)))
            return noted

        noted = self._store.write(note)
        crash_point("directory.damage.noted")
        for digest, dropped in noted:
            log.error(
                "the copy of %s on file_server-%s is damaged%s", digest, server_id,
                "; it is copied again" if dropped else ", and it is the only one",
            )  # fmt: skip
            if dropped:
                with self._mutex:
                    self._enqueue(1, digest)
                    self._told = [self._told[0] + 1, self._told[1]]

    def balance(self, running: bool) -> None:
        """Start moving copies from full servers to empty ones, or stop that where it is. Durable on return."""
        self._store.write(lambda tx: people.write_setting(tx, _BALANCING, "on" if running else "off"))
        with self._mutex:
            self._balancing = running

    # ------------------------------------------------------------ telling

    def standings(self) -> dict[str, Standing]:
        """What each server is good for now, by this planner's grace."""
        return self._membership.standings(self._grace)

    def finished(self) -> bool:
        """Every blob has been looked at, and nothing is left that can be done now."""
        with self._mutex:
            return self._after is None and not self._waiting and not any(self._orders.values())

    def info(self) -> RepairInfo:
        """Counts of the last complete walk, kept up to date by what was repaired since."""
        with self._mutex:
            found = self._found if self._after is not None else [0, 0]
            return RepairInfo(
                under_copied=max(self._told[0], found[0]),
                without_living_copy=max(self._told[1], found[1]),
                ordered=sum(len(orders) for orders in self._orders.values()),
                repaired_since_start=self._repaired,
                balancing=self._balancing,
                walking=self._after is not None,
            )
