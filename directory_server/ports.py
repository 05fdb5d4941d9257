"""What the directory's rules need of its other parts, so that each can be tried without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from directory_server.metadata.store import Reader, Tx
from directory_server.people.person import Person
from lockstep_store.wire.messages.files import Holder, PathLock


class Clock(Protocol):
    """Directory time, wall time, and wall time that nobody can put forward."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def calendar(self) -> float: ...


class People(Protocol):
    """Who stands behind a credential."""

    def authenticate(self, credential: str) -> Person:
        """NotLoggedIn when nobody does (any more)."""
        ...

    def identify(self, credential: str) -> Person:
        """The same, but an anonymous S3 request is a person without a name."""
        ...


class Locks(Protocol):
    """What writes ask of the locks, inside their own transaction."""

    def check_write(self, tx: Reader, bucket: str, path: str, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers the write, or 0; Locked or LockStale."""
        ...

    def fence(self, tx: Reader, bucket: str, path: str) -> int:
        """The highest lock number ever granted on the path."""
        ...

    def lease_end(self, tx: Reader, lock_number: int) -> float:
        """Directory time at which that lock's lease ends."""
        ...

    def lock_on(self, tx: Reader, bucket: str, path: str) -> PathLock | None:
        """The lock that somebody has on the path."""
        ...

    def release_in(self, tx: Tx, account: str, lock_number: int) -> None: ...


class ReadingOrder(Protocol):
    """Where the holders of a blob are."""

    def holders_in_reading_order(self, ids: Sequence[str]) -> list[Holder]:
        """`ids` in rank order, as the order to read from."""
        ...
