"""Garbage collection's decision: which copies may a file server drop?

Only the directory knows what versions refer to, so file servers ask before they delete. An open ticket may be about
to commit a blob that nothing refers to yet; tickets are not kept on disk, so for a ticket's lifetime after a start
nothing may be dropped at all. A write whose digest is unknown when it begins is protected by the asking server: it
asks only for blobs that no write has touched for longer than a ticket lives.
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
    """`ticket_lifetime` in seconds of directory time. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock, ticket_lifetime: float) -> None:
        self._store = store
        self._clock = clock
        self._lifetime = ticket_lifetime
        self._open: dict[Digest, float] = {}
        self._tickets: Counts[Digest] = Counts()
        self._mutex = threading.Lock()
        self.keeps: Callable[[Tx, str, Digest], bool] = lambda tx, server_id, digest: False
        """Asked first: whether recovery after a restore still needs that copy."""
        self.remember: Callable[[Tx, str, Digest], None] = lambda tx, server_id, digest: None
        """Told of each known copy that may go, so that an inventory that was on its way does not count it again."""

    def note_open(self, digest: Digest, expires: float) -> None:
        """A ticket for `digest` is about to be given out; it ends at directory time `expires`."""
        with self._mutex:
            # Tickets all live equally long, so the latest ends last: what is over stands at the front, and only that
            # is looked at. A walk over all of them would make each write cost as much as an hour has seen writes.
            self._open[digest] = max(expires, self._open.pop(digest, 0.0))
            self._tickets[digest] += 1
            now = self._clock.now()
            while (oldest := next(iter(self._open))) != digest and self._open[oldest] <= now:
                del self._open[oldest], self._tickets[oldest]

    def note_done(self, digest: Digest) -> None:
        """One ticket for `digest` was committed; the others, if there are any, stay open."""
        with self._mutex:
            if digest in self._open:
                self._tickets[digest] -= 1
                if self._tickets[digest] <= 0:
                    del self._open[digest], self._tickets[digest]

    def is_open(self, digest: Digest) -> bool:
        """Whether a ticket for this content may still be under way, as far as was noted."""
        with self._mutex:
            return self._open.get(digest, -1.0) >= self._clock.now()

    def collect(self, server_id: str, digests: Sequence[Digest]) -> list[Digest]:
        """Those of `digests` that the server may drop; its holder rows for them are gone when this returns."""
        if self._clock.since_start() < self._lifetime:
            return []
        dropped = self._store.write(lambda tx: [d for d in digests if self.drop_in(tx, server_id, d)])
        crash_point("directory.collect.dropped")
        DROPPED.inc(len(dropped))
        return dropped

    def drop_in(self, tx: Tx, server_id: str, digest: Digest) -> bool:
        """Decide about one copy, inside the caller's transaction; True when it may be dropped, and is forgotten.

        A digest that the directory has never heard of may be dropped under the same rules: it is what a write left
        that never committed.
        """
        if self._clock.since_start() < self._lifetime or self._open.get(digest, 0.0) >= self._clock.now():
            return False
        facts = servers.blob_facts(tx, digest)
        if (facts is not None and facts[1] > 0) or self.keeps(tx, server_id, digest):
            return False
        if facts is not None:
            self.remember(tx, server_id, digest)
        servers.drop_holder(tx, digest, server_id)
        if facts is not None and not servers.holders_of(tx, digest):
            servers.drop_blob(tx, digest)
        return True
