"""What a blob's copies need: rules only. Who is heard, how full servers are and what was promised come in.

One copy more, because too few are left; a copy elsewhere, because a server leaves or two share a zone; a copy less,
because there are more than promised. When it is done, and in which order, is repair's and the trimmer's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from directory_server.metadata.statements.servers import HeldBlob
from lockstep_store.wire.messages.files import Holder


@dataclass(frozen=True)
class ServerStatus:
    """What one file server of the cluster is good for at this moment."""

    id: str
    url: str
    zone: str = ""
    room_bytes: int = 0
    """What it has for chunks, used and free together."""
    heard: bool = True
    """It is up, or has not been down for longer than the grace."""
    leaving: bool = False
    """It is draining: its copies are good, and do not count."""
    readable: bool = True
    """It answers now, as far as anyone knows."""
    writable: bool = True
    """It takes new bytes now: up, healthy, staying, with room."""
    solid: bool = True
    """Up and healthy."""
    inventoried: bool = True
    """It has named everything it holds since it registered: with an older disk it has less than is counted here."""

    @property
    def counts(self) -> bool:
        """Whether its copies are among those that were promised."""
        return self.heard and not self.leaving

    @property
    def reliable(self) -> bool:
        """Whether another copy may be dropped because this server has one."""
        return self.solid and self.inventoried and not self.leaving

    @property
    def holder(self) -> Holder:
        return Holder(self.id, self.url, self.readable)


ServerStatuses = Mapping[str, ServerStatus]


class Need(IntEnum):
    """What a blob needs; the lower, the sooner."""

    COPY = 0
    """Fewer good copies than promised."""
    SALVAGE = 1
    """Every copy is damaged, or said to be: what can be put together from the parts that are good?"""
    MOVE = 2
    """Enough good copies, but a server that leaves has one of them."""
    SPREAD = 3
    """Enough copies, but two share a zone although another zone has room."""
    BALANCE = 4
    """Enough copies, and better one of them on an emptier server."""
    DROP = 5
    """More good copies than promised, or a damaged one beside as many as promised."""
    WAIT = 6
    """No good copy on any server that is heard: only the return of a server can help."""


@dataclass(frozen=True)
class Verdict:
    """A blob's need, and how many good copies are left: on servers that stay, and on all that are heard."""

    need: Need | None
    counted: int
    safe: int


def judge(blob: HeldBlob, statuses: ServerStatuses, copies: int) -> Verdict:
    """What `blob` needs so that `copies` good copies of it are on servers that stay, spread over zones."""
    good = [statuses[id] for id in blob.sound if id in statuses and statuses[id].heard]
    counted = [server for server in good if server.counts]
    verdict = len(counted), len(good)
    if not good:
        can_salvage = any(id in statuses and statuses[id].writable for id in blob.damaged)
        return Verdict(Need.SALVAGE if can_salvage and len(blob.damaged) == len(blob.holders) else Need.WAIT, *verdict)
    if len(good) < copies:
        return Verdict(Need.COPY, *verdict)
    if len(counted) < copies:
        return Verdict(Need.MOVE, *verdict)
    if spread(counted) < min(copies, len(_zones_in_reach(counted, statuses))):
        return Verdict(Need.SPREAD, *verdict)
    return Verdict(Need.DROP if len(good) > copies or blob.damaged else None, *verdict)


def spread(servers: Collection[ServerStatus]) -> int:
    """How many zones `servers` stand in."""
    return len({server.zone for server in servers})


def _zones_in_reach(counted: Collection[ServerStatus], statuses: ServerStatuses) -> set[str]:
    return {server.zone for server in counted} | {server.zone for server in statuses.values() if server.writable}


def choose_victim(
    blob: HeldBlob,
    statuses: ServerStatuses,
    copies: int,
    fullness: Mapping[str, float] | None = None,
    rather: str = "",
) -> str | None:
    """Whose copy may go; None when none may.

    Only as long as `copies` good others are reliable, in as many zones as before. A damaged copy goes first, then that
    of a server that leaves, then the one asked for with `rather`, then the fullest server's. Copies on servers that are
    not solid now are neither relied on nor dropped.
    """
    full = fullness or {}

    def rank(server: ServerStatus) -> tuple[bool, bool, bool, float, str]:
        place = -full.get(server.id, 0.0)
        return server.id not in blob.damaged, not server.leaving, server.id != rather, place, server.id

    allowed = [statuses[id] for id in blob.holders if may_go(blob, id, statuses, copies)]
    return min(allowed, key=rank).id if allowed else None


def may_go(blob: HeldBlob, id: str, statuses: ServerStatuses, copies: int) -> bool:
    """Whether the copy on server `id` may be dropped: `copies` good ones on reliable servers are left, in as many
    zones as before."""
    if id not in blob.holders or id not in statuses or not statuses[id].solid:
        return False
    good = [statuses[other] for other in blob.sound if other in statuses]
    staying = [server for server in good if server.reliable]
    left = [server for server in staying if server.id != id]
    return len(left) >= copies and spread(left) >= min(spread(staying), copies)


def sources(blob: HeldBlob, statuses: ServerStatuses) -> list[Holder]:
    """Where to copy from: those that answer first, damaged copies last, for the parts of them that are good."""
    known = [statuses[id] for id in blob.holders if id in statuses]
    usable = [server for server in known if server.heard or server.readable]
    usable.sort(key=lambda server: (server.id in blob.damaged, not server.readable))
    return [server.holder for server in usable]


def is_lost(sound: Sequence[str], statuses: ServerStatuses) -> bool:
    """Whether none of the `sound` holders has been heard within the grace."""
    return not any(id in statuses and statuses[id].heard for id in sound)
