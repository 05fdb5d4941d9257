"""Copy orders under way: queued for a target, sent with its next heartbeat, then done or late."""

from __future__ import annotations

from dataclasses import dataclass

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.repair.copy_rules import Need
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.servers import MAX_ORDERS, CopyOrder

SLOWEST_BYTES_PER_SECOND = 4 << 20
MAX_MOVES = 32
"""Orders under way that only balance servers: few, so that others do not notice them."""


@dataclass
class _Order:
    order: CopyOrder
    need: Need
    deadline: float
    sent: bool = False


class CopyOrders:
    """Tracks the orders under way. Not thread-safe.

    An order is late after `seconds` plus the time that its bytes take at 4 MiB/s.
    """

    def __init__(self, clock: DirectoryClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._orders: dict[str, dict[Digest, _Order]] = {}
        self._targets: dict[Digest, str] = {}

    def give(self, target: str, order: CopyOrder, need: Need) -> None:
        """Order `target` to make a copy."""
        deadline = self._clock.now() + self._seconds + order.size / SLOWEST_BYTES_PER_SECOND
        self._orders.setdefault(target, {})[order.digest] = _Order(order, need, deadline)
        self._targets[order.digest] = target

    def has_room(self, target: str) -> bool:
        """Whether the target can take another order."""
        return len(self._orders.get(target, ())) < MAX_ORDERS

    def is_nearly_done(self, target: str) -> bool:
        """Whether the target will soon need more orders."""
        return len(self._orders.get(target, ())) < MAX_ORDERS // 2

    def may_move(self) -> bool:
        """Whether another copy may be moved for balance."""
        moves = sum(order.need == Need.BALANCE for orders in self._orders.values() for order in orders.values())
        return moves < MAX_MOVES

    def unsent(self, target: str) -> list[CopyOrder]:
        """Return the target's orders that were not sent yet, and mark them as sent."""
        orders = [order for order in self._orders.get(target, {}).values() if not order.sent]
        for order in orders:
            order.sent = True
        return [order.order for order in orders]

    def done(self, target: str, digest: Digest) -> Need | None:
        """Settle the order: the target has the blob. Returns the need it was for; None without an order."""
        order = self._orders.get(target, {}).pop(digest, None)
        if order is None:
            return None
        del self._targets[digest]
        return order.need

    def take_back_late(self) -> list[tuple[Digest, Need]]:
        """Remove orders that are late, and return what they were for."""
        now, late = self._clock.now(), []
        for orders in self._orders.values():
            for digest in [digest for digest, order in orders.items() if order.deadline <= now]:
                late.append((digest, orders.pop(digest).need))
                del self._targets[digest]
        return late

    def target(self, digest: Digest) -> str | None:
        """The server that is making this copy."""
        return self._targets.get(digest)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._targets

    def __len__(self) -> int:
        return len(self._targets)
