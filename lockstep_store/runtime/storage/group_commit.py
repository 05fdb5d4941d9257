"""Group commit: concurrent writers share one transaction, and so one fsync.

The directory's metadata and a file server's chunk index are both limited by the disk's flush, not by their statements.
One thread writes; the work that arrives during a commit's flush goes into the next commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from lockstep_store.wire.errors import Overloaded, Unavailable

MAX_WAITING = 10_000


class SupportsSavepoint(Protocol):
    """What group commit needs from a transaction."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo the work done inside the block, and only that, when the block raises."""
        ...


Tx = TypeVar("Tx", bound=SupportsSavepoint)
R = TypeVar("R")


class _Work(Generic[Tx]):
    __slots__ = ("call", "done", "error", "result")

    def __init__(self, call: Callable[[Tx], Any]) -> None:
        self.call = call
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit(Generic[Tx]):
    """Runs many callers' work in shared transactions on one writer thread.

    `open_transaction` returns a context manager: entering begins a transaction, leaving commits it durably, and leaving
    by an exception rolls it back. A caller gets its result only after the commit has returned; if the commit fails,
    everyone in it gets that failure, whatever the result of their own work.
    """

    def __init__(
        self,
        open_transaction: Callable[[], AbstractContextManager[Tx]],
        max_batch: int = 256,
        name: str = "group-commit",
    ) -> None:
        self._open = open_transaction
        self._max_batch = max_batch
        self._queue: deque[_Work[Tx]] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Tx], R]) -> R:
        """Run `work(tx)` in the next transaction, and return its durable result or raise its exception.

        `work` runs on the writer thread before the commit. Changes that it makes outside the transaction are not undone
        when the commit fails, so do anything else (waking waiters, counting) after `submit` has returned.
        """
        item: _Work[Tx] = _Work(work)
        with self._condition:
            if self._closed:
                raise Unavailable("the program is stopping: retry in a moment")
            if len(self._queue) >= MAX_WAITING:
                raise Overloaded("too many writes are waiting for the disk: retry shortly")
            self._queue.append(item)
            self._condition.notify()
        item.done.acquire()
        if item.error is not None:
            raise item.error
        return item.result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Finish all submitted work, then end the writer thread. Safe to repeat."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._closed:
                    self._condition.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
            self._commit(batch)

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
        finally:
            for item in batch:
                item.done.release()
