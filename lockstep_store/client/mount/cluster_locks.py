"""Takes the cluster's locks of files that programs of this machine write or lock, and releases them.

All programs of this machine that need a file share its lock. While it is somebody else's, one request waits in line for
all of them, and the file's guard is free meanwhile: others may look at the file, and close it.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.lock_holder import GivenUp, LockHolder, agent_name, still_held
from lockstep_store.client.mount.errnos import refusal
from lockstep_store.client.mount.timed_calls import TimedCalls
from lockstep_store.client.mount.working_file import SharedRequest, WorkingFile
from lockstep_store.wire.errors import Locked
from lockstep_store.wire.messages.locks import LockPath

log = logging.getLogger("lockstep.mount")

POLL_SECONDS = 1.0
"""By how much a place in line can outlast the last program that waits."""
LOOK_SECONDS = 0.05
"""How often a waiting program is asked whether it got a signal."""


class ClusterLocks:
    """The locks of one bucket's files, in one person's name."""

    def __init__(
        self,
        api: ApiCalls,
        bucket: str,
        calls: TimedCalls,
        *,
        process: Callable[[], int] = os.getpid,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Of the program for which a thread works: `process` tells its number, `is_interrupted` if it got a signal."""
        self._api = api
        self._bucket = bucket
        self._calls = calls
        self._process = process
        self._is_interrupted = is_interrupted

    def take(self, file: WorkingFile, patience_seconds: float | None) -> bool:
        """Have the file's lock; whether it was not held before. The caller holds `file.guard`, which is free meanwhile.

        `patience_seconds`: how long to wait for somebody else; None is until the program gets a signal (EINTR).
        Raises Locked, naming the holder, and Deadlock if waiting would close a cycle of programs.
        """
        if file.lock is not None:
            return False
        until = math.inf if patience_seconds is None else time.monotonic() + patience_seconds
        is_patient = patience_seconds != 0
        file.asking += 1
        file.patient += is_patient
        ending = file.request if not file.patient else None  # its programs have gone: what it knows may be over
        try:
            while file.lock is None:
                if file.request is None:
                    file.request = self._ask(file)
                request, left = file.request, until - time.monotonic()
                if request.future.done():
                    file.request = None
                    try:
                        file.lock, request.is_taken = self._calls.wait(request.future), True
                        return True
                    except GivenUp:
                        if left > 0 or request is ending:
                            continue
                        assert request.in_the_way is not None
                        raise Locked(still_held(request.in_the_way)) from None
                # Alone and without patience, wait for the end of the request: a place in line would be in the way.
                if left <= 0 and request.in_the_way is not None and file.patient:
                    raise Locked(still_held(request.in_the_way))
                if patience_seconds is None and self._is_interrupted():
                    raise refusal(errno.EINTR)
                self._calls.give_up_after(-left)
                file.news.wait(LOOK_SECONDS)
            return False
        finally:
            file.asking -= 1
            file.patient -= is_patient

    def release(self, file: WorkingFile) -> None:
        """Release the file's lock, if it is held."""
        holder, file.lock = file.lock, None
        if holder is not None:
            self._calls.save(holder.release)

    def _ask(self, file: WorkingFile) -> SharedRequest:
        """Wait in line for the file's lock as long as a program here does."""
        request = SharedRequest()
        holder = LockHolder(
            self._api,
            [LockPath(self._bucket, file.key)],
            client=agent_name("mount", self._process()),
            on_wait=lambda waiting: request.note(file.news, waiting),
            on_lost=lambda reason: log.warning("the lock on %s was lost: %s", file.key, reason),
        )

        def acquire() -> LockHolder:
            holder.acquire(poll_seconds=POLL_SECONDS, give_up=lambda: not file.patient)
            return holder

        request.future = self._calls.wait_in_line(acquire)
        request.future.add_done_callback(lambda future: self._end(file, request, future))
        return request

    def _end(self, file: WorkingFile, request: SharedRequest, future: Future[LockHolder]) -> None:
        """Wake who waits; give back a lock that nobody wants any more."""
        with file.news:
            is_wanted = request.is_taken or file.asking > 0
            if not is_wanted and file.request is request:
                file.request = None
            file.news.notify_all()
        if not is_wanted and not future.cancelled() and future.exception() is None:
            future.result().release()
