"""A file server found hung costs its time-out once: checks that no later write waits for it again.

Whoever was answered for a write that waited for a hung replica may rely on this: a write that begins afterwards is not
placed on that replica, through any proxy, until it has sent a heartbeat again, if there are enough others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from directory_server.cluster.placement import Candidate, Placement, choose
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.messages.servers import (
    COMMIT,
    HEARTBEAT,
    SMALL_WRITES,
    CommitRequest,
    SmallWritesRequest,
)
from tests.simulation.threads import process_now, running

if TYPE_CHECKING:
    from tests.simulation.network import Exchange

FACT = "hung_servers"
"""The directory's process knows these observations under this name."""
_small_writes = decoder(SmallWritesRequest)
_commit = decoder(CommitRequest)


class HungServers:
    """What was seen of hung replicas; `violations` is empty when no write waited for one that was known."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._waited: dict[str, str] = {}  # ticket: the replica that its write waited for in vain
        self._known: dict[str, float] = {}  # server: when a commit's answer showed that it hangs
        self._beats: defaultdict[str, list[list[float]]] = defaultdict(list)
        self._serving: dict[int, float] = {}

    def forget(self) -> None:
        """Start over, because the directory does."""
        self._known.clear()
        self._serving.clear()

    # ------------------------------------------------------------ what the network sees

    def found_silent(self, source: str, exchange: Exchange) -> None:
        """Note that a call was cut because its target hangs."""
        if exchange.path == SMALL_WRITES.path and source.startswith("server-"):
            for item in _small_writes.decode(exchange.request).items:
                self._waited[item.ticket] = exchange.target

    def begins(self, source: str, exchange: Exchange) -> None:
        """Note that the directory begins to serve a call."""
        now = running().now
        self._serving[id(running().current)] = now
        if exchange.path == HEARTBEAT.path:
            self._beats[source].append([now, math.inf])
            self._known.pop(source, None)

    def ends(self, source: str, exchange: Exchange) -> None:
        """Note that the directory has served a call."""
        now = running().now
        began = self._serving.pop(id(running().current), now)
        if exchange.path == HEARTBEAT.path:
            self._beats[source][-1][1] = now
        elif exchange.path == COMMIT.path and exchange.status == 200:
            for item in _commit.decode(exchange.request).items:
                server = self._waited.pop(item.ticket, None)
                if server is not None and not self._heard_since(server, began):
                    self._known.setdefault(server, now)

    def _heard_since(self, server: str, moment: float) -> bool:
        return any(ended >= moment for _, ended in self._beats[server])

    # ------------------------------------------------------------ what the directory decides

    def placed(self, servers: Sequence[Candidate], copies: int, placement: Placement) -> None:
        """Compare a placement with what the directory should know since before that call began."""
        began = self._serving.get(id(running().current), 0.0)
        known = {name for name, since in self._known.items() if since < began}
        others = [each for each in servers if each.writable and f"server-{each.id}" not in known]
        if len(others) < copies:
            return
        for holder in (placement.master, *placement.replicas):
            if f"server-{holder.id}" in known:
                since = self._known[f"server-{holder.id}"]
                self.violations.append(
                    f"a write begun at {began:.3f} was placed on server-{holder.id}, known to hang since {since:.3f}"
                )


def watched_choose(
    name: str,
    servers: Sequence[Candidate],
    copies: int,
    *,
    keep: Sequence[str] = (),
    exclude: Collection[str] = (),
) -> Placement:
    """`choose`, watched."""
    placement = choose(name, servers, copies, keep=keep, exclude=exclude)
    watching: Any = process_now().facts[FACT]
    watching.placed([server for server in servers if server.id not in exclude], copies, placement)
    return placement
