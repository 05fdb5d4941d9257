"""Surplus copies: drops copies beyond the promised number, one at a time and only while enough good ones remain.

1. The reply to a heartbeat offers the server to drop some copies.
2. The server notes the generation of each, and asks with COLLECT.
3. `collect` decides in one transaction, which removes the holder row and remembers the drop.
4. The server drops the copy, unless it was sealed again since step 2.

A write that began before step 3 may still count on the copy, so its commit asks `given_up`. A lost message leaves bytes
that nobody counts, never a count without bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import Counter

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.maintenance.garbage_collector import Collector
from directory_server.metadata.statements import servers
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.repair.copy_rules import Need, ServerStatuses, choose_victim, judge, may_go
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.servers import MAX_DROPS

MAX_SURPLUS = 20_000
OFFER_SECONDS = 30.0
OFFERS_PER_STEP = 256

DROPPED = Counter(
    "lockstep_directory_trimmed_copies", "Copies beyond the promised number that servers were allowed to drop"
)


class SurplusCopies:
    """Offers surplus copies, and decides which are dropped. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock, collector: Collector, copies: int) -> None:
        self._store = store
        self._clock = clock
        self._collector = collector
        self._copies = copies
        self._mutex = threading.Lock()
        self._surplus: dict[Digest, str] = {}
        self._offers: dict[str, dict[Digest, float]] = {}
        self._sent: dict[str, set[Digest]] = {}
        self.dropped = 0
        self.overflowed = False
        with store.read() as reader:
            self._latest = servers.latest_drop(reader)

    # ------------------------------------------------------------ choosing and offering

    def note(self, digest: Digest, rather: str = "") -> None:
        """Note a blob with more copies than promised; `rather` is the server that should drop one. Safe to repeat."""
        with self._mutex:
            if digest in self._surplus:
                self._surplus[digest] = rather or self._surplus[digest]
            elif any(digest in offers for offers in self._offers.values()):
                pass
            elif len(self._surplus) < MAX_SURPLUS:
                self._surplus[digest] = rather
            else:
                self.overflowed = True

    @property
    def pending(self) -> int:
        """The number of copies that are known to be surplus."""
        with self._mutex:
            return len(self._surplus) + sum(len(offers) for offers in self._offers.values())

    def step(self, statuses: ServerStatuses, fullness: Mapping[str, float]) -> list[tuple[str, int]]:
        """Choose copies to drop for some blobs, and offer them; returns the servers with the bytes of each copy."""
        full = dict(fullness)
        chosen: list[tuple[str, int]] = []
        self._take_back_late()
        with self._mutex:
            batch = list(self._surplus.items())[:OFFERS_PER_STEP]
        for digest, rather in batch:
            with self._store.read() as reader:
                blob = servers.blob_and_holders(reader, digest)
            victim = None
            if blob is not None and not self._collector.is_open(digest):
                victim = choose_victim(blob, statuses, self._copies, full, rather)
            still = blob is not None and judge(blob, statuses, self._copies).need is Need.DROP
            with self._mutex:
                self._surplus.pop(digest, None)
                if victim is not None and len(self._offers.get(victim, ())) < MAX_DROPS:
                    self._offers.setdefault(victim, {})[digest] = self._clock.now() + OFFER_SECONDS
                    assert blob is not None
                    chosen.append((victim, blob.size))
                    # Otherwise the server that was fullest at first would drop everything.
                    full[victim] = full.get(victim, 0.0) - blob.size / max(1, statuses[victim].room_bytes)
                elif still:
                    self._surplus[digest] = rather  # at the end: none may be dropped now
        return chosen

    def _take_back_late(self) -> None:
        now = self._clock.now()
        with self._mutex:
            for id, offers in self._offers.items():
                for digest in [digest for digest, deadline in offers.items() if deadline <= now]:
                    del offers[digest]
                    self._sent.get(id, set()).discard(digest)
                    self._surplus.setdefault(digest, "")

    def offers_for(self, server_id: str) -> list[Digest]:
        """New offers for this server, for the reply to its heartbeat."""
        with self._mutex:
            sent = self._sent.setdefault(server_id, set())
            fresh = [digest for digest in self._offers.get(server_id, {}) if digest not in sent]
            sent.update(fresh)
            return fresh

    # ------------------------------------------------------------ the decision

    def collect(
        self, server_id: str, digests: Sequence[Digest], statuses_now: Callable[[], ServerStatuses]
    ) -> list[Digest]:
        """Remove the server as holder of the blobs that it was offered to drop and still may; returns those."""
        with self._mutex:
            offers = self._offers.get(server_id, {})
            offered = [digest for digest in digests if digest in offers]
        if not offered:
            return []

        def decide(tx: Tx) -> list[Digest]:
            statuses = statuses_now()  # not earlier: a server may have left while this waited for the disk
            return [digest for digest in offered if self._give_up(tx, server_id, digest, statuses)]

        given_up = self._store.write(decide)
        with self._mutex:
            for digest in offered:
                offers.pop(digest, None)
                self._sent.get(server_id, set()).discard(digest)
            self.dropped += len(given_up)
        DROPPED.inc(len(given_up))
        statuses = statuses_now()
        for digest in offered:
            self._note_rest(digest, statuses)
        return given_up

    def _give_up(self, tx: Tx, server_id: str, digest: Digest, statuses: ServerStatuses) -> bool:
        blob = servers.blob_and_holders(tx, digest)
        if blob is None or self._collector.is_open(digest) or not may_go(blob, server_id, statuses, self._copies):
            return False
        servers.drop_holder(tx, digest, server_id)
        self.remember(tx, server_id, digest)
        return True

    def _note_rest(self, digest: Digest, statuses: ServerStatuses) -> None:
        with self._store.read() as reader:
            blob = servers.blob_and_holders(reader, digest)
        if blob is not None and judge(blob, statuses, self._copies).need is Need.DROP:
            self.note(digest)

    # ------------------------------------------------------------ what commits must know

    def remember(self, tx: Tx, server_id: str, digest: Digest) -> None:
        """Remember that the server may drop its copy now."""
        now = self._clock.now()
        # Set before the commit, so that no later commit misses it. If this commit fails, the value does no harm.
        self._latest = max(self._latest, now)
        servers.remember_drop(tx, digest, server_id, now)

    def given_up(self, reader: Reader, digest: Digest, server_id: str, since: float) -> bool:
        """Whether the server may have dropped its copy since directory time `since`, when a write began."""
        if self._latest < since:
            return False
        return servers.was_dropped(reader, digest, server_id, since)

    def remove_ended(self, tx: Tx, before: float) -> None:
        """Forget drops from before directory time `before`: no ticket is that old."""
        servers.forget_drops(tx, before)
