"""Draining and removing file servers: how they leave the cluster without losing data.

The membership decides what the states mean for writes and reads; repair moves the copies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from directory_server.cluster.membership import Membership
from directory_server.metadata.statements import servers
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Conflict

PAGE = 1000
# Finding out whether a server is drained takes at most this fraction of the time, however often people look.
COST_SHARE = 0.02
CHEAP_SECONDS = 0.02


class Draining:
    """Drains and removes file servers. A silent one's copies count for `grace` seconds, as in repair. Thread-safe.

    `revoke` ends the membership of a removed server's program."""

    def __init__(
        self,
        store: MetadataStore,
        membership: Membership,
        copies: int,
        grace: float,
        revoke: Callable[[str], None] = lambda id: None,
    ) -> None:
        self._revoke = revoke
        self._store = store
        self._membership = membership
        self._copies = copies
        self._grace = grace
        self._found: dict[str, tuple[bool, float]] = {}

    def is_drained(self, id: str) -> bool:
        """Whether `remove` accepts the server without force; from a moment ago where finding out is slow."""
        started = time.monotonic()
        drained, good_until = self._found.get(id, (False, float("-inf")))
        if started >= good_until:
            drained = not self.too_few_elsewhere(id, at_most=1)
            cost = time.monotonic() - started
            self._found[id] = (drained, started + cost / COST_SHARE if cost > CHEAP_SECONDS else started)
        return drained

    def drain(self, id: str, *, stop: bool = False) -> None:
        """Stop writing to a server and move its copies to others; `stop` undoes that. Safe to repeat.

        Raises NotFound for an unknown server, Conflict for a removed one and when too few servers would be left.
        """
        if not stop:
            staying = self._membership.staying(without=id)
            if len(staying) < self._copies:
                raise Conflict(
                    f"only {_counted(len(staying), 'file server')} would be left without file_server-{id}, but every "
                    f"file needs {self._copies}; add a file server first, then drain this one",
                    staying=len(staying),
                    copies=self._copies,
                )
        self._membership.drain(id, draining=not stop)
        log.info("draining of file_server-%s %s", id, "stopped" if stop else "started")

    def remove(self, id: str, *, force: bool = False) -> None:
        """Remove a server and everything it holds from the cluster's metadata. Durable on return.

        Raises Conflict, with their number, while blobs have too few copies elsewhere; `force` gives those up.
        """
        self._membership.staying(without=id)
        short = 0 if force else self.too_few_elsewhere(id)
        if short:
            raise Conflict(
                f"file_server-{id} holds {_counted(short, 'blob')} with too few copies elsewhere; drain it and wait "
                "until that is done, or remove it with force, which gives up copies that exist nowhere else",
                blobs=short,
            )
        # First: a crash in between leaves a server that is down, and the command can be repeated. The other way
        # round, a removed program would still be let in.
        self._revoke(id)
        self._membership.remove(id)
        log.warning("file_server-%s was removed from the cluster%s", id, " by force" if force else "")

    def too_few_elsewhere(self, id: str, at_most: float = math.inf) -> int:
        """Count the server's blobs that have too few copies on servers that stay, but not above `at_most`; walks over
        its blobs."""
        counted = frozenset(self._membership.living(self._membership.staying(without=id), self._grace))
        after, short = b"", 0
        while True:
            with self._store.read() as reader:
                page = servers.digests_held_by(reader, id, after, PAGE)
                for digest in page:
                    blob = servers.blob_and_holders(reader, digest)
                    if blob is not None and len(counted.intersection(blob.sound)) < self._copies:
                        short += 1
            if len(page) < PAGE or short >= at_most:
                return short
            after = page[-1]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
