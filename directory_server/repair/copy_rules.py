"""The rules of copies: what a blob needs, given the servers and the promised number.

One copy more, because too few are left; a copy elsewhere, because a server is draining or two share a zone; a copy
less, because there are more than promised. The planner and the surplus copies decide when and in which order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from directory_server.cluster.server_status import ServerStatus
from directory_server.metadata.statements.servers import HeldBlob
from lockstep_store.wire.messages.files import Holder

ServerStatuses = Mapping[str, ServerStatus]


class Need(IntEnum):
    """What a blob needs; lower values are more urgent."""

    COPY = 0
    """Fewer good copies than promised."""
    SALVAGE = 1
    """Every copy is reported damaged: put the blob together from the parts that are good."""
    MOVE = 2
    """Enough good copies, but one is on a draining server."""
    SPREAD = 3
    """Enough copies, but two share a zone although another zone has room."""
    BALANCE = 4
    """Enough copies, but one would be better on an emptier server."""
    DROP = 5
    """More good copies than promised, or a damaged one in addition to the promised number."""
    WAIT = 6
    """No good copy on any server that is up: only the return of a server can help."""


@dataclass(frozen=True)
class Verdict:
    """A blob's need, and its good copies: on servers that stay, and on all that are up."""

    need: Need | None
    counted: int
    safe: int


def judge(blob: HeldBlob, statuses: ServerStatuses, copies: int) -> Verdict:
    """Decide what `blob` needs to have `copies` good copies on servers that stay, spread over zones."""
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
    """The number of zones of `servers`."""
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
    """Choose the server whose copy is dropped; None when none may be.

    `copies` good ones must be left on reliable servers, in as many zones as before. A damaged copy goes first, then
    that of a draining server, then that of the server `rather`, then that of the fullest. Copies on servers that are
    not solid are neither relied on nor dropped.
    """
    full = fullness or {}

    def rank(server: ServerStatus) -> tuple[bool, bool, bool, float, str]:
        place = -full.get(server.id, 0.0)
        return server.id not in blob.damaged, not server.leaving, server.id != rather, place, server.id

    allowed = [statuses[id] for id in blob.holders if may_go(blob, id, statuses, copies)]
    return min(allowed, key=rank).id if allowed else None


def may_go(blob: HeldBlob, id: str, statuses: ServerStatuses, copies: int) -> bool:
    """Whether server `id` may drop its copy: `copies` good ones stay on reliable servers, in as many zones."""
    if id not in blob.holders or id not in statuses or not statuses[id].solid:
        return False
    good = [statuses[other] for other in blob.sound if other in statuses]
    staying = [server for server in good if server.reliable]
    left = [server for server in staying if server.id != id]
    return len(left) >= copies and spread(left) >= min(spread(staying), copies)


def sources(blob: HeldBlob, statuses: ServerStatuses) -> list[Holder]:
    """Where to copy from: servers that answer come first, damaged copies last, for their good parts."""
    known = [statuses[id] for id in blob.holders if id in statuses]
    usable = [server for server in known if server.heard or server.readable]
    usable.sort(key=lambda server: (server.id in blob.damaged, not server.readable))
    return [server.holder for server in usable]


def is_lost(sound: Sequence[str], statuses: ServerStatuses) -> bool:
    """Whether none of the `sound` holders has sent a heartbeat within the grace period."""
    return not any(id in statuses and statuses[id].heard for id in sound)
