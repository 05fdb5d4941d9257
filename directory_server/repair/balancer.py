"""Balancing: moves copies from fuller file servers to emptier ones, when an administrator asks for it.

How full a server is, is computed from the directory's holder rows, which change when a copy moves; the free space that
file servers report changes only after dropped chunks are collected. Every move brings two servers closer to their fair
share and none past it, so balancing ends by itself. The planner carries a move out: it orders a copy to the target,
which makes one copy too many, and then drops the source's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from directory_server.cluster.server_status import ServerStatus
from directory_server.metadata.statements import people
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore
from directory_server.repair.copy_rules import ServerStatuses, spread
from lockstep_store.runtime.tracing import log

TOLERANCE = 0.05
"""A server is left alone up to this fraction above its fair share."""
_SETTING = "balancing"


class Move(NamedTuple):
    """A copy that moves from one server to another."""

    source: str
    target: str


class Balancer:
    """Plans moves. Balancing continues after a restart, which finds the moves again. Not thread-safe."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        with store.read() as reader:
            self._running = people.read_setting(reader, _SETTING) == "on"
        self._held: Counter[str] = Counter()
        self._counting: Counter[str] = Counter()
        self._is_fresh = False
        self._fair: dict[str, float] = {}
        self._planned = 0

    @property
    def running(self) -> bool:
        """Whether balancing was started and has not ended yet."""
        return self._running

    def switch(self, running: bool) -> None:
        """Start or stop balancing. Durable on return. The caller must not hold a lock that a commit may need."""
        self._store.write(lambda tx: people.write_setting(tx, _SETTING, "on" if running else "off"))
        self._running, self._fair = running, {}
        self._is_fresh = False

    # ------------------------------------------------------------ counting, during the planner's walk

    def begin_walk(self, statuses: ServerStatuses) -> None:
        """Begin a walk over all blobs. It plans moves if the walk before counted everything and planned none."""
        self._counting = Counter()
        self._planned = 0
        self._fair = self._fair_shares(statuses) if self._running and self._is_fresh else {}

    def count(self, blob: HeldBlob) -> None:
        """Count a blob that the walk reached."""
        for id in blob.sound:
            self._counting[id] += blob.size

    def end_walk(self, *, is_calm: bool) -> bool:
        """End the walk; returns True when it looked for moves and found none worth making.

        `is_calm`: no copies are being made or dropped for other reasons. Otherwise the counts are no basis for a plan,
        which would fill the very servers that are being filled already.
        """
        is_over = self._running and bool(self._fair) and not self._planned
        self._held, self._is_fresh, self._fair = self._counting, is_calm and not self._planned, {}
        return is_over

    def fullness(self, statuses: ServerStatuses) -> Mapping[str, float]:
        """The used fraction of each server's space for blobs."""
        return {id: self._held[id] / max(1, server.room_bytes) for id, server in statuses.items()}

    def let_go(self, id: str, size: int) -> None:
        """Subtract a copy that is being dropped, so that the next choice accounts for it."""
        self._held[id] -= size

    # ------------------------------------------------------------ the plan

    def _fair_shares(self, statuses: ServerStatuses) -> dict[str, float]:
        room = {server.id: server.room_bytes for server in statuses.values() if server.writable}
        share = sum(self._held[id] for id in room) / max(1, sum(room.values()))
        return {id: bytes * share for id, bytes in room.items()}

    def consider(self, blob: HeldBlob, statuses: ServerStatuses) -> Move | None:
        """Choose a move of this blob that is worth making, and count it as made; None when there is none."""
        holders = [statuses[id] for id in blob.sound if id in self._fair and id in statuses]
        for source in sorted(holders, key=lambda server: self._over(server.id), reverse=True):
            if not blob.size or self._over(source.id) <= max(blob.size - 1, TOLERANCE * self._fair[source.id]):
                continue
            for target in sorted(self._fair, key=self._over):
                if -self._over(target) < blob.size:
                    break  # it would fill even the emptiest server past its share
                if target not in blob.holders and _keeps_spread(blob, source, statuses[target], statuses):
                    self._held[source.id] -= blob.size
                    self._held[target] += blob.size
                    self._planned += 1
                    return Move(source.id, target)
        return None

    def _over(self, id: str) -> float:
        return self._held[id] - self._fair[id]

    def finish(self) -> None:
        """End balancing, after a whole walk found nothing worth moving."""
        log.info("balancing: every file server is within %d %% of its share, or cannot be", round(100 * TOLERANCE))
        self.switch(False)


def _keeps_spread(blob: HeldBlob, source: ServerStatus, target: ServerStatus, statuses: ServerStatuses) -> bool:
    before = [statuses[id] for id in blob.sound if id in statuses]
    after = [server for server in before if server is not source] + [target]
    return spread(after) >= spread(before)
