"""Trimming: copies beyond the promised number are given up, one at a time and only when enough others are solid.

The directory offers (with the answer to a heartbeat) that a server may drop some copies; the server notes each one's
generation and asks with COLLECT; here it is decided in one transaction, which forgets the copy and remembers that it
did; then the server drops it unless it was sealed again meanwhile. A write begun before that may still count on the
copy, so its commit asks `given_up`. Any message that is lost leaves bytes that nobody counts, never a count without
bytes.
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

DROPPED = Counter("lockstep_directory_trimmed_copies", "Copies beyond the promised number that servers were let drop")


class SurplusCopies:
    """Thread-safe."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock, collector: Collector, copies: int) -> None:
        self._store = store
        self._clock = clock
        self._collector = collector
        self._copies = copies
        self._mutex = threading.Lock()
        self._surplus: dict[Digest, str] = {}
        self._offers: dict[str, dict[Digest, float]] = {}
        self._told: dict[str, set[Digest]] = {}
        self.dropped = 0
        self.overflowed = False
        with store.read() as reader:
            self._latest = servers.latest_drop(reader)

    # ------------------------------------------------------------ what there is to give up

    def note(self, digest: Digest, rather: str = "") -> None:
        """There are more copies than promised; `rather` is whose should go, if it may. Safe to repeat."""
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
        """How many copies are known to be given up yet."""
        with self._mutex:
            return len(self._surplus) + sum(len(offers) for offers in self._offers.values())

    def step(self, statuses: ServerStatuses, fullness: Mapping[str, float]) -> list[tuple[str, int]]:
        """Choose whose copy goes for some blobs, and offer it; the servers that lose one, each with its bytes."""
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
                    # Or the one that was fullest at first would give up everything.
                    full[victim] = full.get(victim, 0.0) - blob.size / max(1, statuses[victim].room_bytes)
                elif still:
                    self._surplus[digest] = rather  # behind the others: nothing may go just now
        return chosen

    def _take_back_late(self) -> None:
        now = self._clock.now()
        with self._mutex:
            for id, offers in self._offers.items():
                for digest in [digest for digest, deadline in offers.items() if deadline <= now]:
                    del offers[digest]
                    self._told.get(id, set()).discard(digest)
                    self._surplus.setdefault(digest, "")

    def offers_for(self, server_id: str) -> list[Digest]:
        """For the heartbeat's answer: what this server may ask to drop and has not been told yet."""
        with self._mutex:
            told = self._told.setdefault(server_id, set())
            fresh = [digest for digest in self._offers.get(server_id, {}) if digest not in told]
            told.update(fresh)
            return fresh

    # ------------------------------------------------------------ the decision

    def collect(
        self, server_id: str, digests: Sequence[Digest], statuses_now: Callable[[], ServerStatuses]
    ) -> list[Digest]:
        """Those of `digests` that were offered to the server and may still go: it is their holder no more."""
        with self._mutex:
            offers = self._offers.get(server_id, {})
            offered = [digest for digest in digests if digest in offers]
        if not offered:
            return []

        def decide(tx: Tx) -> list[Digest]:
            statuses = statuses_now()  # not earlier: the disk may have kept this waiting while a server went
            return [digest for digest in offered if self._give_up(tx, server_id, digest, statuses)]

        given_up = self._store.write(decide)
        with self._mutex:
            for digest in offered:
                offers.pop(digest, None)
                self._told.get(server_id, set()).discard(digest)
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
        """The server was told that it may drop its copy now."""
        now = self._clock.now()
        # Before the commit, so that no commit after it can miss it; too early a time would, a failed one does no harm.
        self._latest = max(self._latest, now)
        servers.remember_drop(tx, digest, server_id, now)

    def given_up(self, reader: Reader, digest: Digest, server_id: str, since: float) -> bool:
        """Whether the server was told to drop its copy at or after directory time `since`, so that a write begun then
        may not count on it."""
        if self._latest < since:
            return False
        return servers.was_dropped(reader, digest, server_id, since)

    def remove_ended(self, tx: Tx, before: float) -> None:
        """Forget what was given up before directory time `before`: no ticket is as old."""
        servers.forget_drops(tx, before)
