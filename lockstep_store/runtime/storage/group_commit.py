"""Group commit: concurrent writers share one transaction, and so one fsync.

Both engines (the directory's metadata and a file server's chunk index) are bound by the disk's flush, not by the
statements. One thread owns the writing; whatever work gathers while a commit is flushing goes into the next one.
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
    """What group commit needs of a transaction."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Undoes the work done inside it, and only that, when the block raises."""
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

    `open_transaction` gives a context manager: entering begins a transaction, leaving normally commits it durably,
    leaving by an exception rolls it back. A caller gets its result only after that commit has returned; if the commit
    fails, everyone in it gets the failure, whatever their own work had said.
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
        """Run `work(tx)` in the next transaction; its result, durable on return, or its exception, undone.

        `work` runs on the writer thread, before the commit: what it changes outside the transaction is not undone
        when the commit fails, so anything else (waking waiters, counting) belongs after `submit` has returned.
        """
        item: _Work[Tx] = _Work(work)
        with self._condition:
            if self._closed:
                raise Unavailable("the store is closing; try again in a moment")
            if len(self._queue) >= MAX_WAITING:
                raise Overloaded("too many writes are waiting for the disk; try again shortly")
            self._queue.append(item)
            self._condition.notify()
        item.done.acquire()
        if item.error is not None:
            raise item.error
        return item.result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Finish what was submitted, then end the writer thread. Safe to repeat."""
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
                    except Exception as error:  # noqa: BLE001 - one caller's refusal, delivered to that caller alone
                        item.error = error
        except BaseException as error:  # noqa: BLE001 - the commit failed: nobody's work is durable
            for item in batch:
                item.result, item.error = None, error
        finally:
            for item in batch:
                item.done.release()
