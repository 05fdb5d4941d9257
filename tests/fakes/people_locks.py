"""Locks of the cluster in memory, with a queue and numbers that rise."""

from __future__ import annotations

import time

from lockstep_store.wire.errors import (
    Forbidden,
    Locked,
    LockStale,
)
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from tests.fakes.people_accounts import ADMIN, AccountsCore


class LocksCore(AccountsCore):
    """Grants, queues and checks locks."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: dict[str, lm.LockInfo] = {}
        self.queue: list[lm.WaiterInfo] = []
        self.last_number = 0
        self.broken: list[lm.ReleaseRequest] = []

    def take_lock(self, path: str, account: str = "bob", seconds: float = 60.0) -> lm.LockInfo:
        """Lock a path for another person."""
        with self._guard:
            return self._grant([lm.LockPath("files", path)], account, "test", f"by-{account}-{path}", seconds)

    def drop_lock(self, lock_id: str) -> None:
        """End a lock, as the end of its lease does."""
        with self._guard:
            self.locks.pop(lock_id, None)
            self._guard.notify_all()

    def _locks_acquire(self, request: lm.AcquireRequest) -> lm.AcquireReply:
        until = time.monotonic() + request.wait_seconds
        with self._guard:
            account = self._who(request.credential, "acquire")
            while True:
                mine = next((lock for lock in self.locks.values() if lock.id == f"lock-{request.request_id}"), None)
                holders = [lock for lock in self.locks.values() if set(lock.paths) & set(request.paths)]
                before = self._before_me(request)
                if mine is not None or (not holders and not before):
                    self.queue = [waiter for waiter in self.queue if waiter.id != request.request_id]
                    lock = mine or self._grant(
                        request.paths, account, request.client, request.request_id, request.lease_seconds
                    )
                    return lm.AcquireReply(lock=lock)
                if request.queue and not any(waiter.id == request.request_id for waiter in self.queue):
                    self.queue.append(
                        lm.WaiterInfo(request.request_id, request.paths, account, request.client, 0, time.time())
                    )
                left = until - time.monotonic()
                if left <= 0:
                    return self._still_waiting(request, holders)
                self._guard.wait(left)

    def _still_waiting(self, request: lm.AcquireRequest, holders: list[lm.LockInfo]) -> lm.AcquireReply:
        if not request.queue:
            first = holders[0]
            raise Locked(f"{first.account} holds the lock on {first.paths[0].path}", holder=first.account)
        for place, waiter in enumerate(self.queue, start=1):
            waiter.place = place
        mine = next(waiter for waiter in self.queue if waiter.id == request.request_id)
        return lm.AcquireReply(waiter=mine, holders=[self._with_time_left(lock) for lock in holders])

    def _locks_renew(self, request: lm.RenewRequest) -> lm.LockInfo:
        with self._guard:
            self._who(request.credential, "renew")
            lock = self.locks.get(request.lock_id)
            if lock is None:
                raise LockStale("this lock is over")
            lock.until_at = time.time() + (request.lease_seconds or lock.lease_seconds)
            return self._with_time_left(lock)

    def _locks_release(self, request: lm.ReleaseRequest) -> Nothing:
        with self._guard:
            account = self._who(request.credential, "release")
            self.queue = [waiter for waiter in self.queue if waiter.id != request.lock_id]
            lock = self.locks.get(request.lock_id) or self.locks.get(f"lock-{request.lock_id}")
            if lock is not None and lock.account != account and not (request.break_lock and account == ADMIN):
                raise Forbidden(f"the lock belongs to {lock.account}: only an administrator or the owner can break it")

            if lock is not None:
                del self.locks[lock.id]
                self.broken += [request] if request.break_lock else []
            self._guard.notify_all()
            return Nothing()

    def _locks(self, request: CredentialRequest) -> lm.LocksReply:
        with self._guard:
            self._who(request.credential, "locks")
            for place, waiter in enumerate(self.queue, start=1):
                waiter.place = place
            return lm.LocksReply([self._with_time_left(lock) for lock in self.locks.values()], list(self.queue))

    def _locks_changes(self, request: lm.LockChangesRequest) -> lm.LockChangesReply:
        until = time.monotonic() + request.wait_seconds
        with self._guard:
            while (found := hash((*self.locks, *(one.id for one in self.queue)))) == request.seen:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._guard.wait(min(left, 0.05))
            return lm.LockChangesReply(found)

    def _check_lock(self, account: str, bucket: str, path: str, number: int | None) -> None:
        with self._guard:
            held = next((lock for lock in self.locks.values() if lm.LockPath(bucket, path) in lock.paths), None)
            if number is not None and (held is None or held.number != number):
                raise LockStale(f"lock number {number} is not the lock of {path} any more")
            if number is None and held is not None:
                raise Locked(f"{path} is locked by {held.account}", holder=held.account)

    def _grant(self, paths: list[lm.LockPath], account: str, client: str, id: str, lease: float) -> lm.LockInfo:
        self.last_number += 1
        now = time.time()
        lock = lm.LockInfo(f"lock-{id}", self.last_number, paths, account, client, now, now + lease, lease, lease)
        self.locks[lock.id] = lock
        return lock

    def _with_time_left(self, lock: lm.LockInfo) -> lm.LockInfo:
        lock.seconds_left = max(0.0, lock.until_at - time.time())
        lock.waiters = sum(1 for waiter in self.queue if set(waiter.paths) & set(lock.paths))
        return lock

    def _before_me(self, request: lm.AcquireRequest) -> bool:
        for waiter in self.queue:
            if waiter.id == request.request_id:
                return False
            if set(waiter.paths) & set(request.paths):
                return True
        return False
