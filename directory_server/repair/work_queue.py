"""The repair planner's work queue: blobs with their needs, most urgent first, in bounded memory.

A blob is known from the moment its need is noted until it is settled, also while an order for it is under way. So the
numbers that people see are counts of known blobs.
"""

from __future__ import annotations

import heapq
from collections import Counter

from directory_server.repair.copy_rules import Need
from lockstep_store.wire.digest import Digest

MAX_KNOWN = 20_000
_BEHIND = 1_000_000
_STEP = 1000

Key = tuple[int, int, Digest]


class WorkQueue:
    """Queues at most `limit` blobs by urgency; of the others it knows only the number. Not thread-safe."""

    def __init__(self, limit: int = MAX_KNOWN) -> None:
        self._limit = limit
        self._needs: dict[Digest, Need] = {}
        self._keys: dict[Digest, Key] = {}
        self._heap: list[Key] = []
        self._counts: Counter[Need] = Counter()
        self._beyond: Counter[Need] = Counter()
        self._turn = 0

    def note(self, digest: Digest, need: Need, left: int = 0) -> None:
        """Note a blob's need; the fewer good copies are `left`, the sooner its turn. Safe to repeat."""
        if self._needs.get(digest) == need:
            key = self._keys.get(digest)
            if key is None or key[0] >= _BEHIND or key[0] == _urgency(need, left):
                return
        elif digest not in self._needs and len(self._needs) >= self._limit:
            self._beyond[need] += 1
            return
        else:
            self.settle(digest)
            self._needs[digest] = need
            self._counts[need] += 1
        self._push((_urgency(need, left), 0, digest))

    def settle(self, digest: Digest) -> None:
        """Forget a blob that needs nothing, or nothing that can be done."""
        need = self._needs.pop(digest, None)
        self._keys.pop(digest, None)
        if need is not None:
            self._counts[need] -= 1

    def forget_all(self, need: Need) -> None:
        """Settle every blob with this need."""
        for digest in [digest for digest, known in self._needs.items() if known == need]:
            self.settle(digest)

    def pop(self) -> tuple[Digest, Need] | None:
        """Take the most urgent waiting blob, which stays known; None when no blob waits."""
        key = self._top()
        if key is None:
            return None
        heapq.heappop(self._heap)
        del self._keys[key[2]]
        return key[2], self._needs[key[2]]

    def take(self, digest: Digest) -> None:
        """Stop waiting for a blob whose order is under way; it stays known."""
        self._keys.pop(digest, None)

    def postpone(self, digest: Digest) -> None:
        """Move a blob that cannot be copied now to the end, so that it does not block the others."""
        if digest in self._needs:
            self._turn += 1
            self._push((_BEHIND, self._turn, digest))

    def begin_count(self) -> None:
        """Begin a new walk: forget the number of blobs beyond the limit."""
        self._beyond.clear()

    @property
    def most_urgent(self) -> int | None:
        """The number of good copies of the next blob if it lacks copies, a large number for other needs, or None."""
        key = self._top()
        return None if key is None else key[0]

    @property
    def overflowed(self) -> bool:
        """Whether there were more blobs than the limit: walk again when there is room."""
        return self._beyond.total() > 0

    @property
    def waiting(self) -> int:
        """The number of blobs that wait for their turn."""
        return len(self._keys)

    @property
    def can_do_something(self) -> bool:
        """Whether any waiting blob was not postponed."""
        key = self._top()
        return key is not None and key[0] < _BEHIND

    def count(self, need: Need) -> int:
        """The number of blobs with this need."""
        return self._counts[need] + self._beyond[need]

    def _push(self, key: Key) -> None:
        self._keys[key[2]] = key
        heapq.heappush(self._heap, key)

    def _top(self) -> Key | None:
        while self._heap and self._keys.get(self._heap[0][2]) != self._heap[0]:
            heapq.heappop(self._heap)  # settled, or noted again, since
        return self._heap[0] if self._heap else None


def _urgency(need: Need, left: int) -> int:
    return min(left, _STEP - 1) + _STEP * need
