"""The rules of locks, each inside one transaction: who gets a path, who waits, and which writes pass.

A lock exists exactly as long as its row. `expire` runs first in every transaction and removes the rows whose lease has
ended, so no transaction sees a lock as both ended and current. The right to lock is checked whenever a lock is
granted, handed on or renewed. The lock manager blocks callers and wakes them; the statements are in
metadata/statements/locks.py and waiters.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.deadlock import Wait, describe, find_cycle
from directory_server.locks.ended_locks import EndedLocks
from directory_server.locks.lock_replies import LockReplies, names_of, path_name
from directory_server.metadata.statements import locks, quotas, waiters
from directory_server.metadata.statements.lock_requests import LAST
from directory_server.metadata.statements.locks import LockRow
from directory_server.metadata.statements.party import Party
from directory_server.metadata.statements.waiters import WaiterRow
from directory_server.metadata.store import Reader, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import (
    BadRequest,
    Deadlock,
    Forbidden,
    LockStale,
    LockstepError,
    NotFound,
    Overloaded,
)
from lockstep_store.wire.messages.locks import LockPath

MAX_WAITERS = 10_000
MayLock = Callable[[Reader, str, str, str], None]
"""`may_lock(reader, bucket, path, account)` raises Forbidden, or NotFound when there is no such bucket."""


@dataclass(frozen=True)
class WantedLock:
    """The lock that an acquire asks for; `paths` are sorted and unique."""

    request_id: str
    paths: tuple[LockPath, ...]
    party: Party
    lease_seconds: float


@dataclass(frozen=True)
class AcquireOutcome:
    """The result of an acquire: the lock, or a place in the queue, or a refusal that leaves no place."""

    lock: LockRow | None = None
    waiter: WaiterRow | None = None
    refused: LockstepError | None = None


class LockRules:
    """Every method works inside the caller's transaction and changes nothing else.

    After a commit, `wake(account, request_id)` is called for every waiter that was granted its lock or lost its
    place, `ended` notes every lock that ended, and `changed()` is called for each lock and place that came or went.
    """

    def __init__(
        self,
        clock: DirectoryClock,
        may_lock: MayLock,
        wake: Callable[[str, str], None],
        ended: EndedLocks,
        changed: Callable[[], None],
    ) -> None:
        self.replies = LockReplies(clock, ended)
        self._clock = clock
        self._may_lock = may_lock
        self._wake = wake
        self._ended = ended
        self._changed = changed

    # ------------------------------------------------------------ the right to lock

    def demand(self, tx: Reader, paths: Iterable[LockPath], account: str) -> None:
        """Raise Forbidden or NotFound unless `account` may lock all of `paths`."""
        for path in paths:
            self._may_lock(tx, path.bucket, path.path, account)

    def refused(self, tx: Reader, paths: Iterable[LockPath], account: str) -> LockstepError | None:
        """Why `account` may not lock all of `paths`; None when it may."""
        try:
            self.demand(tx, paths, account)
        except (Forbidden, NotFound) as error:
            return error
        return None

    # ------------------------------------------------------------ acquiring

    def ask(self, tx: Tx, wanted: WantedLock, *, join: bool, keep_until: float) -> AcquireOutcome:
        """Grant `wanted` now, or, if `join`, take or keep its place in the queue until `keep_until`.

        Raises Deadlock when joining would close a cycle, BadRequest when the request id was used for other paths,
        QuotaExceeded when the account has as many locks or places in line as it may. A place that it has becomes a lock
        all the same.
        """
        account = wanted.party.account
        lock = locks.lock_by_request(tx, account, wanted.request_id)
        if lock is not None:
            return AcquireOutcome(lock=_same_paths(lock, wanted))
        waiter = waiters.waiter_by_request(tx, account, wanted.request_id)
        if waiter is not None:
            waiters.keep_waiter(tx, waiter.seq, keep_until)
            return AcquireOutcome(waiter=_same_paths(waiter, wanted))
        free = not any(locks.is_taken(tx, path) for path in wanted.paths)
        if free or join:
            quotas.demand_room(tx, quotas.ACCOUNT, account, "locks" if free else "waiters")
        # A newcomer never overtakes a waiter, even when the path itself is free.
        if free:
            return AcquireOutcome(
                lock=self._grant(tx, wanted.request_id, wanted.paths, wanted.party, wanted.lease_seconds)
            )
        if not join:
            return AcquireOutcome(refused=self.refusal(tx, wanted))
        self._refuse_deadlock(tx, wanted.party, wanted.paths)
        return AcquireOutcome(waiter=self._join(tx, wanted, keep_until))

    def _join(self, tx: Tx, wanted: WantedLock, keep_until: float) -> WaiterRow:
        if waiters.count_waiters(tx) >= MAX_WAITERS:
            raise Overloaded(f"{MAX_WAITERS} requests are already waiting for locks; try again later")
        row = WaiterRow(
            seq=0,
            request_id=wanted.request_id,
            party=wanted.party,
            paths=wanted.paths,
            lease_seconds=wanted.lease_seconds,
            keep_until=keep_until,
            since_at=self._clock.wall(),
        )
        tx.after_commit(self._changed)
        return replace(row, seq=waiters.insert_waiter(tx, row))

    def _grant(self, tx: Tx, request_id: str, paths: tuple[LockPath, ...], party: Party, lease: float) -> LockRow:
        row = LockRow(
            number=locks.next_number(tx),
            request_id=request_id,
            party=party,
            paths=paths,
            lease_seconds=lease,
            until=self._clock.now() + lease,
            since_at=self._clock.wall(),
        )
        locks.insert_lock(tx, row)
        tx.after_commit(self._changed)
        crash_point("directory.lock.inserted")
        return row

    # ------------------------------------------------------------ deadlocks

    def _waits(
        self, tx: Reader, party: Party, paths: Iterable[LockPath], before: int | None, since: int = 0
    ) -> Iterator[Wait]:
        """Return what blocks `party` on `paths`: locks, and waiters from place `since` up to `before` (None: all)."""
        for path in paths:
            lock = locks.lock_on(tx, path)
            if lock is not None:
                yield Wait(party, path_name(path), lock.party)
            for earlier in waiters.parties_waiting(tx, path, before, since):
                yield Wait(party, path_name(path), earlier, held=False)

    def _refuse_deadlock(self, tx: Reader, party: Party, paths: tuple[LockPath, ...]) -> None:
        places = waiters.waiters_of(tx, party)
        if not places and not locks.holds_any(tx, party):
            return  # nobody waits for this party, so no path leads back to it
        own = {path: place.seq for place in sorted(places, key=lambda place: -place.seq) for path in place.paths}
        # Each waiter waits for all before it. Reading a queue again for each of them would take quadratic time, inside
        # the transaction that all writers share.
        seen = dict.fromkeys(paths, LAST)

        def waits_of(blocked: Party) -> Iterator[Wait]:
            for waiter in waiters.waiters_of(tx, blocked):
                for path in waiter.paths:
                    if own.get(path, LAST) < waiter.seq:
                        yield Wait(blocked, path_name(path), party, held=False)
                    yield from self._waits(tx, blocked, (path,), waiter.seq, seen.get(path, 0))
                    seen[path] = max(seen.get(path, 0), waiter.seq)

        cycle = find_cycle(tuple(self._waits(tx, party, paths, before=None)), waits_of)
        if cycle:
            raise Deadlock(
                f"deadlock: {describe(cycle)}. Release what you hold, and lock all paths in one request",
                cycle=[{"waiter": str(w.waiter), "path": w.path, "holder": str(w.blocker)} for w in cycle],
            )

    # ------------------------------------------------------------ ending

    def end(self, tx: Tx, lock: LockRow) -> None:
        """Remove the lock and grant its paths to the next in line."""
        self._delete(tx, lock)
        crash_point("directory.lock.deleted")
        self._hand_on(tx, lock.paths)

    def end_bucket(self, tx: Tx, bucket: str) -> None:
        """End every lock and every place with a path in the bucket; their paths in other buckets are handed on."""
        places, held = waiters.waiters_in_bucket(tx, bucket), locks.locks_in_bucket(tx, bucket)
        self._end_all(tx, places, held, f"bucket {bucket}")

    def end_account(self, tx: Tx, account: str) -> None:
        """End every lock and every place of the account; the paths are handed on."""
        places, held = waiters.waiters_by_account(tx, account), locks.locks_by_account(tx, account)
        self._end_all(tx, places, held, f"account {account}")

    def _end_all(self, tx: Tx, places: Iterable[WaiterRow], held: Iterable[LockRow], ended: str) -> None:
        freed: dict[LockPath, None] = {}
        for waiter in places:
            self._remove_waiter(tx, waiter)
            freed.update(dict.fromkeys(waiter.paths))
        for lock in held:
            log.info("lock %d of %s ended with %s", lock.number, lock.party, ended)
            self._delete(tx, lock)
            freed.update(dict.fromkeys(lock.paths))
        self._hand_on(tx, freed)

    def _delete(self, tx: Tx, lock: LockRow) -> None:
        locks.delete_lock(tx, lock)
        tx.after_commit(lambda: self._ended.note(lock))
        tx.after_commit(self._changed)

    def give_up(self, tx: Tx, waiter: WaiterRow) -> None:
        """Remove a place from the queue; the one behind it may be next."""
        self._remove_waiter(tx, waiter)
        self._hand_on(tx, waiter.paths)

    def _remove_waiter(self, tx: Tx, waiter: WaiterRow) -> None:
        waiters.delete_waiter(tx, waiter)
        tx.after_commit(lambda: self._wake(waiter.party.account, waiter.request_id))
        tx.after_commit(self._changed)

    def _hand_on(self, tx: Tx, paths: Iterable[LockPath]) -> None:
        """Grant freed paths to the next in line, skipping waiters that have lost the right to lock."""
        freed = deque(paths)
        while freed:
            waiter = waiters.first_waiter(tx, freed.popleft())
            if waiter is None or not self._is_next(tx, waiter):
                continue
            self._remove_waiter(tx, waiter)
            if self.refused(tx, waiter.paths, waiter.party.account) is None:
                self._grant(tx, waiter.request_id, waiter.paths, waiter.party, waiter.lease_seconds)
            else:
                freed.extend(waiter.paths)

    def _is_next(self, tx: Reader, waiter: WaiterRow) -> bool:
        for path in waiter.paths:
            first = waiters.first_waiter(tx, path)
            if first is None or first.seq != waiter.seq or locks.lock_on(tx, path) is not None:
                return False
        return True

    def expire(self, tx: Tx) -> None:
        """End every lock whose lease has expired, and every place whose waiter has not asked for too long.

        All of them end before any path is handed on: no lock may go to a caller that has left.
        """
        now = self._clock.now()
        if not waiters.anything_due(tx, now):
            return
        paths: dict[LockPath, None] = {}
        for waiter in waiters.waiters_due(tx, now):
            self._remove_waiter(tx, waiter)
            paths.update(dict.fromkeys(waiter.paths))
        for lock in locks.locks_due(tx, now):
            log.info("lock %d of %s on %s expired", lock.number, lock.party, names_of(lock.paths))
            self._delete(tx, lock)
            paths.update(dict.fromkeys(lock.paths))
        self._hand_on(tx, paths)

    # ------------------------------------------------------------ writing

    def check_write(self, tx: Reader, path: LockPath, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers this write; 0 when the path is not locked.

        Raises Locked when the path is locked and no number is given, LockStale when the number is not that of the
        path's current lock, or the lock is another account's.
        """
        lock = locks.lock_on(tx, path)
        if lock_number is None:
            if lock is None:
                return 0
            raise self.replies.locked(lock, path, account)
        if lock is not None and lock.number == lock_number and lock.party.account == account:
            return lock_number
        raise self.replies.stale(path, account, lock_number, lock)

    def refusal(self, tx: Reader, wanted: WantedLock) -> LockstepError:
        """Why `wanted` cannot be granted: no right to lock, or Locked with the holder, the time and the place."""
        no_right = self.refused(tx, wanted.paths, wanted.party.account)
        if no_right is not None:
            return no_right
        place = waiters.count_wanting(tx, wanted.paths) + 1
        for path in wanted.paths:
            lock = locks.lock_on(tx, path)
            if lock is not None:
                return self.replies.locked(lock, path, wanted.party.account, place)
        for wait in self._waits(tx, wanted.party, wanted.paths, before=None):
            return self.replies.promised(wait, place)
        return LockStale(f"the place in line for {names_of(wanted.paths)} was lost; ask again with a new request id")


Row = TypeVar("Row", LockRow, WaiterRow)


def _same_paths(row: Row, wanted: WantedLock) -> Row:
    if row.paths != wanted.paths:
        raise BadRequest(
            f"request id {wanted.request_id!r} was already used for {names_of(row.paths)}; use a new id for other paths"
        )
    return row
