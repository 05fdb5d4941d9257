"""The repair planner's walk over all blobs: why it began, how far it is, and which lost blobs it found.

The planner decides what each blob needs.
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
    """The servers that count and the zones with room: when they change, all blobs are examined again."""

    counting: object
    zones: frozenset[str]


class RepairWalk:
    """Walks over all blobs. Stores nothing: after a restart a walk finds everything again. Not thread-safe."""

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
        """Whether to begin a walk. `is_wanted`: the last one had no room for all it found, or balancing needs one."""
        if self._begun_for is None or situation.counting != self._begun_for.counting:
            return True
        # One slow server makes zones come and go: they never restart a walk that is under way.
        return not self.is_under_way and (
            situation.zones != self._begun_for.zones
            or is_wanted
            or self._clock.now() - self._begun_at >= WALK_AGAIN_SECONDS
        )

    def begin(self, situation: Situation) -> None:
        """Begin at the first blob."""
        self._begun_for, self._begun_at = situation, self._clock.now()
        self._after = b""
        self._lost_in_walk = set()

    def begin_again(self) -> None:
        """Make a new walk due, from the first blob."""
        self._begun_for = None

    def is_over(self, situation: Situation) -> bool:
        """Whether every blob has been examined in this situation."""
        return not self.is_under_way and situation == self._begun_for

    # ------------------------------------------------------------ page by page

    def page(self) -> list[HeldBlob]:
        """The next blobs in digest order, at most PAGE."""
        assert self._after is not None
        with self._store.read() as reader:
            return servers.page_of_blobs(reader, self._after, PAGE)

    def done(self, page: list[HeldBlob]) -> bool:
        """Note that the page was examined; returns whether it was the last one."""
        self._after = page[-1].digest if len(page) == PAGE else None
        if self._after is None:
            self._lost = self._lost_in_walk
        return self._after is None

    # ------------------------------------------------------------ what is lost

    @property
    def lost(self) -> int:
        """The number of blobs without a good copy on a server that is up; it may still rise during a walk."""
        return max(len(self._lost), len(self._lost_in_walk))

    def note_lost(self, digest: Digest) -> None:
        for known in (self._lost, self._lost_in_walk):
            if len(known) < MAX_KNOWN_LOST:
                known.add(digest)

    def note_not_lost(self, digest: Digest) -> None:
        self._lost.discard(digest)
        self._lost_in_walk.discard(digest)
