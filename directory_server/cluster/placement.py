"""Placement: the rules that choose the file servers for a path's next version.

The holders of the current version stay, because they have most of the chunks already. Other servers are ranked by
weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005): each gets a score
from a name, such as the path, and its free space, so a name's choice is stable, and changes little when a server comes
or goes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from blake3 import blake3

from lockstep_store.wire.errors import TooFewHolders
from lockstep_store.wire.messages.files import Holder

SPARES = 2


@dataclass(frozen=True)
class Candidate:
    """A registered file server. `writable`: up, healthy, not draining, and with room.

    `avoided`: a master could not reach it, so it is chosen only if there are too few others.
    """

    id: str
    url: str
    zone: str
    free_bytes: int
    writable: bool = True
    state: str = "up"
    store_id: str = ""
    avoided: bool = False

    @property
    def holder(self) -> Holder:
        """This server as tickets name it."""
        return Holder(self.id, self.url, store=self.store_id)


@dataclass(frozen=True)
class Placement:
    """The holders of a write: the master pushes to the replicas, and to a spare when one of them fails."""

    master: Holder
    replicas: list[Holder]
    spares: list[Holder]


def choose(
    name: str,
    servers: Sequence[Candidate],
    copies: int,
    *,
    keep: Sequence[str] = (),
    exclude: Collection[str] = (),
) -> Placement:
    """Choose a master, `copies - 1` replicas and up to two spares for `name`.

    `keep` are the current version's holders in rank order; `exclude` are servers the caller could not reach. No two
    copies share a zone as long as another zone has room. Avoided servers are the last spares, as long as there are
    enough others. Raises TooFewHolders when fewer than `copies` can take it.
    """
    usable = {server.id: server for server in servers if server.writable and server.id not in exclude}
    if len(usable) < copies:
        raise _too_few(servers, len(usable), copies, exclude)
    ranked = sorted(rank(name, list(usable.values())), key=lambda server: server.avoided)
    kept = [usable[id] for id in keep if id in usable]
    order = kept + [server for server in ranked if server.id not in keep]
    reached = [server for server in order if not server.avoided]
    if len(reached) >= copies:
        order = reached
    chosen: list[Candidate] = []
    while len(chosen) < copies:
        chosen.append(_next(order, chosen))
    spares = [server for server in ranked if server not in chosen][:SPARES]
    return Placement(chosen[0].holder, [s.holder for s in chosen[1:]], [s.holder for s in spares])


def choose_target(
    name: str,
    servers: Sequence[Candidate],
    holding: Collection[str],
    zones: Collection[str] | None = None,
    prefer: Collection[str] = (),
) -> Candidate | None:
    """Choose a server for one more copy of `name`, other than those in `holding`; None when none has room.

    A zone outside `zones` comes first (None: outside those of `holding`), then a server in `prefer`, then rank.
    """
    taken = {server.zone for server in servers if server.id in holding} if zones is None else zones
    ranked = rank(name, [server for server in servers if server.writable and server.id not in holding])
    return min(ranked, key=lambda server: (server.zone in taken, server.id not in prefer), default=None)


def rank(name: str, servers: Sequence[Candidate]) -> list[Candidate]:
    """Rank servers for `name`, the best first; one with twice the free space is first twice as often."""
    return sorted(servers, key=lambda server: _score(name, server), reverse=True)


def _score(name: str, server: Candidate) -> float:
    # Rounded to a power of two: otherwise every write would reshuffle the ranking of the next paths.
    weight: float = 2.0 ** round(math.log2(max(server.free_bytes, 1)))
    drawn = int.from_bytes(blake3(f"{name}\0{server.id}".encode()).digest(8), "big") >> 12
    return -weight / math.log((drawn + 0.5) / 2**52)


def _next(order: Sequence[Candidate], chosen: Sequence[Candidate]) -> Candidate:
    zones = {server.zone for server in chosen}
    rest = [server for server in order if server not in chosen]
    return next((server for server in rest if server.zone not in zones), rest[0])


def _too_few(servers: Sequence[Candidate], usable: int, copies: int, exclude: Collection[str]) -> TooFewHolders:
    reasons = [
        f"file_server-{server.id} is {'not reachable' if server.id in exclude else server.state}"
        for server in servers
        if not server.writable or server.id in exclude
    ]
    why = f" ({', '.join(reasons[:8])})" if reasons else ""
    return TooFewHolders(
        f"nothing was stored: only {usable} of {len(servers)} file servers can take new bytes now{why}, but {copies} "
        "are needed. Start the missing file servers, or try again in a moment",
        up=usable,
        needed=copies,
    )
