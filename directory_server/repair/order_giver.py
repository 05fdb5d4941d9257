"""Gives copy orders: takes the most urgent blobs from the queue and chooses a target and sources for each."""

from __future__ import annotations

from collections.abc import Sequence

from directory_server.cluster.membership import Membership
from directory_server.cluster.placement import Candidate, choose_target
from directory_server.metadata.statements import servers
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore
from directory_server.repair.blob_needs import BlobNeeds
from directory_server.repair.copy_rules import Need, ServerStatuses, sources, spread
from directory_server.repair.work_queue import MAX_KNOWN
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.servers import CopyOrder

ORDERS_PER_STEP = 256


class OrderGiver:
    """Orders copies of queued blobs. Not thread-safe: use it under the planner's mutex."""

    def __init__(self, store: MetadataStore, membership: Membership, needs: BlobNeeds) -> None:
        self._store = store
        self._membership = membership
        self._needs = needs
        self._queue = needs.queue
        self._orders = needs.orders

    def give(self, statuses: ServerStatuses) -> None:
        """Order copies of the most endangered blobs; those that cannot be copied now wait for the next step."""
        postponed = []
        room = self._room()
        for _ in range(min(ORDERS_PER_STEP, self._queue.waiting)):
            if not any(candidate.writable for candidate in room) or self._must_hold_back():
                break
            found = self._queue.pop()
            if found is None:
                break
            if not self._order(found[0], room, statuses):
                # Moved to the end, or a few blobs that cannot be copied now would block all others.
                postponed.append(found[0])
            elif not all(self._orders.has_room(candidate.id) for candidate in room):
                room = self._room()
        for digest in postponed:
            self._queue.postpone(digest)

    def take_back_late(self) -> None:
        """Queue the blobs of late orders again."""
        for digest, need in self._orders.take_back_late():
            self._queue.settle(digest)
            if need is not Need.SALVAGE:  # the next walk tries again
                self._queue.note(digest, need, 1)

    def _room(self) -> list[Candidate]:
        return [c for c in self._membership.candidates() if self._orders.has_room(c.id)]

    def _must_hold_back(self) -> bool:
        """Whether to wait for the end of the walk, which may still find blobs in more danger."""
        urgency = self._queue.most_urgent
        is_walking = self._needs.walk.is_under_way
        return urgency is not None and urgency > 1 and is_walking and self._queue.waiting < MAX_KNOWN

    def _order(self, digest: Digest, room: Sequence[Candidate], statuses: ServerStatuses) -> bool:
        """Order one more copy; return False if that is not possible now."""
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        if blob is None:
            self._queue.settle(digest)
            return True
        need = self._needs.of(blob, statuses)
        if need in (None, Need.DROP, Need.WAIT):
            self._needs.examine(blob, statuses)
            return True
        assert need is not None
        if need is Need.BALANCE and not self._orders.may_move():
            return False
        target = self._target(blob, need, room, statuses)
        if target is None:
            if need in (Need.COPY, Need.MOVE):
                return False
            self._needs.give_up(digest)  # its copies could only be placed better
            return True
        given = [source for source in sources(blob, statuses) if source.id != target.id]
        if not any(source.up for source in given) and target.id not in blob.damaged:
            return False
        self._needs.note_ordered(digest, need)
        self._orders.give(target.id, CopyOrder(digest, blob.size, given), need)
        crash_point("directory.repair.ordered")
        return True

    def _target(
        self, blob: HeldBlob, need: Need, room: Sequence[Candidate], statuses: ServerStatuses
    ) -> Candidate | None:
        if need is Need.BALANCE:
            wanted = self._needs.target_of_move(blob.digest)
            return next((c for c in room if c.id == wanted and c.writable and c.id not in blob.holders), None)
        if need is Need.SALVAGE:
            room = [candidate for candidate in room if candidate.id in blob.damaged]
        counted = [statuses[id] for id in blob.sound if id in statuses and statuses[id].counts]
        zones = {server.zone for server in counted}
        # A server with a damaged copy has most of the chunks already, and the same order repairs it.
        target = choose_target(str(blob.digest), room, blob.sound, zones, prefer=blob.damaged)
        if need is Need.SPREAD and target is not None and spread([*counted, statuses[target.id]]) == len(zones):
            return None
        return target
