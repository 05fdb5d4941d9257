"""The repair planner: finds blobs whose copies are not as promised, and orders new copies.

It walks over all blobs in small pages (walk.py) whenever a server leaves, returns or loses its disk, and every ten
minutes. Blobs wait in the work queue, most endangered first, until a heartbeat's reply carries the order to a target.
Nothing is stored: after a restart the walk finds everything again. blob_needs.py notes what a blob needs,
order_giver.py orders copies, and surplus_copies.py drops extra ones. File servers read, check and store the bytes, and
report with HELD.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from prometheus_client import Counter

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.membership import Membership
from directory_server.defaults import REPAIR_GRACE_SECONDS
from directory_server.maintenance.garbage_collector import Collector
from directory_server.metadata.statements import servers
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.repair.blob_needs import BlobNeeds
from directory_server.repair.copy_rules import Need, ServerStatuses
from directory_server.repair.order_giver import OrderGiver
from directory_server.repair.surplus_copies import SurplusCopies
from directory_server.repair.walk import Situation
from directory_server.repair.work_queue import MAX_KNOWN
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.cluster import RepairInfo
from lockstep_store.wire.messages.servers import CopyOrder

ORDER_SECONDS = 60.0
IDLE_SECONDS = 1.0
RECENTLY_GIVEN_UP_SECONDS = 300.0
# While walking, the planner sleeps this many times as long as a page took, so that others do not notice it.
GENTLENESS = 4.0

REPAIRED = Counter("lockstep_directory_repaired_blobs", "Copies made again by order of the repair planner")
MOVED = Counter("lockstep_directory_balanced_blobs", "Copies made to even out how full the file servers are")


class RepairPlanner:
    """Plans repair. Thread-safe.

    `copies` are promised. A server that is down for more than `grace` seconds counts as gone.
    """

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
        self._grace = grace
        self._mutex = threading.RLock()
        self.surplus = SurplusCopies(store, clock, collector, copies)
        self._needs = needs = BlobNeeds(store, clock, self.surplus, copies, order_seconds)
        self._balancer, self._orders, self._queue, self._walk = needs.balancer, needs.orders, needs.queue, needs.walk
        self._giver = OrderGiver(store, membership, needs)
        self._logged: tuple[int, int] = (0, 0)
        self._repaired = 0
        self._refilled = membership.came_back_empty

    # ------------------------------------------------------------ the planner's job

    def step(self) -> float:
        """Walk one page, give a batch of orders and offers; return the seconds until the next step."""
        started = time.monotonic()
        self._refill_empty_servers()
        balanced = False
        statuses = self.statuses()
        with self._mutex:
            self._giver.take_back_late()
            self._start_walk_if_needed(statuses)
            if self._walk.is_under_way:
                balanced = self._walk_on(statuses)
            self._giver.give(statuses)
            fullness = self._balancer.fullness(statuses)
            busy = self._walk.is_under_way
        for id, size in self.surplus.step(statuses, fullness):
            self._balancer.let_go(id, size)
        if balanced:
            self._balancer.finish()
        return max(0.01, GENTLENESS * (time.monotonic() - started)) if busy else IDLE_SECONDS

    def _refill_empty_servers(self) -> None:
        """Balance again when a server returned with an empty disk, even if its copies were made elsewhere since."""
        if self._membership.came_back_empty != self._refilled:
            self._refilled = self._membership.came_back_empty
            self.balance(True)

    def _start_walk_if_needed(self, statuses: ServerStatuses) -> None:
        situation = self._situation(statuses)
        if not self._walk.is_due(situation, is_wanted=self._is_walk_wanted()):
            return
        self._walk.begin(situation)
        self._needs.begin_walk(statuses)

    def _situation(self, statuses: ServerStatuses) -> Situation:
        places = frozenset((id, server.zone, server.leaving) for id, server in statuses.items())
        zones = frozenset(server.zone for server in statuses.values() if server.writable)
        counting = (self._membership.whose_copies_count(self._grace), places, self._balancer.running)
        return Situation(counting, zones)

    def _is_walk_wanted(self) -> bool:
        has_room = self._queue.waiting < MAX_KNOWN // 2
        moved = self._balancer.running and not self._queue.count(Need.BALANCE) and not self._needs.is_busy()
        more_found = (self._queue.overflowed and has_room) or (self.surplus.overflowed and not self.surplus.pending)
        return moved or more_found

    def _walk_on(self, statuses: ServerStatuses) -> bool:
        """Examine one page; return True if balancing ends with it."""
        page = self._walk.page()
        for blob in page:
            self._balancer.count(blob)
            self._needs.examine(blob, statuses)
        if not self._walk.done(page):
            return False
        found = (self._queue.count(Need.COPY), self._walk.lost)
        if found != self._logged:
            log.info("repair: %d blobs have too few copies, %d have no good copy on a server that is up", *found)
        self._logged = found
        return self._balancer.end_walk(is_calm=not self._needs.is_busy())

    # ------------------------------------------------------------ orders

    def orders_for(self, server_id: str) -> list[CopyOrder]:
        """Return new orders for this server, for the reply to its heartbeat."""
        statuses = self.statuses()
        with self._mutex:
            if self._queue.waiting and self._orders.is_nearly_done(server_id):
                self._giver.give(statuses)
            return self._orders.unsent(server_id)

    # ------------------------------------------------------------ reports of file servers

    def held(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """HELD: count the caller's durable, whole copies of these blobs; return those that nothing refers to."""
        if self._membership.state(server_id) == "removed":
            return []  # the server was removed after it got the order
        lately = self._clock.now() - RECENTLY_GIVEN_UP_SECONDS
        with self._mutex:
            ordered = {digest for digest in digests if self._orders.target(digest) == server_id}

        def note(tx: Tx) -> tuple[list[Digest], list[Digest]]:
            unwanted, new = [], []
            for digest in digests:
                blob = servers.find_blob(tx, digest)
                if blob is not None and blob.refs > 0:
                    if digest not in ordered and self.surplus.given_up(tx, digest, server_id, lately):
                        continue  # the report was sent before the copy was dropped: it is not there any more
                    if servers.add_holder(tx, digest, server_id):
                        new.append(digest)
                    crash_point("directory.held.noted")
                elif self._collector.drop_in(tx, server_id, digest):
                    self.surplus.remember(tx, server_id, digest)
                    unwanted.append(digest)
            return unwanted, new

        unwanted, new = self._store.write(note)
        crash_point("directory.held.done")
        statuses = self.statuses()
        with self._mutex:
            for digest in digests:
                need = self._orders.done(server_id, digest)
                if need is not None:
                    self._count_done(need)
                if need is not None or digest in new:
                    self._needs.examine_again(digest, statuses)
        return unwanted

    def _count_done(self, need: Need) -> None:
        if need is Need.BALANCE:
            MOVED.inc()
        else:
            self._repaired += 1
            REPAIRED.inc()

    def collect(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """COLLECT: choose which of the caller's surplus copies, offered before, it may drop."""
        with self._mutex:
            asked = [digest for digest in digests if digest not in self._orders]
        return self.surplus.collect(server_id, asked, self.statuses)

    def damaged(self, server_id: str, digests: Sequence[Digest]) -> None:
        """DAMAGED: these copies failed their check. They no longer count, and new copies are made.

        Their holder rows stay, with a mark: a wrong report must not make the directory forget where bytes are. A write
        under way may have sealed the blob there before the damage was found; if it began before the report, its commit
        may not count that server.
        """

        def note(tx: Tx) -> list[Digest]:
            for digest in digests:
                self.surplus.remember(tx, server_id, digest)
            return [digest for digest in digests if servers.mark_damaged(tx, digest, server_id)]

        noted = self._store.write(note)
        crash_point("directory.damage.noted")
        statuses = self.statuses()
        with self._mutex:
            for digest in noted:
                log.error("the copy of %s on file_server-%s is damaged", digest, server_id)
                self._needs.examine_again(digest, statuses)

    def examine_all(self) -> None:
        """Examine every blob again, because holders were changed elsewhere: records of a restored directory."""
        with self._mutex:
            self._walk.begin_again()

    # ------------------------------------------------------------ balancing

    def balance(self, running: bool) -> None:
        """Start or stop moving copies from full servers to empty ones. Durable on return."""
        self._balancer.switch(running)
        with self._mutex:
            if not running:
                self._needs.forget_moves()

    # ------------------------------------------------------------ reports

    def statuses(self) -> ServerStatuses:
        """Return the status of each server, with this planner's grace."""
        return self._membership.statuses(self._grace)

    def is_settled(self) -> bool:
        """Whether every blob has been examined since the last server came or went."""
        statuses = self.statuses()
        with self._mutex:
            return self._walk.is_over(self._situation(statuses))

    def finished(self) -> bool:
        """Whether every blob has been examined, and everything that can be repaired is."""
        with self._mutex:
            return self.is_settled() and not self._orders and not self._queue.can_do_something

    def info(self) -> RepairInfo:
        """Return the counts so far; they may still rise during a walk."""
        silent = [id for id, status in self.statuses().items() if status.counts and not status.readable]
        with self._mutex:
            return RepairInfo(
                under_copied=self._queue.count(Need.COPY),
                without_living_copy=self._walk.lost,
                ordered=len(self._orders),
                repaired_since_start=self._repaired,
                to_move=self._queue.count(Need.MOVE),
                surplus=self.surplus.pending,
                dropped_since_start=self.surplus.dropped,
                balancing=self._balancer.running,
                to_balance=self._queue.count(Need.BALANCE),
                walking=self._walk.is_under_way,
                silent=silent,
            )
