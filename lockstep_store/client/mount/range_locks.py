"""The locks that programs of this machine hold on ranges of one file, by the rules of fcntl(2)."""

from __future__ import annotations

from typing import NamedTuple

END = 1 << 63
"""Beyond the last byte that a file can have."""


class RangeLock(NamedTuple):
    """A lock of `owner` on the bytes [start, end). `process` is the number that F_GETLK tells."""

    owner: int
    start: int
    end: int
    is_exclusive: bool
    process: int = 0

    def conflicts(self, other: RangeLock) -> bool:
        shares = not (self.is_exclusive or other.is_exclusive)
        return self.owner != other.owner and not shares and self.start < other.end and other.start < self.end

    def joins(self, other: RangeLock) -> bool:
        """Whether both are one lock: of one kind and owner, and with no byte between them."""
        same = self.owner == other.owner and self.is_exclusive == other.is_exclusive
        return same and self.start <= other.end and other.start <= self.end


class RangeLocks:
    """Every lock on one file. True if there is one."""

    def __init__(self) -> None:
        self._held: list[RangeLock] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    def held(self) -> list[RangeLock]:
        """The locks, in the order of their ranges."""
        return sorted(self._held, key=lambda lock: (lock.start, lock.owner))

    def conflict(self, wanted: RangeLock) -> RangeLock | None:
        """The first lock of another owner that is in the way."""
        return next((lock for lock in self.held() if lock.conflicts(wanted)), None)

    def add(self, lock: RangeLock) -> None:
        """Hold a lock, in place of what its owner held in the range. The caller has looked for conflicts."""
        self.remove(lock.owner, lock.start, lock.end)
        parts = [lock, *(one for one in self._held if one.joins(lock))]
        self._held = [one for one in self._held if not one.joins(lock)]
        self._held.append(lock._replace(start=min(p.start for p in parts), end=max(p.end for p in parts)))

    def remove(self, owner: int, start: int = 0, end: int = END) -> bool:
        """End what an owner holds in a range, and keep the rest of it. Whether there was anything."""
        kept: list[RangeLock] = []
        for lock in self._held:
            if lock.owner != owner or lock.end <= start or end <= lock.start:
                kept.append(lock)
                continue
            if lock.start < start:
                kept.append(lock._replace(end=start))
            if end < lock.end:
                kept.append(lock._replace(start=end))
        changed = kept != self._held
        self._held = kept
        return changed
