"""What each examined blob needs: the state that the repair planner and the order giver share.

copy_rules.py judges a blob. This module notes the result: in the work queue, with the surplus copies, as a move for
balance, or as lost.
"""

from __future__ import annotations

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import servers
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore
from directory_server.repair.balancer import Balancer, Move
from directory_server.repair.copy_orders import CopyOrders
from directory_server.repair.copy_rules import Need, ServerStatuses, judge
from directory_server.repair.surplus_copies import SurplusCopies
from directory_server.repair.walk import RepairWalk
from directory_server.repair.work_queue import WorkQueue
from lockstep_store.wire.digest import Digest


class BlobNeeds:
    """Notes what blobs need. `copies` are promised. Not thread-safe: use it under the planner's mutex."""

    def __init__(
        self, store: MetadataStore, clock: DirectoryClock, surplus: SurplusCopies, copies: int, order_seconds: float
    ) -> None:
        self._store = store
        self._copies = copies
        self.surplus = surplus
        self.balancer = Balancer(store)
        self.orders = CopyOrders(clock, order_seconds)
        self.queue = WorkQueue()
        self.walk = RepairWalk(store, clock)
        self._moves: dict[Digest, Move] = {}
        self._salvaged: set[Digest] = set()

    def begin_walk(self, statuses: ServerStatuses) -> None:
        """Forget what only holds for one walk."""
        self._salvaged.clear()
        self.queue.begin_count()
        self.surplus.overflowed = False
        self.balancer.begin_walk(statuses)

    def is_busy(self) -> bool:
        """Whether copies are being made or dropped, or should be."""
        return bool(self.queue.count(Need.COPY) or self.surplus.pending or len(self.orders))

    def of(self, blob: HeldBlob, statuses: ServerStatuses) -> Need | None:
        """Return what a blob needs now, its planned move included."""
        need = judge(blob, statuses, self._copies).need
        return Need.BALANCE if need is None and blob.digest in self._moves else need

    def examine(self, blob: HeldBlob, statuses: ServerStatuses) -> None:
        """Note what a blob needs now, replacing what was known before."""
        digest, verdict = blob.digest, judge(blob, statuses, self._copies)
        need = verdict.need
        if need in (Need.WAIT, Need.SALVAGE):
            self.walk.note_lost(digest)
        else:
            self.walk.note_not_lost(digest)
        if digest in self.orders:
            return
        move = self._moves.pop(digest, None)
        if need is None and verdict.counted == self._copies:
            move = self.balancer.consider(blob, statuses)
            if move is not None:
                self._moves[digest] = move
                self.queue.note(digest, Need.BALANCE)
                return
        if need is Need.DROP:
            self.surplus.note(digest, move.source if move is not None else "")
        if need in (None, Need.DROP, Need.WAIT) or (need is Need.SALVAGE and digest in self._salvaged):
            self.queue.settle(digest)
        else:
            assert need is not None
            self.queue.note(digest, need, verdict.safe)

    def examine_again(self, digest: Digest, statuses: ServerStatuses) -> None:
        """Examine a blob whose copies have changed."""
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        if blob is None:
            self.queue.settle(digest)
        else:
            self.examine(blob, statuses)

    def target_of_move(self, digest: Digest) -> str:
        """Return the server to which the blob's planned move goes."""
        return self._moves[digest].target

    def note_ordered(self, digest: Digest, need: Need) -> None:
        """Note that a copy was ordered for this need; a salvage is tried once in each walk."""
        if need is Need.SALVAGE:
            self._salvaged.add(digest)
        self.queue.note(digest, need)
        self.queue.take(digest)

    def give_up(self, digest: Digest) -> None:
        """Forget a blob, and its planned move, until a later walk finds it again."""
        self._moves.pop(digest, None)
        self.queue.settle(digest)

    def forget_moves(self) -> None:
        """Forget all planned moves."""
        self.queue.forget_all(Need.BALANCE)
        self._moves.clear()
