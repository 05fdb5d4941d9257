"""The rules of locks, each inside one transaction: who gets a path, who waits in which place, whose write may pass.

A lock exists exactly as long as its row: `expire` runs before anything else in a transaction and removes the rows
whose lease is over, so nothing in the transaction, and nobody told of its outcome, can see a lock as both ended and
current. Blocking callers and waking them are the lock manager's; the statements are in metadata/locks.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.deadlock import Party, Wait, describe, find_cycle
from directory_server.metadata.statements import locks
from directory_server.metadata.statements.locks import LockRow, WaiterRow
from directory_server.metadata.store import Reader, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import BadRequest, Deadlock, Locked, LockStale, LockstepError, Overloaded
from lockstep_store.wire.messages.locks import LockInfo, LockPath, WaiterInfo

MAX_WAITERS = 10_000


@dataclass(frozen=True)
class Wish:
    """What an acquire asks for; `paths` sorted and without repeats."""

    request_id: str
    paths: tuple[LockPath, ...]
    party: Party
    lease_seconds: float


@dataclass(frozen=True)
class Answer:
    """Exactly one of the lock, the place in the queue, and the refusal that leaves no place behind."""

    lock: LockRow | None = None
    waiter: WaiterRow | None = None
    refused: LockstepError | None = None


def path_name(path: LockPath) -> str:
    return f"{path.bucket}/{path.path}"


class LockRules:
    """Every method works inside the caller's transaction and changes nothing else.

    After a commit, `wake(account, request_id)` is called for every waiter that was granted its lock or lost its
    place, and `ended(lock)` for every lock that ended.
    """

    def __init__(
        self,
        clock: DirectoryClock,
        wake: Callable[[str, str], None],
        ended: Callable[[LockRow], None],
    ) -> None:
        self._clock = clock
        self._wake = wake
        self._ended = ended

    # ------------------------------------------------------------ asking

    def ask(self, tx: Tx, wish: Wish, *, join: bool, keep_until: float) -> Answer:
        """Grant `wish` now, or, when `join`, give or keep its place in the queue until `keep_until`.

        Raises Deadlock when joining would close a cycle, BadRequest when the request id was used for other paths.
        """
        account = wish.party.account
        lock = locks.lock_by_request(tx, account, wish.request_id)
        if lock is not None:
            return Answer(lock=_same_paths(lock, wish))
        waiter = locks.waiter_by_request(tx, account, wish.request_id)
        if waiter is not None:
            locks.keep_waiter(tx, waiter.seq, keep_until)
            return Answer(waiter=_same_paths(waiter, wish))
        # Whoever waits for a path came earlier: a newcomer never overtakes, even when the path itself is free.
        if not any(locks.is_taken(tx, path) for path in wish.paths):
            return Answer(lock=self._grant(tx, wish.request_id, wish.paths, wish.party, wish.lease_seconds))
        if not join:
            return Answer(refused=self.refusal(tx, wish))
        self._refuse_deadlock(tx, wish.party, wish.paths)
        return Answer(waiter=self._join(tx, wish, keep_until))

    def _join(self, tx: Tx, wish: Wish, keep_until: float) -> WaiterRow:
        if locks.count_waiters(tx) >= MAX_WAITERS:
            raise Overloaded(f"{MAX_WAITERS} requests wait for locks already; try again later")
        row = WaiterRow(0, wish.request_id, wish.party, wish.paths, wish.lease_seconds, keep_until, self._clock.wall())
        return replace(row, seq=locks.insert_waiter(tx, row))

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
        crash_point("directory.lock.inserted")
        return row

    # ------------------------------------------------------------ deadlocks

    def _waits(
        self, tx: Reader, party: Party, paths: Iterable[LockPath], before: int | None, since: int = 0
    ) -> Iterator[Wait]:
        """What `party` waits for when it wants `paths` and stands before place number `before` (None: last); of those
        in line the ones from place number `since` on."""
        for path in paths:
            lock = locks.lock_on(tx, path)
            if lock is not None:
                yield Wait(party, path_name(path), lock.party)
            for earlier in locks.parties_waiting(tx, path, before, since):
                yield Wait(party, path_name(path), earlier, held=False)

    def _refuse_deadlock(self, tx: Reader, party: Party, paths: tuple[LockPath, ...]) -> None:
        places = locks.waiters_of(tx, party)
        if not places and not locks.holds_any(tx, party):
            return  # nobody waits for this party, so no way leads back to it
        own = {path: place.seq for place in sorted(places, key=lambda place: -place.seq) for path in place.paths}
        # Whoever stands in a line waits for all before them: told anew by each, a long line would hold up all writers.
        told = dict.fromkeys(paths, locks.LAST)

        def waits_of(blocked: Party) -> Iterator[Wait]:
            for waiter in locks.waiters_of(tx, blocked):
                for path in waiter.paths:
                    if own.get(path, locks.LAST) < waiter.seq:
                        yield Wait(blocked, path_name(path), party, held=False)
                    yield from self._waits(tx, blocked, (path,), waiter.seq, told.get(path, 0))
                    told[path] = max(told.get(path, 0), waiter.seq)

        cycle = find_cycle(tuple(self._waits(tx, party, paths, before=None)), waits_of)
        if cycle:
            raise Deadlock(
                f"this wait would never end: {describe(cycle)}. Release what you hold and ask for all paths at once",
                cycle=[{"waiter": str(w.waiter), "path": w.path, "holder": str(w.blocker)} for w in cycle],
            )

    # ------------------------------------------------------------ ending

    def end(self, tx: Tx, lock: LockRow) -> None:
        """Remove the lock and hand its paths to whoever is next in line."""
        self._delete(tx, lock)
        crash_point("directory.lock.deleted")
        self._hand_on(tx, lock.paths)

    def _delete(self, tx: Tx, lock: LockRow) -> None:
        locks.delete_lock(tx, lock)
        tx.after_commit(lambda: self._ended(lock))

    def give_up(self, tx: Tx, waiter: WaiterRow) -> None:
        """Take a place out of the queue; those behind it may be next."""
        locks.delete_waiter(tx, waiter)
        self._after_commit(tx, waiter.party.account, waiter.request_id)
        self._hand_on(tx, waiter.paths)

    def _hand_on(self, tx: Tx, paths: Iterable[LockPath]) -> None:
        for path in paths:
            waiter = locks.first_waiter(tx, path)
            if waiter is not None and self._is_next(tx, waiter):
                locks.delete_waiter(tx, waiter)
                self._grant(tx, waiter.request_id, waiter.paths, waiter.party, waiter.lease_seconds)
                self._after_commit(tx, waiter.party.account, waiter.request_id)

    def _is_next(self, tx: Reader, waiter: WaiterRow) -> bool:
        for path in waiter.paths:
            first = locks.first_waiter(tx, path)
            if first is None or first.seq != waiter.seq or locks.lock_on(tx, path) is not None:
                return False
        return True

    def _after_commit(self, tx: Tx, account: str, request_id: str) -> None:
        tx.after_commit(lambda: self._wake(account, request_id))

    def expire(self, tx: Tx) -> None:
        """End every lock whose lease is over, and every place that nobody has asked about for too long.

        All of them go before any path is handed on: a lock must not be granted to someone who is no longer there.
        """
        now = self._clock.now()
        paths: dict[LockPath, None] = {}
        for waiter in locks.waiters_due(tx, now):
            locks.delete_waiter(tx, waiter)
            self._after_commit(tx, waiter.party.account, waiter.request_id)
            paths.update(dict.fromkeys(waiter.paths))
        for lock in locks.locks_due(tx, now):
            log.info("lock %d of %s on %s ended with its lease", lock.number, lock.party, _names(lock.paths))
            self._delete(tx, lock)
            paths.update(dict.fromkeys(lock.paths))
        self._hand_on(tx, paths)

    # ------------------------------------------------------------ writing

    def check_write(self, tx: Reader, path: LockPath, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers this write, 0 when nobody has locked the path.

        Raises Locked when no number is given for a locked path, LockStale when the number given is not the path's
        current lock, or is another account's.
        """
        lock = locks.lock_on(tx, path)
        if lock_number is None:
            if lock is None:
                return 0
            raise self.locked(lock, path, account)
        if lock is not None and lock.number == lock_number and lock.party.account == account:
            return lock_number
        raise self._stale(path, lock_number, lock)

    def refusal(self, tx: Reader, wish: Wish) -> LockstepError:
        """Why `wish` cannot be granted now: Locked with who holds it, until when, and the place it would have."""
        place = locks.count_wanting(tx, wish.paths) + 1
        for path in wish.paths:
            lock = locks.lock_on(tx, path)
            if lock is not None:
                return self.locked(lock, path, wish.party.account, place)
        for wait in self._waits(tx, wish.party, wish.paths, before=None):
            return self.promised(wait, place)
        return LockStale(f"the place in line for {_names(wish.paths)} was given up; ask again with a new request id")

    def locked(self, lock: LockRow, path: LockPath, account: str, place: int = 0) -> Locked:
        """The refusal that says who holds `path`, and for how long."""
        left = max(0.0, lock.until - self._clock.now())
        who = f"{lock.party} (you)" if lock.party.account == account else str(lock.party)
        in_line = f"; you would be number {place} in line" if place else ""
        return Locked(
            f"{path_name(path)} is locked by {who} for another {left:.0f} s, until "
            f"{_clock_time(self._clock.wall() + left)}, lock number {lock.number}{in_line}",
            **self._facts(lock),
            place=place,
        )

    def promised(self, wait: Wait, place: int) -> Locked:
        """The refusal when a path is free but someone else is next in its queue."""
        return Locked(
            f"{wait.path} is promised next to {wait.blocker}, who is waiting for it; "
            f"you would be number {place} in line",
            holder=wait.blocker.account,
            client=wait.blocker.client,
            lock_number=0,
            until_at=0.0,
            seconds_left=0.0,
            place=place,
        )

    def _stale(self, path: LockPath, number: int, lock: LockRow | None) -> LockStale:
        now_held = f"It is now locked by {lock.party}, lock number {lock.number}" if lock else "Nobody holds it now"
        return LockStale(
            f"lock number {number} is not the lock of {path_name(path)}: it was released or broken, its lease ended, "
            f"or it is another person's or path's. {now_held}. Nothing was written: take the lock again, and look at "
            "what changed meanwhile",
            given=number,
            **(self._facts(lock) if lock else {}),
        )

    def _facts(self, lock: LockRow) -> dict[str, object]:
        left = max(0.0, lock.until - self._clock.now())
        return {
            "holder": lock.party.account,
            "client": lock.party.client,
            "lock_number": lock.number,
            "until_at": self._clock.wall() + left,
            "seconds_left": left,
        }

    # ------------------------------------------------------------ telling

    def lock_info(self, lock: LockRow, waiters: int = 0) -> LockInfo:
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
        return WaiterInfo(
            id=waiter.request_id,
            paths=list(waiter.paths),
            account=waiter.party.account,
            client=waiter.party.client,
            place=place,
            since_at=waiter.since_at,
        )


Row = TypeVar("Row", LockRow, WaiterRow)


def _same_paths(row: Row, wish: Wish) -> Row:
    if row.paths != wish.paths:
        raise BadRequest(
            f"request id {wish.request_id!r} has already asked for {_names(row.paths)}; use a new id for other paths"
        )
    return row


def _names(paths: Iterable[LockPath]) -> str:
    names = [path_name(path) for path in paths]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _clock_time(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall))
