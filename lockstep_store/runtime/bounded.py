"""Maps bounded by a number of entries, and optionally by age.

For state about other programs and people, who decide how many entries there are. cachetools was refused: its classes
are not thread-safe, so each use would still need a lock and the same few lines around it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class BoundedMap(Generic[K, V]):
    """At most `max_entries` entries; a new one replaces the entry that was set longest ago. Thread-safe."""

    def __init__(self, max_entries: int) -> None:
        if max_entries < 1:
            raise ValueError("a map needs room for at least one entry")
        self._max_entries = max_entries
        self._entries: dict[K, V] = {}
        self._guard = threading.Lock()

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: D | None = None) -> V | D | None:
        """The value last set for `key`, or `default`. Reading does not make an entry younger."""
        with self._guard:
            return self._entries.get(key, default)

    def __setitem__(self, key: K, value: V) -> None:
        with self._guard:
            self._entries.pop(key, None)
            while len(self._entries) >= self._max_entries:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = value

    def forget(self, key: K) -> None:
        """Remove `key`, if it is there."""
        with self._guard:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove every entry."""
        with self._guard:
            self._entries.clear()

    def items(self) -> list[tuple[K, V]]:
        """All entries at one moment, oldest first."""
        with self._guard:
            return list(self._entries.items())

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)


class LookupCache(Generic[K, V]):
    """Caches look-ups in the one process that also makes every change to what they read. Thread-safe.

    Code that changes an entry's source calls `forget`. A look-up that began before that may return afterwards with the
    old value: `keep` drops it, because the generation that the look-up noted at its start has passed.
    """

    def __init__(self, max_entries: int) -> None:
        self._entries: BoundedMap[K, V] = BoundedMap(max_entries)
        self._guard = threading.Lock()
        self.generation = 0
        """Read it before a look-up begins, and pass it to `keep`."""

    def get(self, key: K) -> V | None:
        return self._entries.get(key)

    def keep(self, key: K, value: V, generation: int) -> None:
        """Remember the result of a look-up, unless a result was dropped since `generation`."""
        with self._guard:
            if generation == self.generation:
                self._entries[key] = value

    def forget(self, key: K) -> None:
        """Remove `key`, and do not keep the results of look-ups in progress."""
        with self._guard:
            self.generation += 1
            self._entries.forget(key)

    def forget_all(self) -> None:
        """Remove everything, and drop the results of all look-ups under way."""
        with self._guard:
            self.generation += 1
            self._entries.clear()


class ExpiringMap(Generic[K, V]):
    """A BoundedMap whose entries expire `seconds` after they were set, on the clock `monotonic`. Thread-safe."""

    def __init__(self, max_entries: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._entries: BoundedMap[K, tuple[V, float]] = BoundedMap(max_entries)

    def get(self, key: K) -> V | None:
        """The value set for `key` less than `seconds` ago."""
        entry = self._entries.get(key)
        if entry is None or self._monotonic() >= entry[1]:
            return None
        return entry[0]

    def set(self, key: K, value: V, since: float | None = None) -> None:
        """Set `key`. `since` is when the value was true: before the call that fetched it; now if not given."""
        start = self._monotonic() if since is None else since
        self._entries[key] = (value, start + self._seconds)

    def forget(self, key: K) -> None:
        """Remove `key`, if it is there."""
        self._entries.forget(key)

    def __len__(self) -> int:
        """The number of entries in memory, including expired ones."""
        return len(self._entries)
