"""The lock manager: acquire, renew, release, break, list; callers that wait, and waking them.

All state is rows in the metadata store, and every change is one durable transaction that is shared with others
(group commit). What may happen inside a transaction is decided by lock_rules; this module gives those transactions
to the store, keeps waiting callers on hold, and turns rows into answers. Who someone is, and whether they may use a
bucket at all, is settled by the caller or by the `may_lock` it hands in.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from prometheus_client import Counter, Histogram

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.deadlock import Party
from directory_server.locks.lock_rules import Answer, LockRules, Wish
from directory_server.locks.waiting_callers import CallersOnHold
from directory_server.metadata.statements import locks
from directory_server.metadata.statements.locks import LockRow, WaiterRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import Forbidden, LockStale, NotFound
from lockstep_store.wire.messages.files import PathLock
from lockstep_store.wire.messages.locks import AcquireReply, AcquireRequest, LockInfo, LockPath, LocksReply, WaiterInfo

WAITER_GRACE_SECONDS = 30.0
MAX_BLOCKED = 64
MAX_ENDED = 10_000
IDLE_SECONDS = 1.0

GRANTED = Counter("lockstep_directory_locks_granted", "Locks granted")
REFUSED = Counter("lockstep_directory_locks_refused", "Acquires that ended without a lock")
WAITED = Histogram("lockstep_directory_lock_wait_seconds", "Time that callers were kept waiting for a lock")


def anyone(tx: Tx, bucket: str, path: str, account: str) -> None:
    """The `may_lock` of a directory without buckets of one's own: everyone may lock everything."""


class LockManager:
    """Thread-safe. Times in answers named `…_at` are for people; leases are judged by directory time alone."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        *,
        waiter_grace: float = WAITER_GRACE_SECONDS,
        max_blocked: int = MAX_BLOCKED,
        may_lock: Callable[[Tx, str, str, str], None] = anyone,
    ) -> None:
        self._store = store
        self._clock = clock
        self._grace = waiter_grace
        self._may_lock = may_lock
        self._on_hold = CallersOnHold(max_blocked)
        self._rules = LockRules(clock, lambda *request: self._on_hold.wake(request), self._note_ended)
        self._ended: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.fence_floor = 0
        """After a restore: locks granted after the backup are forgotten here, and their numbers are remembered by
        holders, who would refuse every write of a path that stands behind. So every path stands before them."""

    def start(self) -> None:
        """After every start, before the first request: surviving locks get their full lease again.

        How long the directory was down is not known without a wall clock, so a holder is never given less than it
        was promised; places in the queue get their grace again in the same way. Only then do leases begin to end:
        directory time goes forward a little at a start, and that must not cost anyone a lock.
        """
        now = self._clock.now()
        self._store.write(lambda tx: locks.restart(tx, now, now + self._grace))
        self._store.first_in_each_transaction(self._rules.expire)

    def close(self) -> None:
        """Answer everyone who waits; their places stay."""
        self._on_hold.close()

    # ------------------------------------------------------------ acquire

    def acquire(self, account: str, session: str, client: str, request: AcquireRequest) -> AcquireReply:
        """The lock on all of `request.paths`, or the place in line for it; safe to repeat with the same request id.

        Waits up to `request.wait_seconds`. When they are over, or when too many callers wait already: with `queue`
        the place is kept and answered, without it the place is given up and Locked raised. A place that nobody asks
        about for `waiter_grace` seconds is lost. Raises Deadlock when the wait would close a cycle, and LockStale
        when this very request id took a lock before that has ended.
        """
        wish = _wish(account, session, client, request)
        key = (account, request.request_id)
        self._refuse_repeat(key)
        with self._on_hold.place(key) as event:
            wait = request.wait_seconds if event is not None else 0.0
            answer = self._store.write(lambda tx: self._ask(tx, wish, request.queue or wait > 0, wait))
            if answer.waiter is not None and event is not None and wait > 0:
                with WAITED.time():
                    answer = self._wait(answer.waiter, event, time.monotonic() + wait)
        if answer.waiter is not None:
            answer = self._leave(wish) if not request.queue else self._look(wish)
        if answer.refused is not None:
            REFUSED.inc()
            raise answer.refused
        return self._reply(answer)

    def _ask(self, tx: Tx, wish: Wish, join: bool, wait: float) -> Answer:
        for path in wish.paths:
            self._may_lock(tx, path.bucket, path.path, wish.party.account)
        return self._rules.ask(tx, wish, join=join, keep_until=self._clock.now() + wait + self._grace)

    def _wait(self, waiter: WaiterRow, event: threading.Event, deadline: float) -> Answer:
        """Until the lock is granted, the place is taken away, or `deadline` passes (in this machine's seconds)."""
        while event.wait(max(0.0, deadline - time.monotonic())):
            event.clear()
            with self._store.read() as tx:
                answer = self._outcome(tx, waiter.party.account, waiter.request_id)
            if answer is None or answer.lock is not None:
                return answer or Answer(waiter=waiter)
            if self._on_hold.closed:
                break
        return Answer(waiter=waiter)

    def _outcome(self, tx: Reader, account: str, request_id: str) -> Answer | None:
        lock = locks.lock_by_request(tx, account, request_id)
        if lock is not None:
            return Answer(lock=lock)
        waiter = locks.waiter_by_request(tx, account, request_id)
        return None if waiter is None else Answer(waiter=waiter)

    def _look(self, wish: Wish) -> Answer:
        with self._store.read() as tx:
            found = self._outcome(tx, wish.party.account, wish.request_id)
            return found or Answer(refused=self._rules.refusal(tx, wish))

    def _leave(self, wish: Wish) -> Answer:
        """The wait is over and no place shall be left; unless the lock was granted in this very moment."""

        def leave(tx: Tx) -> Answer:
            found = self._outcome(tx, wish.party.account, wish.request_id)
            if found is not None and found.lock is not None:
                return found
            if found is not None and found.waiter is not None:
                self._rules.give_up(tx, found.waiter)
            return Answer(refused=self._rules.refusal(tx, wish))

        return self._store.write(leave)

    def _reply(self, answer: Answer) -> AcquireReply:
        if answer.lock is not None:
            crash_point("directory.lock.granted")
            GRANTED.inc()
            return AcquireReply(lock=self._rules.lock_info(answer.lock))
        assert answer.waiter is not None
        REFUSED.inc()
        with self._store.read() as tx:
            place = locks.count_wanting(tx, answer.waiter.paths, answer.waiter.seq) + 1
            held = {lock.number: lock for path in answer.waiter.paths if (lock := locks.lock_on(tx, path))}
            return AcquireReply(
                waiter=self._rules.waiter_info(answer.waiter, place),
                holders=[self._rules.lock_info(lock, locks.count_wanting(tx, lock.paths)) for lock in held.values()],
            )

    def _refuse_repeat(self, key: tuple[str, str]) -> None:
        number = self._ended.get(key)
        if number is not None:
            raise LockStale(
                f"request id {key[1]!r} has already taken lock number {number}, which has ended; "
                "ask with a new request id",
                given=number,
            )

    def _note_ended(self, lock: LockRow) -> None:
        # A repeat of an acquire that was on its way while its lock ended must not take a second lock that nobody
        # knows of. Memory is enough: such a lock would end with its lease, and a restart is no time for repeats.
        self._ended[(lock.party.account, lock.request_id)] = lock.number
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    # ------------------------------------------------------------ renew, release, break

    def renew(self, account: str, lock_id: str, lease_seconds: float | None = None) -> LockInfo:
        """The owner's lock with its lease counted anew from now; a lease that has ended is refused with LockStale."""

        def renew(tx: Tx) -> LockInfo:
            lock = _find_lock(tx, account, lock_id)
            if lock is None:
                raise LockStale(
                    f"lock {lock_id} has ended: it was released or broken, or its lease ran out before it was renewed. "
                    "Take the lock again, and look at what changed meanwhile"
                )
            _only_owner(lock, account, "renew")
            lease = lock.lease_seconds if lease_seconds is None else lease_seconds
            renewed = replace(lock, lease_seconds=lease, until=self._clock.now() + lease)
            locks.set_lease(tx, renewed)
            crash_point("directory.lock.renewed")
            return self._rules.lock_info(renewed, locks.count_wanting(tx, lock.paths))

        return self._store.write(renew)

    def release(self, account: str, lock_id: str) -> None:
        """Let go of a lock, or give up a place in the queue.

        `lock_id` is a lock's id or number, a waiter's id, or the request id of either. Safe to repeat while the
        directory remembers the lock. Raises Forbidden for another's lock, NotFound when there is no such thing.
        """

        def release(tx: Tx) -> None:
            lock = _find_lock(tx, account, lock_id)
            if lock is not None:
                _only_owner(lock, account, "release")
                self._rules.end(tx, lock)
                return
            waiter = locks.waiter_by_request(tx, account, lock_id)
            if waiter is not None:
                self._rules.give_up(tx, waiter)
            elif not self._has_ended(account, lock_id):
                raise NotFound(f"there is no lock and no place in line called {lock_id!r} any more")

        self._store.write(release)
        crash_point("directory.lock.released")

    def break_lock(self, lock_id: str, by: str) -> None:
        """An administrator (the caller has checked that) takes the lock away from whoever holds it.

        Safe for the data: the broken holder's next write is refused by number. NotFound when there is no such lock.
        """

        def break_it(tx: Tx) -> LockRow:
            number = _number(lock_id)
            lock = locks.lock_by_number(tx, number) if number else locks.lock_by_any_request(tx, lock_id)
            if lock is None:
                raise NotFound(f"there is no lock called {lock_id!r}; it may have been released already")
            self._rules.end(tx, lock)
            return lock

        lock = self._store.write(break_it)
        crash_point("directory.lock.broken")
        log.warning("lock %d of %s was broken by %s", lock.number, lock.party, by)

    def _has_ended(self, account: str, lock_id: str) -> bool:
        number = _number(lock_id)
        if number is None:
            return (account, lock_id) in self._ended
        return any(owner == account and ended == number for (owner, _), ended in list(self._ended.items()))

    # ------------------------------------------------------------ looking

    def list(self) -> LocksReply:
        """Every lock and every place in the queue, oldest first."""
        self._expire_if_due()
        with self._store.read() as tx:
            held, waiting = locks.all_locks(tx), locks.all_waiters(tx)
        line: dict[LockPath, list[int]] = {}
        places: list[WaiterInfo] = []
        for waiter in waiting:
            places.append(self._rules.waiter_info(waiter, _count_of_any(line, waiter.paths) + 1))
            for path in waiter.paths:
                line.setdefault(path, []).append(waiter.seq)
        return LocksReply(
            locks=[self._rules.lock_info(lock, _count_of_any(line, lock.paths)) for lock in held],
            waiters=places,
        )

    # ------------------------------------------------------------ inside others' transactions

    def lock_on(self, tx: Reader, bucket: str, path: str) -> PathLock | None:
        """The lock that somebody has on the path; None without one, or when its lease is over."""
        lock = locks.lock_on(tx, LockPath(bucket, path))
        if lock is None or lock.until <= self._clock.now():
            return None
        return PathLock(lock.number, lock.party.account, self._rules.lock_info(lock).until_at)

    def check_write(self, tx: Reader, bucket: str, path: str, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers this write, or 0; raises Locked or LockStale. See LockRules."""
        return self._rules.check_write(tx, LockPath(bucket, path), account, lock_number)

    def fence(self, tx: Reader, bucket: str, path: str) -> int:
        """The highest lock number ever granted on the path, 0 when it was never locked; or more: see `fence_floor`."""
        return max(locks.fence(tx, LockPath(bucket, path)), self.fence_floor)

    def lease_end(self, tx: Reader, lock_number: int) -> float:
        """Directory time at which the lock's lease ends; 0 when there is no such lock."""
        lock = locks.lock_by_number(tx, lock_number)
        return 0.0 if lock is None else lock.until

    def release_in(self, tx: Tx, account: str, lock_number: int) -> None:
        """Release the whole lock within the caller's transaction. Nothing happens if it has ended meanwhile.

        Waiters are woken by the transaction's own after-commit hook: the caller has nothing more to do.
        """
        lock = locks.lock_by_number(tx, lock_number)
        if lock is not None and lock.party.account == account:
            self._rules.end(tx, lock)

    def counts(self, tx: Reader) -> tuple[int, int]:
        """How many locks and how many waiters there are."""
        return locks.count_locks(tx), locks.count_waiters(tx)

    # ------------------------------------------------------------ expiry

    def step(self) -> float:
        """For a BackgroundJob: end what is over; the seconds until the next look, at most one.

        When nothing else is written, this is also what lets directory time be saved.
        """
        self._expire_if_due()
        with self._store.read() as tx:
            due = locks.next_due(tx)
        return IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.0, due - self._clock.now()))

    def _expire_if_due(self) -> None:
        with self._store.read() as tx:
            due = locks.next_due(tx)
        if (due is not None and due <= self._clock.now()) or self._clock.must_be_saved():
            self._store.write(lambda tx: None)  # every transaction begins with expiry and ends with saving the time


def _count_of_any(line: dict[LockPath, list[int]], paths: tuple[LockPath, ...]) -> int:
    """How many places there are in the lines of `paths`."""
    if len(paths) == 1:  # by far the most, and lines may be long
        return len(line.get(paths[0], ()))
    return len({seq for path in paths for seq in line.get(path, ())})


def _wish(account: str, session: str, client: str, request: AcquireRequest) -> Wish:
    paths = {(path.bucket, path.path): path for path in request.paths}
    ordered = tuple(paths[key] for key in sorted(paths))
    return Wish(request.request_id, ordered, Party(account, client, session), request.lease_seconds)


def _number(lock_id: str) -> int | None:
    text = lock_id.removeprefix("lock-")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _find_lock(tx: Reader, account: str, lock_id: str) -> LockRow | None:
    number = _number(lock_id)
    return locks.lock_by_number(tx, number) if number else locks.lock_by_request(tx, account, lock_id)


def _only_owner(lock: LockRow, account: str, verb: str) -> None:
    if lock.party.account != account:
        raise Forbidden(
            f"lock {lock.number} is held by {lock.party}; only {lock.party.account} can {verb} it "
            "(an administrator can break it)",
            holder=lock.party.account,
        )
