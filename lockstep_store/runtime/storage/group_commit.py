"""Group commit: concurrent writers share one transaction, and so one fsync.

The directory's metadata and a file server's chunk index are both limited by the disk's flush, not by their statements.
One caller at a time commits, for all; the work that arrives during its flush goes into the next commit, which the first
of those callers makes. A writing thread of its own would cost every lone write two switches between threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, Protocol, TypeVar

from lockstep_store.runtime.storage.savepoints import Savepoints
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError, Overloaded, Unavailable

MAX_WAITING = 10_000


class SupportsSavepoint(Protocol):
    """What group commit needs from a transaction."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo the work done inside the block, and only that, when the block raises."""
        ...


class SharedTransaction:
    """A transaction of several callers, each of whose savepoints can be undone alone.

    `noted` collects what is judged at the end of the savepoint in which it happened.
    """

    def __init__(self, savepoints: Savepoints, noted: list[Any]) -> None:
        self._savepoints = savepoints
        self._noted = noted
        noted.clear()  # of a transaction that failed
        self.failure: LockstepError | None = None
        """What made the whole transaction fail."""
        self.when_durable: list[Callable[[], None]] = []

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call `call` once the commit is durable, unless the savepoint around this is undone."""
        self.when_durable.append(call)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did, and only that, if it raises or `judge` does. May be nested."""
        registered, noted = len(self.when_durable), len(self._noted)
        self._savepoints.begin()
        try:
            yield
            if len(self._noted) > noted:
                of_this = self._noted[noted:]
                del self._noted[noted:]
                self.judge(of_this)
        except BaseException:
            del self.when_durable[registered:], self._noted[noted:]
            if self.failure is None:
                self._savepoints.undo()
            else:
                self._savepoints.forget()
            raise
        else:
            self._savepoints.keep()

    def judge(self, noted: list[Any]) -> None:
        """Raise if a savepoint in which this was noted must not be kept."""


def call_when_durable(calls: list[Callable[[], None]]) -> None:
    """Call what was registered with `after_commit`. Never raises: the commit is done, whatever becomes of the calls."""
    for call in calls:
        try:
            call()
        except Exception:  # noqa: BLE001 - see above
            log.exception("the commit is done, but a call that was to follow it failed")


Tx = TypeVar("Tx", bound=SupportsSavepoint)
R = TypeVar("R")


class _Work(Generic[Tx]):
    __slots__ = ("call", "commits", "error", "result", "woken")

    def __init__(self, call: Callable[[Tx], Any]) -> None:
        self.call = call
        self.result: Any = None
        self.error: BaseException | None = None
        self.commits = False
        """Whether its caller was woken to make the next commit, and not by the end of one."""
        self.woken = threading.Lock()
        self.woken.acquire()


class GroupCommit(Generic[Tx]):
    """Runs many callers' work in shared transactions, one transaction at a time.

    `open_transaction` returns a context manager: entering begins a transaction, leaving commits it durably, and leaving
    by an exception rolls it back. A caller gets its result only after the commit has returned; if the commit fails,
    everyone in it gets that failure, whatever the result of their own work.
    """

    def __init__(self, open_transaction: Callable[[], AbstractContextManager[Tx]], max_batch: int = 256) -> None:
        self._open = open_transaction
        self._max_batch = max_batch
        self._queue: deque[_Work[Tx]] = deque()
        self._changed = threading.Condition()
        self._committing = False
        self._closed = False

    def submit(self, work: Callable[[Tx], R]) -> R:
        """Run `work(tx)` in the next transaction, and return its durable result or raise its exception.

        `work` runs before the commit, on this thread or another caller's. Changes that it makes outside the transaction
        are not undone when the commit fails, so do anything else (waking waiters, counting) after `submit` has
        returned. It must not submit.
        """
        item: _Work[Tx] = _Work(work)
        with self._changed:
            if self._closed:
                raise Unavailable("the program is stopping: retry in a moment")
            if len(self._queue) >= MAX_WAITING:
                raise Overloaded("too many writes are waiting for the disk: retry shortly")
            self._queue.append(item)
            commits, self._committing = not self._committing, True
        if not commits:
            item.woken.acquire()
            commits = item.commits
        if commits:
            self._commit_next()
        if item.error is not None:
            raise item.error
        return item.result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Wait until all submitted work is finished, and refuse more. Safe to repeat."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._committing)

    def _commit_next(self) -> None:
        """Commit what waits, and wake the first caller of what came meanwhile to do the same."""
        with self._changed:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
        try:
            self._commit(batch)
        finally:
            with self._changed:
                self._committing = bool(self._queue)
                if self._queue:
                    self._queue[0].commits = True
                    self._queue[0].woken.release()
                else:
                    self._changed.notify_all()
            for item in batch:
                item.woken.release()

    def _commit(self, batch: list[_Work[Tx]]) -> None:
        try:
            with self._open() as tx:
                for item in batch:
                    item.result = item.error = None
                    try:
                        with tx.savepoint():
                            item.result = item.call(tx)
                    except Exception as error:  # noqa: BLE001 - one caller's error, raised to that caller alone
                        item.error = error
        except BaseException as error:  # noqa: BLE001 - the commit failed, so no work in it is durable
            for item in batch:
                item.result, item.error = None, error
