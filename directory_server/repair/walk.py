"""The repair planner's walk over all blobs: which situation it is made for, how far it is, and what it found lost.

What each blob needs, and what is to be done about it, is repair.py's.
"""

from __future__ import annotations

from typing import NamedTuple

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.metadata.statements import servers
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.metadata.store import MetadataStore
from lockstep_store.wire.digest import Digest

PAGE = 1000
WALK_AGAIN_SECONDS = 600.0
MAX_KNOWN_LOST = 100_000


class Situation(NamedTuple):
    """What all blobs should be looked at again for when it changes: who counts, and the zones with room."""

    counting: object
    zones: frozenset[str]


class RepairWalk:
    """Not thread-safe. Nothing of it is kept: after a restart a walk finds everything again."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock) -> None:
        self._store = store
        self._clock = clock
        self._after: bytes | None = None
        self._begun_for: Situation | None = None
        self._begun_at = 0.0
        self._lost: set[Digest] = set()
        self._lost_in_walk: set[Digest] = set()

    @property
    def is_under_way(self) -> bool:
        return self._after is not None

    def is_due(self, situation: Situation, *, is_wanted: bool) -> bool:
        """`is_wanted`: there is more to be found than the last walk had room for, or something to be looked at anew."""
        if self._begun_for is None or situation.counting != self._begun_for.counting:
            return True
        # Zones come and go with a single slow server: they never make a walk under way begin anew.
        return not self.is_under_way and (
            situation.zones != self._begun_for.zones
            or is_wanted
            or self._clock.now() - self._begun_at >= WALK_AGAIN_SECONDS
        )

    def begin(self, situation: Situation) -> None:
        """From the first blob."""
        self._begun_for, self._begun_at = situation, self._clock.now()
        self._after = b""
        self._lost_in_walk = set()

    def is_over(self, situation: Situation) -> bool:
        """Every blob has been looked at in this very situation."""
        return not self.is_under_way and situation == self._begun_for

    # ------------------------------------------------------------ page by page

    def page(self) -> list[HeldBlob]:
        """The next blobs in digest order, at most PAGE."""
        assert self._after is not None
        with self._store.read() as reader:
            return servers.page_of_blobs(reader, self._after, PAGE)

    def done(self, page: list[HeldBlob]) -> bool:
        """That page was looked at; whether it was the last one."""
        self._after = page[-1].digest if len(page) == PAGE else None
        if self._after is None:
            self._lost = self._lost_in_walk
        return self._after is None

    # ------------------------------------------------------------ what is lost

    @property
    def lost(self) -> int:
        """Blobs without a good copy on any server that is up. While a walk is under way it may still rise."""
        return max(len(self._lost), len(self._lost_in_walk))

    def note_lost(self, digest: Digest) -> None:
        for known in (self._lost, self._lost_in_walk):
            if len(known) < MAX_KNOWN_LOST:
                known.add(digest)

    def note_not_lost(self, digest: Digest) -> None:
        self._lost.discard(digest)
        self._lost_in_walk.discard(digest)
