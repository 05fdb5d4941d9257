"""Describes locks and waiters to people: in replies and in refusals."""

from __future__ import annotations

import time
from collections.abc import Iterable

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.deadlock import Wait
from directory_server.locks.ended_locks import EndedLocks
from directory_server.metadata.statements.locks import LockRow
from directory_server.metadata.statements.waiters import WaiterRow
from lockstep_store.wire.errors import Locked, LockStale
from lockstep_store.wire.messages.locks import LockInfo, LockPath, WaiterInfo


class LockReplies:
    """Converts directory time into the wall clock, for display."""

    def __init__(self, clock: DirectoryClock, ended: EndedLocks) -> None:
        self._clock = clock
        self._ended = ended

    def locked(self, lock: LockRow, path: LockPath, account: str, place: int = 0) -> Locked:
        """Return the refusal that names the holder of `path` and the time until its lease ends."""
        left = max(0.0, lock.until - self._clock.now())
        who = f"{lock.party} (you)" if lock.party.account == account else str(lock.party)
        in_line = f"; you would be number {place} in line" if place else ""
        return Locked(
            f"{path_name(path)} is locked by {who} for another {left:.0f} s, until "
            f"{_clock_time(self._clock.wall() + left)}, lock number {lock.number}{in_line}",
            **self._details(lock),
            place=place,
        )

    def promised(self, wait: Wait, place: int) -> Locked:
        """Return the refusal for a free path whose queue another waiter leads."""
        return Locked(
            f"{wait.path} goes next to {wait.blocker}, who is waiting for it; you would be number {place} in line",
            holder=wait.blocker.account,
            client=wait.blocker.client,
            lock_number=0,
            until_at=0.0,
            seconds_left=0.0,
            place=place,
        )

    def stale(self, path: LockPath, account: str, number: int, lock: LockRow | None) -> LockStale:
        """Return the refusal of the account's lock number `number`; `lock` is the path's current lock."""
        breaking = self._ended.breaking(account, str(number))
        why = breaking or "it was released or broken, its lease expired, or it belongs to another person or path"
        now_held = f"It is now locked by {lock.party}, lock number {lock.number}" if lock else "Nobody holds it now"
        return LockStale(
            f"lock number {number} does not hold {path_name(path)}: "
            f"{why}. {now_held}. "
            "Nothing was written: take the lock again, and check what has changed",
            given=number,
            **(breaking.facts() if breaking else {}),
            **(self._details(lock) if lock else {}),
        )

    def ended(self, account: str, lock_id: str) -> LockStale:
        """Return the refusal to renew a lock that the account does not hold any more."""
        breaking = self._ended.breaking(account, lock_id)
        why = breaking or "it was released or broken, or its lease expired before it was renewed"
        return LockStale(
            f"lock {lock_id} has ended: {why}. Take the lock again, and check what has changed",
            **(breaking.facts() if breaking else {}),
        )

    def _details(self, lock: LockRow) -> dict[str, object]:
        left = max(0.0, lock.until - self._clock.now())
        return {
            "holder": lock.party.account,
            "client": lock.party.client,
            "lock_number": lock.number,
            "until_at": self._clock.wall() + left,
            "seconds_left": left,
        }

    def lock_info(self, lock: LockRow, waiters: int = 0) -> LockInfo:
        """Return a lock as people see it."""
        left = max(0.0, lock.until - self._clock.now())
        return LockInfo(
            id=f"lock-{lock.number}",
            number=lock.number,
            paths=list(lock.paths),
            account=lock.party.account,
            client=lock.party.client,
            since_at=lock.since_at,
            until_at=self._clock.wall() + left,
            seconds_left=left,
            lease_seconds=lock.lease_seconds,
            waiters=waiters,
        )

    def waiter_info(self, waiter: WaiterRow, place: int) -> WaiterInfo:
        """Return a waiter as people see it."""
        return WaiterInfo(
            id=waiter.request_id,
            paths=list(waiter.paths),
            account=waiter.party.account,
            client=waiter.party.client,
            place=place,
            since_at=waiter.since_at,
        )


def path_name(path: LockPath) -> str:
    return f"{path.bucket}/{path.path}"


def names_of(paths: Iterable[LockPath]) -> str:
    names = [path_name(path) for path in paths]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _clock_time(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall))
