"""Counts the decisions about access since the directory started, where they are made.

Only a call's own demands count, not questions that it asks to find out what to show. The numbers are in memory, in a
bounded table: further buckets are counted together.
"""

from __future__ import annotations

import threading

from lockstep_store.wire.messages.access import ALLOWING, AccessGround, DecisionCount

MAX_COUNTED = 5000
"""Of a bucket, an action and a ground."""


class DecisionCounts:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, AccessGround], int] = {}

    def note(self, bucket: str, action: str, ground: AccessGround) -> None:
        """Count a decision. Actions are those of the doors, so there are few of them."""
        key = (bucket, action, ground)
        with self._lock:
            count = self._counts.get(key)
            if count is None:
                if len(self._counts) >= MAX_COUNTED:
                    key = ("", action, ground)
                count = self._counts.get(key, 0)
            self._counts[key] = count + 1

    def all(self, bucket: str = "") -> list[DecisionCount]:
        """All counts, or those of one bucket, the largest first."""
        with self._lock:
            found = list(self._counts.items())
        counts = [
            DecisionCount(name, action, "allowed" if ground in ALLOWING else "denied", ground, count)
            for (name, action, ground), count in found
            if not bucket or name == bucket
        ]
        counts.sort(key=lambda one: (-one.count, one.bucket, one.action, one.ground))
        return counts


DECISIONS = DecisionCounts()
