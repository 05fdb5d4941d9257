"""The lock manager: acquire, renew, release, break and list locks, and wake callers that wait.

All state is rows in the metadata store. Each change is one durable transaction, which group commit shares with others.
`lock_rules` decides what happens inside a transaction; this module runs the transactions, blocks callers that wait and
turns rows into replies. The caller authenticates people; `may_lock` decides who may lock a path.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from prometheus_client import Counter, Histogram

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.ended_locks import EndedLocks, number_in
from directory_server.locks.lock_changes import LockChanges
from directory_server.locks.lock_listing import list_page, locks_on
from directory_server.locks.lock_replies import names_of
from directory_server.locks.lock_rules import AcquireOutcome, LockRules, MayLock, WantedLock
from directory_server.locks.waiting_callers import WaitingCallers
from directory_server.metadata.statements import buckets, locks, waiters
from directory_server.metadata.statements.locks import LockRow
from directory_server.metadata.statements.party import Party
from directory_server.metadata.statements.waiters import WaiterRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.audit import Auditor, NoAudit
from directory_server.people.person import Person
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import Forbidden, NotFound
from lockstep_store.wire.messages.files import PathLock
from lockstep_store.wire.messages.locks import (
    MAX_LISTED_LOCKS,
    AcquireReply,
    AcquireRequest,
    LockInfo,
    LockPath,
    LocksReply,
)
from lockstep_store.wire.names import tenant_of

WAITER_GRACE_SECONDS = 30.0
MAX_BLOCKED = 64
IDLE_SECONDS = 1.0

GRANTED = Counter("lockstep_directory_locks_granted", "Locks granted")
REFUSED = Counter("lockstep_directory_locks_refused", "Acquires that ended without a lock")
WAITED = Histogram("lockstep_directory_lock_wait_seconds", "Time that callers waited for a lock")


def anyone(tx: Reader, bucket: str, path: str, account: str) -> None:
    """A `may_lock` without restrictions: everyone may lock everything."""


class LockManager:
    """Manages locks. Times named `…_at` in replies are for display; directory time ends leases. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        *,
        waiter_grace: float = WAITER_GRACE_SECONDS,
        max_blocked: int = MAX_BLOCKED,
        may_lock: MayLock = anyone,
        audit: Auditor | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._grace = waiter_grace
        self._waiting = WaitingCallers(max_blocked)
        self._audit = audit or NoAudit()
        # Rises over restarts too, as directory time does: nobody must take an earlier revision for the current one.
        self.changes = LockChanges(int(clock.now() * 1e6))
        self._ended = EndedLocks()
        self._rules = LockRules(
            clock, may_lock, lambda *request: self._waiting.wake(request), self._ended, self.changes.note
        )
        self._replies = self._rules.replies
        self.may_grant: Callable[[], bool] | None = None
        """While it returns False, no lock expires and none is granted to a waiter."""
        self.fence_floor = 0
        """The lowest fence of any path. A restore raises it: holders remember numbers of locks that the backup lacks,
        and would refuse every write with a lower fence."""

    def start(self) -> None:
        """Give surviving locks their full lease again. Call it after every start, before the first request.

        How long the directory was down is unknown, because no wall clock decides. So no lock gets less time than it was
        promised, and no waiter less grace. Leases expire only after this call: directory time jumps a little at a
        start, and the jump must not end a lock.
        """
        now = self._clock.now()
        self._store.write(lambda tx: locks.restart(tx, now, now + self._grace))
        self._store.first_in_each_transaction(self._expire)

    def _expire(self, tx: Tx) -> None:
        if self._grants():
            self._rules.expire(tx)

    def _grants(self) -> bool:
        return (may_grant := self.may_grant) is None or may_grant()

    def close(self) -> None:
        """Answer every caller that waits. Their places in the queue stay."""
        self._waiting.close()
        self.changes.close()

    # ------------------------------------------------------------ acquire

    def acquire(self, account: str, session: str, client: str, request: AcquireRequest) -> AcquireReply:
        """Lock all of `request.paths`, or take a place in line. Safe to repeat with the same request id.

        Waits up to `request.wait_seconds`. When the time is up, or too many callers wait already, `queue` keeps the
        place and returns it; without `queue` the place is given up and Locked is raised. A place is lost when nobody
        asks about it for `waiter_grace` seconds. Raises Forbidden or NotFound when the account may not lock a path,
        also while it waits; Deadlock when the wait would close a cycle; LockStale when this request id already took a
        lock that has ended.
        """
        wanted = _wanted(account, session, client, request)
        key = (account, request.request_id)
        self._ended.refuse_repeat(*key)
        with self._waiting.place(key) as event:
            wait = request.wait_seconds if event is not None else 0.0
            outcome = self._store.write(lambda tx: self._ask(tx, wanted, request.queue or wait > 0, wait))
            if outcome.waiter is not None and event is not None and wait > 0:
                with WAITED.time():
                    outcome = self._wait(outcome.waiter, event, time.monotonic() + wait)
        if outcome.waiter is not None:
            outcome = self._leave(wanted) if not request.queue else self._look(wanted)
        if outcome.refused is not None:
            REFUSED.inc()
            raise outcome.refused
        return self._reply(outcome)

    def _ask(self, tx: Tx, wanted: WantedLock, join: bool, wait: float) -> AcquireOutcome:
        self._rules.demand(tx, wanted.paths, wanted.party.account)
        return self._rules.ask(tx, wanted, join=join, keep_until=self._clock.now() + wait + self._grace)

    def _wait(self, waiter: WaiterRow, event: threading.Event, deadline: float) -> AcquireOutcome:
        """Block until the lock is granted, the place is lost, or `deadline` (in monotonic seconds) passes."""
        while event.wait(max(0.0, deadline - time.monotonic())):
            event.clear()
            with self._store.read() as tx:
                outcome = self._outcome(tx, waiter.party.account, waiter.request_id)
            if outcome is None or outcome.lock is not None:
                return outcome or AcquireOutcome(waiter=waiter)
            if self._waiting.closed:
                break
        return AcquireOutcome(waiter=waiter)

    def _outcome(self, tx: Reader, account: str, request_id: str) -> AcquireOutcome | None:
        lock = locks.lock_by_request(tx, account, request_id)
        if lock is not None:
            return AcquireOutcome(lock=lock)
        waiter = waiters.waiter_by_request(tx, account, request_id)
        return None if waiter is None else AcquireOutcome(waiter=waiter)

    def _look(self, wanted: WantedLock) -> AcquireOutcome:
        with self._store.read() as tx:
            found = self._outcome(tx, wanted.party.account, wanted.request_id)
            return found or AcquireOutcome(refused=self._rules.refusal(tx, wanted))

    def _leave(self, wanted: WantedLock) -> AcquireOutcome:
        """Give up the place when the wait is over, unless the lock has just been granted."""

        def leave(tx: Tx) -> AcquireOutcome:
            found = self._outcome(tx, wanted.party.account, wanted.request_id)
            if found is not None and found.lock is not None:
                return found
            if found is not None and found.waiter is not None:
                self._rules.give_up(tx, found.waiter)
            return AcquireOutcome(refused=self._rules.refusal(tx, wanted))

        return self._store.write(leave)

    def _reply(self, outcome: AcquireOutcome) -> AcquireReply:
        if outcome.lock is not None:
            crash_point("directory.lock.granted")
            GRANTED.inc()
            return AcquireReply(lock=self._replies.lock_info(outcome.lock))
        assert outcome.waiter is not None
        REFUSED.inc()
        with self._store.read() as tx:
            place = waiters.count_wanting(tx, outcome.waiter.paths, outcome.waiter.seq) + 1
            held = {lock.number: lock for path in outcome.waiter.paths if (lock := locks.lock_on(tx, path))}
            return AcquireReply(
                waiter=self._replies.waiter_info(outcome.waiter, place),
                holders=[
                    self._replies.lock_info(lock, waiters.count_wanting(tx, lock.paths)) for lock in held.values()
                ],
            )

    # ------------------------------------------------------------ renew, release, break

    def renew(self, account: str, lock_id: str, lease_seconds: float | None = None) -> LockInfo:
        """Restart the lease of the account's own lock from now.

        Raises LockStale when the lock has ended, Forbidden when the account may no longer lock one of the paths: then
        the lock ends with its lease.
        """

        def renew(tx: Tx) -> LockInfo:
            lock = _find_lock(tx, account, lock_id)
            if lock is None:
                raise self._replies.ended(account, lock_id)
            _only_owner(lock, account, "renew")
            self._rules.demand(tx, lock.paths, account)
            lease = lock.lease_seconds if lease_seconds is None else lease_seconds
            renewed = replace(lock, lease_seconds=lease, until=self._clock.now() + lease)
            locks.set_lease(tx, renewed)
            crash_point("directory.lock.renewed")
            return self._replies.lock_info(renewed, waiters.count_wanting(tx, lock.paths))

        return self._store.write(renew)

    def release(self, account: str, lock_id: str) -> None:
        """Release a lock, or give up a place in the queue.

        `lock_id` is a lock's id or number, a waiter's id, or the request id of either. Safe to repeat while the
        directory remembers the lock. Raises Forbidden for another account's lock, NotFound for an unknown id.
        """

        def release(tx: Tx) -> None:
            lock = _find_lock(tx, account, lock_id)
            if lock is not None:
                _only_owner(lock, account, "release")
                self._rules.end(tx, lock)
                return
            waiter = waiters.waiter_by_request(tx, account, lock_id)
            if waiter is not None:
                self._rules.give_up(tx, waiter)
            elif not self._ended.has(account, lock_id):
                raise NotFound(f"there is no lock or place in line {lock_id!r}; it may have ended already")

        self._store.write(release)
        crash_point("directory.lock.released")

    def break_lock(self, lock_id: str, person: Person, reason: str = "") -> None:
        """Take a lock away from its holder, for an administrator or the owner of a bucket that it reaches into.

        Safe for the data: the former holder's next write is refused by number. That refusal says who broke the lock,
        and the reason, as the audit does. Raises NotFound when there is no such lock, Forbidden for anyone else.
        """

        def break_it(tx: Tx) -> LockRow:
            number = number_in(lock_id)
            lock = locks.lock_by_number(tx, number) if number else locks.lock_by_any_request(tx, lock_id)
            owners = [] if lock is None else [_owner(tx, path.bucket) for path in lock.paths]
            if lock is None or not (person.admin or person.tenant in map(tenant_of, owners)):
                raise NotFound(f"there is no lock {lock_id!r}; it may have ended already")
            if not any(person.administers(owner) or person.account == owner for owner in owners):
                raise Forbidden(
                    f"lock {lock.number} is held by {lock.party}; only an administrator or the owner of its bucket can "
                    "break it",
                    holder=lock.party.account,
                )
            tx.after_commit(lambda: self._ended.note_broken(lock, person.account, reason))
            self._rules.end(tx, lock)
            self._audit.write(tx, "lock broken", person.account, names_of(lock.paths), detail=_detail(lock, reason))
            return lock

        lock = self._store.write(break_it)
        crash_point("directory.lock.broken")
        log.warning("lock %d of %s was broken by %s", lock.number, lock.party, person.account)

    # ------------------------------------------------------------ listing

    def list(self, after: str = "", limit: int = MAX_LISTED_LOCKS) -> LocksReply:
        """List a page of the locks and then of the places in the queue, oldest first; see `lock_listing`."""
        self._expire_if_due()
        with self._store.read() as tx:
            return list_page(tx, self._replies, after, limit)

    def list_on(self, paths: Sequence[LockPath]) -> LocksReply:
        """List the locks on these paths, oldest first."""
        self._expire_if_due()
        with self._store.read() as tx:
            return locks_on(tx, self._replies, paths)

    def may_lock(self, account: str, paths: Iterable[LockPath]) -> set[LockPath]:
        """Return those of `paths` that the account may lock."""
        with self._store.read() as tx:
            return {path for path in paths if self._rules.refused(tx, [path], account) is None}

    # ------------------------------------------------------------ inside the caller's transaction

    def lock_on(self, tx: Reader, bucket: str, path: str) -> PathLock | None:
        """The current lock on the path; None when there is none, or its lease has expired."""
        lock = locks.lock_on(tx, LockPath(bucket, path))
        if lock is None or lock.until <= self._clock.now():
            return None
        return PathLock(lock.number, lock.party.account, self._replies.lock_info(lock).until_at)

    def check_write(self, tx: Reader, bucket: str, path: str, account: str, lock_number: int | None) -> int:
        """The number of the lock that covers this write, or 0. Raises Locked or LockStale; see LockRules."""
        return self._rules.check_write(tx, LockPath(bucket, path), account, lock_number)

    def fence(self, tx: Reader, bucket: str, path: str) -> int:
        """The highest lock number ever granted on the path (0: never locked), at least `fence_floor`."""
        return max(locks.fence(tx, LockPath(bucket, path)), self.fence_floor)

    def lease_end(self, tx: Reader, lock_number: int) -> float:
        """Directory time at which the lock's lease ends; 0 when there is no such lock."""
        lock = locks.lock_by_number(tx, lock_number)
        return 0.0 if lock is None else lock.until

    def release_in(self, tx: Tx, account: str, lock_number: int) -> None:
        """Release the whole lock, if it has not ended; waiters wake after the commit."""
        lock = locks.lock_by_number(tx, lock_number)
        if lock is not None and lock.party.account == account:
            self._rules.end(tx, lock)

    def end_bucket(self, tx: Tx, bucket: str) -> None:
        """End every lock and every place in line in a bucket that is being deleted.

        A later bucket of the same name must not inherit them. Fences stay: file servers remember them by path.
        """
        self._rules.end_bucket(tx, bucket)

    def end_account(self, tx: Tx, account: str) -> None:
        """End every lock and every place in line of an account that is being deleted: a later one of the same name
        must not inherit them."""
        self._rules.end_account(tx, account)

    def counts(self, tx: Reader) -> tuple[int, int]:
        """The number of locks, and of waiters."""
        return locks.count_locks(tx), waiters.count_waiters(tx)

    # ------------------------------------------------------------ expiry

    def step(self) -> float:
        """Expire locks and places, as a BackgroundJob; returns the seconds until the next round, at most one.

        It also saves directory time when nothing else is written.
        """
        self._expire_if_due()
        due = self._next_due()
        return IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(0.0, due - self._clock.now()))

    def _next_due(self) -> float | None:
        """None while nothing may be granted: leases then do not end, and asking at once again would never stop."""
        if not self._grants():
            return None
        with self._store.read() as tx:
            return locks.next_due(tx)

    def _expire_if_due(self) -> None:
        due = self._next_due()
        if (due is not None and due <= self._clock.now()) or self._clock.must_be_saved():
            self._store.write(lambda tx: None)  # every transaction begins with expiry and ends with saving the time


def _wanted(account: str, session: str, client: str, request: AcquireRequest) -> WantedLock:
    paths = {(path.bucket, path.path): path for path in request.paths}
    ordered = tuple(paths[key] for key in sorted(paths))
    return WantedLock(request.request_id, ordered, Party(account, client, session), request.lease_seconds)


def _detail(lock: LockRow, reason: str) -> str:
    return f"lock {lock.number} of {lock.party.account}" + (f": {reason}" if reason else "")


def _find_lock(tx: Reader, account: str, lock_id: str) -> LockRow | None:
    """Find a lock by its id or number, or the account's by its request. Another tenant's seems not to be there."""
    number = number_in(lock_id)
    found = locks.lock_by_number(tx, number) if number else locks.lock_by_request(tx, account, lock_id)
    return found if found is None or tenant_of(found.party.account) == tenant_of(account) else None


def _owner(tx: Reader, bucket: str) -> str:
    found = buckets.find(tx, bucket)
    return found.owner if found is not None else ""


def _only_owner(lock: LockRow, account: str, verb: str) -> None:
    if lock.party.account != account:
        raise Forbidden(
            f"lock {lock.number} is held by {lock.party}; only {lock.party.account} can {verb} it "
            "(an administrator or the bucket's owner can break it)",
            holder=lock.party.account,
        )
