"""Balancing: while an administrator wants it, copies move from servers that are fuller than average to emptier ones.

How full a server is, is reckoned from the directory's own books, which change at once when a copy moves; what file
servers report of their disks follows only when dropped chunks have been collected. Every move brings two servers
closer to their fair share and none beyond it, so it ends by itself. Carrying a move out is repair's: a copy to the
target, and then one copy too many, of which the source's goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from directory_server.metadata.statements import people
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore
from directory_server.repair.copy_rules import ServerStatus, ServerStatuses, spread
from lockstep_store.runtime.tracing import log

TOLERANCE = 0.05
"""A server that holds no more than this part over its fair share is left alone."""
_SETTING = "balancing"


class Move(NamedTuple):
    """One copy's way from server to server."""

    source: str
    target: str


class Balancer:
    """Not thread-safe. Whether it runs survives a restart; what was planned does not, it is found again."""

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
        """An administrator started it, and it has not ended yet."""
        return self._running

    def switch(self, running: bool) -> None:
        """Start it or stop it. Durable on return; not to be called with any lock held that a commit may need."""
        self._store.write(lambda tx: people.write_setting(tx, _SETTING, "on" if running else "off"))
        self._running, self._fair = running, {}
        self._is_fresh = False

    # ------------------------------------------------------------ the books, as the planner's walk reads them

    def begin_walk(self, statuses: ServerStatuses) -> None:
        """A walk over all blobs begins. Moves are planned during it if one before has counted what each server holds,
        and nothing was moved since."""
        self._counting = Counter()
        self._planned = 0
        self._fair = self._fair_shares(statuses) if self._running and self._is_fresh else {}

    def count(self, blob: HeldBlob) -> None:
        """The walk came by this blob."""
        for id in blob.sound:
            self._counting[id] += blob.size

    def end_walk(self, *, is_calm: bool) -> bool:
        """All blobs were seen; True when moves were looked for and none is worth making any more.

        `is_calm`: no copies are being made or given up for other reasons. While they are, what was counted is no
        ground for a plan: it would fill once more the very servers that are being filled.
        """
        is_over = self._running and bool(self._fair) and not self._planned
        self._held, self._is_fresh, self._fair = self._counting, is_calm and not self._planned, {}
        return is_over

    def fullness(self, statuses: ServerStatuses) -> Mapping[str, float]:
        """The used part of what each server has for blobs."""
        return {id: self._held[id] / max(1, server.room_bytes) for id, server in statuses.items()}

    def let_go(self, id: str, size: int) -> None:
        """A copy of that many bytes is being given up there: the next one to go is chosen with that in mind."""
        self._held[id] -= size

    # ------------------------------------------------------------ the plan

    def _fair_shares(self, statuses: ServerStatuses) -> dict[str, float]:
        room = {server.id: server.room_bytes for server in statuses.values() if server.writable}
        share = sum(self._held[id] for id in room) / max(1, sum(room.values()))
        return {id: bytes * share for id, bytes in room.items()}

    def consider(self, blob: HeldBlob, statuses: ServerStatuses) -> Move | None:
        """A move of this blob that is worth making, and is counted as made; None when there is none."""
        holders = [statuses[id] for id in blob.sound if id in self._fair and id in statuses]
        for source in sorted(holders, key=lambda server: self._over(server.id), reverse=True):
            if not blob.size or self._over(source.id) <= max(blob.size - 1, TOLERANCE * self._fair[source.id]):
                continue
            for target in sorted(self._fair, key=self._over):
                if -self._over(target) < blob.size:
                    break  # the emptiest that is left would be filled beyond its share
                if target not in blob.holders and _keeps_spread(blob, source, statuses[target], statuses):
                    self._held[source.id] -= blob.size
                    self._held[target] += blob.size
                    self._planned += 1
                    return Move(source.id, target)
        return None

    def _over(self, id: str) -> float:
        return self._held[id] - self._fair[id]

    def finish(self) -> None:
        """A whole walk found nothing worth moving."""
        log.info("rebalance: every file server is within %d %% of its share, or cannot be", round(100 * TOLERANCE))
        self.switch(False)


def _keeps_spread(blob: HeldBlob, source: ServerStatus, target: ServerStatus, statuses: ServerStatuses) -> bool:
    before = [statuses[id] for id in blob.sound if id in statuses]
    after = [server for server in before if server is not source] + [target]
    return spread(after) >= spread(before)
