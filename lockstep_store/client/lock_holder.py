"""Holds a lock: waits in line, renews the lease, notices its loss, releases it.

A holder must stop trusting its lease before the directory ends it, or two holders could trust theirs at once. So the
lease is counted from before the request was sent, less a margin for clocks of different speed. A mistake here is not
dangerous: the directory checks the lock number of every write.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.wire.errors import Locked, LockStale, LockstepError, Unavailable
from lockstep_store.wire.messages.locks import DEFAULT_LEASE_SECONDS, MAX_WAIT_SECONDS, AcquireReply, LockInfo, LockPath

DRIFT = 0.02  # of the lease: two monotonic clocks never differ by as much
POLL_SECONDS = 10.0
QUICK_ANSWER_PAUSE_SECONDS = 1.0
UNAVAILABLE_SECONDS = 30.0


class LockRequests(Protocol):
    """The calls of a lock holder."""

    def acquire(
        self,
        paths: list[LockPath],
        *,
        request_id: str,
        wait_seconds: float = 0.0,
        lease_seconds: float = 60.0,
        queue: bool = False,
        client: str = "",
    ) -> AcquireReply: ...

    def renew(self, lock_id: str, lease_seconds: float) -> LockInfo: ...

    def release(self, lock_id: str, *, break_lock: bool = False) -> None: ...


@dataclass(frozen=True)
class Waiting:
    """A place in line: `place` 1 is next; `holders` are the locks in the way."""

    place: int
    holders: tuple[LockInfo, ...]
    waited_seconds: float


class GivenUp(Locked):
    """The lock was not granted within the caller's patience."""

    code, title = "given_up", "Waiting given up"


def agent_name(program: str = "", process: int | None = None) -> str:
    """The name that others see for a holder or waiter: person, machine and process (this one, if none is given)."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        person = str(os.getuid())
    shown = f"{program} of {person}" if program else person
    return f"{shown}@{socket.gethostname()}:{os.getpid() if process is None else process}"[:256]


class LockHolder:
    """A lock on one or more paths, from request to release. A context manager that always releases it."""

    def __init__(
        self,
        calls: LockRequests,
        paths: list[LockPath],
        *,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        client: str = "",
        clock: Clock | None = None,
        on_wait: Callable[[Waiting], None] = lambda waiting: None,
        on_lost: Callable[[str], None] = lambda reason: None,
        renewing: bool = True,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`on_wait` is called after every reply without the lock; `on_lost` once, from the renewing thread."""
        self._calls = calls
        self._paths = paths
        self._lease_seconds = lease_seconds
        self._client = client
        self._clock = clock or SystemClock()
        self._on_wait = on_wait
        self._on_lost = on_lost
        self._renewing = renewing
        self._pause = pause
        self._guard = threading.Lock()
        self._lock: LockInfo | None = None
        self._trusted_until = 0.0
        self._renew_at = 0.0
        self._lost = ""
        self._job: BackgroundJob | None = None

    def acquire(
        self,
        *,
        patience_seconds: float | None = None,
        poll_seconds: float = POLL_SECONDS,
        give_up: Callable[[], bool] = lambda: False,
    ) -> LockInfo:
        """Take the lock, waiting in line for at most `patience_seconds` (None: no limit).

        `give_up` is called after every poll. Raises GivenUp if it returns true or the patience ends, Deadlock if
        waiting would close a cycle. The place in line is always given back.
        """
        request_id = secrets.token_hex(16)
        started = heard_at = self._clock.monotonic()
        longest = 0.0  # the first question is answered at once, so that a person sees at once why it takes time
        try:
            while True:
                now = self._clock.monotonic()
                left = math.inf if patience_seconds is None else max(0.0, started + patience_seconds - now)
                wait = min(longest, left)
                try:
                    reply = self._ask(request_id, wait)
                except Unavailable:
                    # The place in line is on the directory's disk: it outlasts a restart, and so do we.
                    if self._clock.monotonic() - heard_at >= min(UNAVAILABLE_SECONDS, left) or give_up():
                        raise
                    self._pause(QUICK_ANSWER_PAUSE_SECONDS)
                    continue
                longest = min(poll_seconds, MAX_WAIT_SECONDS)
                heard_at = self._clock.monotonic()
                if reply.lock is not None:
                    self._granted(reply.lock, now)
                    return reply.lock
                waited = heard_at - started
                waiting = Waiting(reply.waiter.place if reply.waiter else 0, tuple(reply.holders), waited)
                self._on_wait(waiting)
                if give_up():
                    raise GivenUp(f"gave up waiting after {waited:.0f} s: nothing was changed")
                if patience_seconds is not None and waited >= patience_seconds:
                    raise GivenUp(still_held(waiting))
                if heard_at - now < wait / 2:
                    # A proxy with too many waiters replies at once; asking again without a pause would add to its load.
                    self._pause(min(QUICK_ANSWER_PAUSE_SECONDS, left))
        except BaseException:
            # Also for Ctrl-C during a poll, when the place, or even the lock, may be ours without our knowing.
            with contextlib.suppress(LockstepError):
                self._calls.release(request_id)
            raise

    @property
    def lock(self) -> LockInfo:
        """The lock as the cluster last reported it. LockStale before it was taken."""
        if self._lock is None:
            raise LockStale("the lock has not been taken")
        return self._lock

    @property
    def number(self) -> int:
        """The lock number for writes."""
        return self.lock.number

    def trusted_seconds(self) -> float:
        """Return for how many more seconds the lock can be trusted; 0 if it cannot."""
        with self._guard:
            if self._lock is None or self._lost:
                return 0.0
            return max(0.0, self._trusted_until - self._clock.monotonic())

    def check(self) -> None:
        """Raise LockStale, with the reason, if the lock can no longer be trusted."""
        if self.trusted_seconds() > 0:
            return
        raise LockStale(self._lost or "the lock's lease has ended: take the lock again")

    def step(self) -> float:
        """Renew when it is due; return the seconds until the next step."""
        now = self._clock.monotonic()
        with self._guard:
            lock, due = self._lock, self._renew_at
        if lock is None or self._lost:
            return self._lease_seconds
        if now < due:
            return due - now
        try:
            renewed = self._calls.renew(lock.id, self._lease_seconds)
        except Unavailable as error:
            if self._clock.monotonic() >= self._trusted_until:
                self._lose(f"the lock could not be renewed before its lease ended ({error})")
                return self._lease_seconds
            return min(2.0, self._lease_seconds / 10)
        except LockstepError as error:
            self._lose(f"the lock was lost: {error}")
            return self._lease_seconds
        self._granted(renewed, now, start=False)
        return max(0.05, self._renew_at - self._clock.monotonic())

    def released(self) -> None:
        """Record that a commit has already released the lock."""
        self._stop()
        with self._guard:
            self._lock = None

    def release(self) -> None:
        """Release the lock. Safe to repeat. If the cluster does not answer, the lock ends with its lease."""
        self._stop()
        with self._guard:
            lock, self._lock = self._lock, None
        if lock is not None and not self._lost:
            with contextlib.suppress(LockstepError):
                self._calls.release(lock.id)

    def __enter__(self) -> LockHolder:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.release()

    def _ask(self, request_id: str, wait_seconds: float) -> AcquireReply:
        return self._calls.acquire(
            self._paths,
            request_id=request_id,
            wait_seconds=wait_seconds,
            lease_seconds=self._lease_seconds,
            queue=True,
            client=self._client,
        )

    def _granted(self, lock: LockInfo, asked_at: float, *, start: bool = True) -> None:
        lease = min(lock.seconds_left, self._lease_seconds) if lock.seconds_left > 0 else self._lease_seconds
        with self._guard:
            if not start and self._lock is None:
                return  # released while the renewal was on its way
            self._lock = lock
            self._trusted_until = asked_at + lease * (1 - DRIFT)
            self._renew_at = asked_at + lease / 3
        if start and self._renewing:
            self._job = BackgroundJob(f"renew lock {lock.number}", self.step).start()

    def _lose(self, reason: str) -> None:
        with self._guard:
            if self._lost:
                return
            self._lost = reason
        self._on_lost(reason)

    def _stop(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.stop(timeout=1.0)


def still_held(waiting: Waiting) -> str:
    """Why the lock was not granted: who has it."""
    if not waiting.holders:
        return "others are ahead of you in line: wait longer, or try again"
    first, waited = waiting.holders[0], waiting.waited_seconds
    tried = f" (waited {waited:.0f} s)" if waited >= 1 else ""
    return f"{first.account} holds the lock, for {first.seconds_left:.0f} s more unless it is renewed{tried}"
