"""Garbage collection: decides which copies a file server may drop.

Only the directory knows which blobs versions refer to, so file servers ask before they delete. A write with an open
ticket may be about to commit a blob without references. Tickets are not stored, so for a ticket's lifetime after a
start nothing may be dropped. If a write's digest is unknown when it begins, the file server protects it: it asks only
about blobs that no write has touched for longer than a ticket's lifetime.
"""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Callable, Sequence

from prometheus_client import Counter

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import servers
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest

DROPPED = Counter("lockstep_directory_collected_copies", "Copies of blobs that file servers were allowed to drop")


class Collector:
    """Notes open tickets and decides about copies. `ticket_lifetime` is in directory time. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock, ticket_lifetime: float) -> None:
        self._store = store
        self._clock = clock
        self._lifetime = ticket_lifetime
        self._open: dict[Digest, float] = {}
        self._tickets: Counts[Digest] = Counts()
        self._mutex = threading.Lock()
        self.keeps: Callable[[Tx, str, Digest], bool] = lambda tx, server_id, digest: False
        """Set by the bootstrap: whether recovery after a restore still needs the copy."""
        self.remember: Callable[[Tx, str, Digest], None] = lambda tx, server_id, digest: None
        """Set by the bootstrap: notes each dropped copy, so that an inventory in flight does not count it again."""

    def note_open(self, digest: Digest, expires: float) -> None:
        """Note a ticket for `digest` before it is issued; it ends at directory time `expires`."""
        with self._mutex:
            # All tickets have the same lifetime, so expired ones are at the front and only those are visited.
            # Visiting all would make the cost of a write grow with the number of writes in the last hour.
            self._open[digest] = max(expires, self._open.pop(digest, 0.0))
            self._tickets[digest] += 1
            now = self._clock.now()
            while (oldest := next(iter(self._open))) != digest and self._open[oldest] <= now:
                del self._open[oldest], self._tickets[oldest]

    def note_done(self, digest: Digest) -> None:
        """Note that one ticket for `digest` was committed; other tickets for it stay open."""
        with self._mutex:
            if digest in self._open:
                self._tickets[digest] -= 1
                if self._tickets[digest] <= 0:
                    del self._open[digest], self._tickets[digest]

    def is_open(self, digest: Digest) -> bool:
        """Whether a noted ticket for this content may still be in use."""
        with self._mutex:
            return self._open.get(digest, -1.0) >= self._clock.now()

    def collect(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """Return which of `digests` the server may drop. Its holder rows for them are deleted, durably."""
        if self._clock.since_start() < self._lifetime:
            return []
        dropped = self._store.write(lambda tx: [d for d in digests if self.drop_in(tx, server_id, d)])
        crash_point("directory.collect.dropped")
        DROPPED.inc(len(dropped))
        return dropped

    def drop_in(self, tx: Tx, server_id: str, digest: Digest) -> bool:
        """Decide about one copy in the caller's transaction; if it may be dropped, delete its row and return True.

        An unknown digest may be dropped under the same rules: a write that never committed left it behind.
        """
        if self._clock.since_start() < self._lifetime or self._open.get(digest, 0.0) >= self._clock.now():
            return False
        blob = servers.find_blob(tx, digest)
        if (blob is not None and blob.refs > 0) or self.keeps(tx, server_id, digest):
            return False
        if blob is not None:
            self.remember(tx, server_id, digest)
        servers.drop_holder(tx, digest, server_id)
        if blob is not None and not servers.holders_of(tx, digest):
            servers.drop_blob(tx, digest)
        return True
