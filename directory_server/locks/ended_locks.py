"""Remembers locks that ended lately: whose they were, and who broke them.

A delayed repeat of an acquire must not take a second lock that its caller does not know of. Memory is enough: such a
lock would expire with its lease, and repeats rarely survive a restart. Who broke a lock, and why, is in the audit too.
"""

from __future__ import annotations

from typing import NamedTuple

from directory_server.metadata.statements.locks import LockRow
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.wire.errors import LockStale
from lockstep_store.wire.names import tenant_of

MAX_ENDED = 10_000


class Breaking(NamedTuple):
    """Who broke a lock, and why. `by` is empty for somebody outside the holder's tenant, `reason` if none was given."""

    by: str
    reason: str

    def __str__(self) -> str:
        who = self.by or "an administrator"
        return f"{who} broke it" + (f" and gave the reason {self.reason!r}" if self.reason else "")

    def facts(self) -> dict[str, object]:
        """Members of the error that the former holder gets."""
        return {"broken_by": self.by, "reason": self.reason}


class EndedLocks:
    """The last MAX_ENDED locks that ended. Thread-safe."""

    def __init__(self) -> None:
        self._numbers: BoundedMap[tuple[str, str], int] = BoundedMap(MAX_ENDED)
        """By account and request id."""
        self._broken: BoundedMap[tuple[str, int], Breaking] = BoundedMap(MAX_ENDED)
        """By the former holder's account and number: nobody else learns who broke a lock."""

    def note(self, lock: LockRow) -> None:
        self._numbers[(lock.party.account, lock.request_id)] = lock.number

    def note_broken(self, lock: LockRow, by: str, reason: str) -> None:
        holder = lock.party.account
        shown = by if tenant_of(by) == tenant_of(holder) else ""
        self._broken[(holder, lock.number)] = Breaking(shown, reason)

    def refuse_repeat(self, account: str, request_id: str) -> None:
        """Raise LockStale if this request has already taken a lock that has ended."""
        number = self._numbers.get((account, request_id))
        if number is not None:
            raise LockStale(
                f"request id {request_id!r} already took lock number {number}, which has ended; use a new request id",
                given=number,
            )

    def has(self, account: str, lock_id: str) -> bool:
        """Whether a lock of the account with this id, number or request id has ended."""
        number = number_in(lock_id)
        if number is None:
            return (account, lock_id) in self._numbers
        return any(owner == account and ended == number for (owner, _), ended in self._numbers.items())

    def breaking(self, account: str, lock_id: str) -> Breaking | None:
        """Who broke a lock of the account, by its id, number or request id; None if nobody did."""
        number = number_in(lock_id) or self._numbers.get((account, lock_id))
        return None if number is None else self._broken.get((account, number))


def number_in(lock_id: str) -> int | None:
    """The number of a lock in its id; None for the id of a request."""
    text = lock_id.removeprefix("lock-")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
