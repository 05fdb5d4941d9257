"""Gives programs the locks of flock(2) and fcntl(2).

Among programs of this machine they have exactly the ranges and kinds that were asked for. While any program here holds
one on a file, this machine has the file's lock in the cluster, which is exclusive. So for other machines each of them,
also a shared one, is a lock on the whole file.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from lockstep_store.client.mount.cluster_locks import LOOK_SECONDS
from lockstep_store.client.mount.errnos import refusal
from lockstep_store.client.mount.range_locks import END, RangeLock, RangeLocks
from lockstep_store.client.mount.working_file import OpenedFile, WorkingFile
from lockstep_store.client.mount.workspace import Workspace
from lockstep_store.wire.errors import Deadlock, Locked, LockstepError, NotFound

MAX_WAITING = 48
"""How many programs may wait at a time: each of them keeps one of the kernel's requests open."""


class ProgramLocks:
    """The locks of all programs of this machine. Waiting ends with a signal to the program (EINTR)."""

    def __init__(self, workspace: Workspace, is_interrupted: Callable[[], bool] = lambda: False) -> None:
        """`is_interrupted`: whether the program for which this thread works got a signal."""
        self._workspace = workspace
        self._is_interrupted = is_interrupted
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._blockers: dict[int, int] = {}
        """Whom an owner waits for."""

    def acquire(self, opened: OpenedFile, table: RangeLocks, wanted: RangeLock, *, waits: bool) -> None:
        """Take a lock, and have the file's current version. EAGAIN if others hold it and the program does not wait."""
        if waits and not self._places.acquire(blocking=False):
            raise refusal(errno.ENOLCK)
        file = opened.file
        try:
            with file.guard:
                self._take(file, table, wanted, waits)
                table.add(wanted)
                opened.turn = file.turn
                file.news.notify_all()  # an exclusive lock may have become a shared one
        except Locked:
            raise refusal(errno.EAGAIN) from None
        except Deadlock:
            raise refusal(errno.EDEADLK if waits else errno.EAGAIN) from None
        except NotFound:
            raise refusal(errno.ESTALE) from None
        finally:
            if waits:
                self._places.release()

    def release(self, file: WorkingFile, table: RangeLocks, owner: int, start: int = 0, end: int = END) -> None:
        """End what an owner holds. With this machine's last lock, what was written is saved, and others have a turn.

        If it cannot be saved, it stays here: the next lock, or the last close, tries again or keeps it aside.
        """
        with file.guard:
            if not table.remove(owner, start, end):
                return
            file.news.notify_all()
            try:
                self._workspace.settle(file)
            except LockstepError:
                self._workspace.give_up_lock(file)
                raise

    def forget(self, opened: OpenedFile, handle: int) -> None:
        """End the flock of an open file whose last descriptor is closed; closing it saves what was written."""
        with opened.file.guard:
            opened.file.flocks.remove(handle)
            opened.file.news.notify_all()

    def conflict(self, file: WorkingFile, wanted: RangeLock) -> RangeLock | None:
        """The lock that is in the way of an fcntl lock; of another machine it is on the whole file, of process 0."""
        with file.guard:
            found = file.fcntl_locks.conflict(wanted)
            if found is None and file.lock is None and not file.is_gone:
                try:
                    self._workspace.lock(file, 0.0)
                except Locked:
                    return RangeLock(0, 0, END, True)
                self._workspace.settle(file)
            return found

    def _take(self, file: WorkingFile, table: RangeLocks, wanted: RangeLock, waits: bool) -> None:
        while True:
            blocker = table.conflict(wanted)
            if blocker is not None:
                if not waits:
                    raise refusal(errno.EAGAIN)
                self._wait(file, wanted.owner, blocker.owner)
            elif file.is_gone:
                return  # no name of the cluster any more
            elif file.lock is not None:
                file.lock.check()
                return
            else:
                self._workspace.lock(file, None if waits else 0.0)  # others may go on meanwhile

    def _wait(self, file: WorkingFile, owner: int, blocker: int) -> None:
        at = blocker
        for _ in range(len(self._blockers)):
            at = self._blockers.get(at, at)
            if at == owner:
                raise refusal(errno.EDEADLK)
        if self._is_interrupted():
            raise refusal(errno.EINTR)
        self._blockers[owner] = blocker
        file.news.wait(LOOK_SECONDS)
        self._blockers.pop(owner, None)
