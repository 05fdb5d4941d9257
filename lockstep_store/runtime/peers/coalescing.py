"""Request coalescing: concurrent requests to one server share a round trip.

While a batch is in flight, further requests gather; when it returns they leave together. A request never joins a
batch that was already sent, so no reply is older than its request. Callers rely on that ("the lookup began after my
read did"); coalescing only saves the cost of many small calls.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lockstep_store.wire.errors import Overloaded

T = TypeVar("T")
R = TypeVar("R")

MAX_WAITING = 10_000
WORTH_A_CALL = 4
"""With patience, fewer items do not leave while several others are under way."""


class _Submission(Generic[T, R]):
    __slots__ = ("done", "error", "item", "leads", "result")

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | None = None
        self.error: BaseException | None = None
        self.leads = False
        # A plain lock is the cheapest one-shot event in CPython: half the cost of threading.Event.
        self.done = threading.Lock()
        self.done.acquire()


class Coalescer(Generic[T, R]):
    """Combines concurrent `submit`s into calls of `send`, at most `max_in_flight` at once.

    `send` takes a list of at most `max_batch` items and returns one result for each, in order. A result that is an
    exception is raised to its submitter; an exception that `send` raises is raised to everyone in the batch.

    With `patience`, while several items are under way another call leaves only once as many wait, and at least
    WORTH_A_CALL: so calls do not become ever smaller. But a submission that has waited for `patience` seconds leaves in
    any case, even beyond `max_in_flight`, with the others that wait: a call that hangs holds up nobody for longer.

    There is no thread behind it: one submitter leads, sends its batch, and then makes the first one waiting the next
    leader. No leader works for others once it has its own reply.
    """

    def __init__(
        self,
        send: Callable[[list[T]], Sequence[R | Exception]],
        max_batch: int = 256,
        max_in_flight: int = 1,
        patience: float | None = None,
    ) -> None:
        self._send = send
        self._patience = patience
        self._max_batch = max_batch
        self._free_slots = max_in_flight
        self._under_way = 0
        self._waiting: deque[_Submission[T, R]] = deque()
        self._guard = threading.Lock()

    def submit(self, item: T) -> R:
        """The result for `item`; blocks for at most two round trips of `send` while the server keeps up."""
        own: _Submission[T, R] = _Submission(item)
        with self._guard:
            if self._may_leave(1):
                self._free_slots -= 1
                own.leads = True
            elif len(self._waiting) < MAX_WAITING:
                self._waiting.append(own)
            else:
                raise Overloaded("too many requests are waiting for the same server: try again shortly")
        if not own.leads and not own.done.acquire(timeout=-1 if self._patience is None else self._patience):
            self._stop_waiting(own)
        if own.leads:
            self._lead(own)
        if own.error is not None:
            raise own.error
        return own.result  # type: ignore[return-value]

    def _may_leave(self, arriving: int = 0) -> bool:
        """Whether the waiting items, with those `arriving`, may leave now. Call with the guard held."""
        if self._free_slots <= 0:
            return False
        if self._patience is None or self._under_way < 2:
            return True
        return len(self._waiting) + arriving >= max(self._under_way, WORTH_A_CALL)

    def _stop_waiting(self, own: _Submission[T, R]) -> None:
        """Let a submission lead now, unless it has left meanwhile."""
        with self._guard:
            if own in self._waiting:
                self._waiting.remove(own)
                self._free_slots -= 1
                own.leads = True
        if not own.leads:
            own.done.acquire()

    def _lead(self, own: _Submission[T, R]) -> None:
        with self._guard:
            room = min(len(self._waiting), self._max_batch - 1)
            batch = [own, *(self._waiting.popleft() for _ in range(room))]
            self._under_way += len(batch)
        try:
            self._send_batch(batch)
        finally:
            with self._guard:
                self._under_way -= len(batch)
                self._free_slots += 1
                successor = self._waiting.popleft() if self._waiting and self._may_leave() else None
                if successor is not None:
                    self._free_slots -= 1
            for submission in batch[1:]:
                submission.done.release()
            if successor is not None:
                successor.leads = True
                successor.done.release()

    def _send_batch(self, batch: list[_Submission[T, R]]) -> None:
        try:
            results = self._send([submission.item for submission in batch])
            for submission, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    submission.error = result
                else:
                    submission.result = result
        except BaseException as error:  # noqa: BLE001 - a submitter that does not get it would wait forever
            for submission in batch:
                submission.error = error
