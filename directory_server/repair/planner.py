"""Repair: find blobs whose copies are not as promised, and have them copied again.

The planner walks over all blobs in small pages (repair_walk.py) whenever a server has gone, come back or lost its
disk, and every ten minutes besides. What it finds waits, most endangered first, until it is given to a target as an
order in the answer to a heartbeat. Nothing here is kept: after a restart the walk finds it all again. What a blob needs
is decided in copy_rules.py, copies too many are the trimmer's; reading the bytes, checking and storing them is the file
servers' work; they report with HELD.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from prometheus_client import Counter

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.cluster.membership import Membership
from directory_server.cluster.placement import Candidate, choose_target
from directory_server.maintenance.garbage_collector import Collector
from directory_server.metadata.statements import servers
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore, Tx
from directory_server.repair.balancer import Balancer, Move
from directory_server.repair.copy_orders import CopyOrders
from directory_server.repair.copy_rules import Need, ServerStatuses, judge, sources, spread
from directory_server.repair.surplus_copies import SurplusCopies
from directory_server.repair.walk import RepairWalk, Situation
from directory_server.repair.work_queue import MAX_KNOWN, WorkQueue
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.cluster import RepairInfo
from lockstep_store.wire.messages.servers import CopyOrder

REPAIR_GRACE_SECONDS = 60.0
ORDERS_PER_STEP = 256
ORDER_SECONDS = 60.0
IDLE_SECONDS = 1.0
RECENTLY_GIVEN_UP_SECONDS = 300.0
# While walking, the planner sleeps this many times as long as a page took: it must not be felt.
GENTLENESS = 4.0

REPAIRED = Counter("lockstep_directory_repaired_blobs", "Copies made again by order of the repair planner")
MOVED = Counter("lockstep_directory_balanced_blobs", "Copies made to even out how full the file servers are")


class RepairPlanner:
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
        self._mutex = threading.RLock()
        self.surplus = SurplusCopies(store, clock, collector, copies)
        self._balancer = Balancer(store)
        self._orders = CopyOrders(clock, order_seconds)
        self._queue = WorkQueue()
        self._moves: dict[Digest, Move] = {}
        self._salvaged: set[Digest] = set()
        self._walk = RepairWalk(store, clock)
        self._told: tuple[int, int] = (0, 0)
        self._repaired = 0
        self._refilled = membership.came_back_empty

    # ------------------------------------------------------------ the planner's job

    def step(self) -> float:
        """For a BackgroundJob: one page of the walk, a batch of orders and of offers; the seconds until the next."""
        started = time.monotonic()
        self._refill_empty_servers()
        balanced = False
        statuses = self.statuses()
        with self._mutex:
            self._take_back_late_orders()
            self._start_walk_if_needed(statuses)
            if self._walk.is_under_way:
                balanced = self._walk_on(statuses)
            self._give_orders(statuses)
            fullness = self._balancer.fullness(statuses)
            busy = self._walk.is_under_way
        for id, size in self.surplus.step(statuses, fullness):
            self._balancer.let_go(id, size)
        if balanced:
            self._balancer.finish()
        return max(0.01, GENTLENESS * (time.monotonic() - started)) if busy else IDLE_SECONDS

    def _refill_empty_servers(self) -> None:
        """A server that comes back with an empty disk gets its share again, also when its copies were made elsewhere
        meanwhile."""
        if self._membership.came_back_empty != self._refilled:
            self._refilled = self._membership.came_back_empty
            self.balance(True)

    def _start_walk_if_needed(self, statuses: ServerStatuses) -> None:
        situation = self._situation(statuses)
        if not self._walk.is_due(situation, is_wanted=self._is_walk_wanted()):
            return
        self._walk.begin(situation)
        self._salvaged.clear()
        self._queue.begin_count()
        self.surplus.overflowed = False
        self._balancer.begin_walk(statuses)

    def _situation(self, statuses: ServerStatuses) -> Situation:
        places = frozenset((id, server.zone, server.leaving) for id, server in statuses.items())
        zones = frozenset(server.zone for server in statuses.values() if server.writable)
        counting = (self._membership.whose_copies_count(self._grace), places, self._balancer.running)
        return Situation(counting, zones)

    def _is_walk_wanted(self) -> bool:
        has_room = self._queue.waiting < MAX_KNOWN // 2
        moved = self._balancer.running and not self._queue.count(Need.BALANCE) and not self._is_busy()
        more_found = (self._queue.overflowed and has_room) or (self.surplus.overflowed and not self.surplus.pending)
        return moved or more_found

    def _is_busy(self) -> bool:
        """Copies are being made or given up, or should be."""
        return bool(self._queue.count(Need.COPY) or self.surplus.pending or len(self._orders))

    def _walk_on(self, statuses: ServerStatuses) -> bool:
        """One page; True when a rebalance ends with it."""
        page = self._walk.page()
        for blob in page:
            self._balancer.count(blob)
            self._examine(blob, statuses)
        if not self._walk.done(page):
            return False
        found = (self._queue.count(Need.COPY), self._walk.lost)
        if found != self._told:
            log.info("repair: %d blobs have too few copies, %d no good one on any server that is up", *found)
        self._told = found
        return self._balancer.end_walk(is_calm=not self._is_busy())

    def _examine(self, blob: HeldBlob, statuses: ServerStatuses) -> None:
        """Note what a blob needs now, whatever was known before."""
        digest, verdict = blob.digest, judge(blob, statuses, self._copies)
        need = verdict.need
        if need in (Need.WAIT, Need.SALVAGE):
            self._walk.note_lost(digest)
        else:
            self._walk.note_not_lost(digest)
        if digest in self._orders:
            return
        move = self._moves.pop(digest, None)
        if need is None and verdict.counted == self._copies:
            move = self._balancer.consider(blob, statuses)
            if move is not None:
                self._moves[digest] = move
                self._queue.note(digest, Need.BALANCE)
                return
        if need is Need.DROP:
            self.surplus.note(digest, move.source if move is not None else "")
        if need in (None, Need.DROP, Need.WAIT) or (need is Need.SALVAGE and digest in self._salvaged):
            self._queue.settle(digest)
        else:
            assert need is not None
            self._queue.note(digest, need, verdict.safe)

    # ------------------------------------------------------------ orders

    def _give_orders(self, statuses: ServerStatuses) -> None:
        """Hand the most endangered to targets; what cannot be copied now waits for the next step."""
        postponed = []
        room = self._room()
        for _ in range(min(ORDERS_PER_STEP, self._queue.waiting)):
            if not any(candidate.writable for candidate in room) or self._must_hold_back():
                break
            found = self._queue.pop()
            if found is None:
                break
            if not self._order(found[0], room, statuses):
                # Behind all others, or a few that cannot be copied now would keep everyone else waiting.
                postponed.append(found[0])
            elif not all(self._orders.has_room(candidate.id) for candidate in room):
                room = self._room()
        for digest in postponed:
            self._queue.postpone(digest)

    def _room(self) -> list[Candidate]:
        return [c for c in self._membership.candidates() if self._orders.has_room(c.id)]

    def _must_hold_back(self) -> bool:
        """Until the walk is over, something more endangered than this may still be found."""
        urgency = self._queue.most_urgent
        return urgency is not None and urgency > 1 and self._walk.is_under_way and self._queue.waiting < MAX_KNOWN

    def _order(self, digest: Digest, room: Sequence[Candidate], statuses: ServerStatuses) -> bool:
        """Order one more copy; False when that cannot be done now."""
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        if blob is None:
            self._queue.settle(digest)
            return True
        move = self._moves.get(digest)
        need = judge(blob, statuses, self._copies).need
        if need is None and move is not None:
            need = Need.BALANCE
        if need in (None, Need.DROP, Need.WAIT):
            self._examine(blob, statuses)
            return True
        assert need is not None
        if need is Need.BALANCE and not self._orders.may_move():
            return False
        target = self._target(blob, need, room, statuses)
        if target is None:
            return self._give_up_improving(digest, need)
        given = [source for source in sources(blob, statuses) if source.id != target.id]
        if not any(source.up for source in given) and target.id not in blob.damaged:
            return False
        if need is Need.SALVAGE:
            self._salvaged.add(digest)
        self._queue.note(digest, need)
        self._queue.take(digest)
        self._orders.give(target.id, CopyOrder(digest, blob.size, given), need)
        crash_point("directory.repair.ordered")
        return True

    def _target(
        self, blob: HeldBlob, need: Need, room: Sequence[Candidate], statuses: ServerStatuses
    ) -> Candidate | None:
        if need is Need.BALANCE:
            wanted = self._moves[blob.digest].target
            return next((c for c in room if c.id == wanted and c.writable and c.id not in blob.holders), None)
        if need is Need.SALVAGE:
            room = [candidate for candidate in room if candidate.id in blob.damaged]
        counted = [statuses[id] for id in blob.sound if id in statuses and statuses[id].counts]
        zones = {server.zone for server in counted}
        # A server with a damaged copy has most of its chunks already, and is made whole by the same order.
        target = choose_target(str(blob.digest), room, blob.sound, zones, prefer=blob.damaged)
        if need is Need.SPREAD and target is not None and spread([*counted, statuses[target.id]]) == len(zones):
            return None
        return target

    def _give_up_improving(self, digest: Digest, need: Need) -> bool:
        """What is only to be improved is not waited for: a later walk finds it again if it is still so."""
        if need in (Need.COPY, Need.MOVE):
            return False
        self._moves.pop(digest, None)
        self._queue.settle(digest)
        return True

    def orders_for(self, server_id: str) -> list[CopyOrder]:
        """For the heartbeat's answer: what this server has been ordered and not been told yet."""
        statuses = self.statuses()
        with self._mutex:
            if self._queue.waiting and self._orders.is_nearly_done(server_id):
                self._give_orders(statuses)
            return self._orders.tell(server_id)

    def _take_back_late_orders(self) -> None:
        for digest, need in self._orders.take_back_late():
            self._queue.settle(digest)
            if need is not Need.SALVAGE:  # what cannot be put together now is tried again with the next walk
                self._queue.note(digest, need, 1)

    # ------------------------------------------------------------ what file servers report

    def held(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """HELD: the caller has these durably, whole. Counts them as copies; answers those that nothing refers to."""

        if self._membership.state(server_id) == "removed":
            return []  # it was asked before it was removed
        lately = self._clock.now() - RECENTLY_GIVEN_UP_SECONDS
        with self._mutex:
            ordered = {digest for digest in digests if self._orders.target(digest) == server_id}

        def note(tx: Tx) -> tuple[list[Digest], list[Digest]]:
            unwanted, new = [], []
            for digest in digests:
                facts = servers.blob_facts(tx, digest)
                if facts is not None and facts[1] > 0:
                    if digest not in ordered and self.surplus.given_up(tx, digest, server_id, lately):
                        continue  # said before it was let go, heard after: it is not there any more
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
                    self._look_again(digest, statuses)
        return unwanted

    def _count_done(self, need: Need) -> None:
        if need is Need.BALANCE:
            MOVED.inc()
        else:
            self._repaired += 1
            REPAIRED.inc()

    def _look_again(self, digest: Digest, statuses: ServerStatuses) -> None:
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        if blob is None:
            self._queue.settle(digest)
        else:
            self._examine(blob, statuses)

    def collect(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """COLLECT: those of the caller's copies that are too many, and that it was offered to drop."""
        with self._mutex:
            asked = [digest for digest in digests if digest not in self._orders]
        return self.surplus.collect(server_id, asked, self.statuses)

    def damaged(self, server_id: str, digests: Sequence[Digest]) -> None:
        """DAMAGED: these copies failed their check. They count no more and are made again.

        They stay in the books, marked: a report that was wrong must not make the directory forget where bytes are.
        A write that is under way may have sealed the blob there before the damage was found, and would count it as
        whole; so what began before the report may not count that server.
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
                self._look_again(digest, statuses)

    # ------------------------------------------------------------ balancing

    def balance(self, running: bool) -> None:
        """Start moving copies from full servers to empty ones, or stop that where it is. Durable on return."""
        self._balancer.switch(running)
        with self._mutex:
            if not running:
                self._queue.forget_all(Need.BALANCE)
                self._moves.clear()

    # ------------------------------------------------------------ telling

    def statuses(self) -> ServerStatuses:
        """What each server is good for now, by this planner's grace."""
        return self._membership.statuses(self._grace)

    def is_settled(self) -> bool:
        """Every blob has been looked at since any server came or went."""
        statuses = self.statuses()
        with self._mutex:
            return self._walk.is_over(self._situation(statuses))

    def finished(self) -> bool:
        """Every blob has been looked at, and everything that can be repaired is."""
        with self._mutex:
            return self.is_settled() and not self._orders and not self._queue.can_do_something

    def info(self) -> RepairInfo:
        """What is known now: while a walk is under way, the figures may still rise."""
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
