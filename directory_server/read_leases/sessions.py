"""Sessions: the leases that one run of a proxy holds, and the breaks that it has not confirmed.

All of this is protected by the lock of `LeaseLedger`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from directory_server.read_leases.keys import Key, Keys

MAX_LEASES = 5000
"""Of one session. Proxies keep fewer."""


@dataclass(eq=False)
class HeldLease:
    """A lease that a proxy may be reading under. `broken_by` is the number of the break under way, or 0."""

    id: int
    session: LeaseSession
    keys: Keys
    until: float
    broken_by: int = 0


@dataclass(eq=False)
class LeaseSession:
    """What a proxy holds. It ends, and all of its leases with it, at `until`, by the directory's monotonic clock."""

    id: str
    until: float
    leases: dict[int, HeldLease] = field(default_factory=dict)
    """In the order of their grants."""
    breaks: deque[tuple[int, list[int]]] = field(default_factory=deque)
    """Number and lease ids of each break that is not confirmed."""
    newest_break: int = 0
    polls: int = 0


class LeaseIndex:
    """Finds the leases that depend on a key."""

    def __init__(self) -> None:
        self._by_key: dict[Key, dict[int, HeldLease]] = {}

    def add(self, lease: HeldLease) -> None:
        lease.session.leases[lease.id] = lease
        for key in lease.keys:
            self._by_key.setdefault(key, {})[lease.id] = lease

    def remove(self, lease: HeldLease) -> None:
        if lease.session.leases.pop(lease.id, None) is None:
            return
        for key in lease.keys:
            of_key = self._by_key[key]
            del of_key[lease.id]
            if not of_key:
                del self._by_key[key]

    def find(self, keys: Keys) -> list[HeldLease]:
        """Return the leases on any of `keys`, by id: the order of a set must not decide what is sent."""
        found: dict[int, HeldLease] = {}
        for key in keys:
            found.update(self._by_key.get(key, {}))
        return [found[id] for id in sorted(found)]
