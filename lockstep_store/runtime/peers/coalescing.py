"""Merged calls: concurrent requests to one server share a round trip.

While a batch is under way, further requests gather; when it returns they leave together. An item only ever joins a
batch that has not been sent, so an answer is never older than its question: merging keeps what a caller relies on
("the lookup started after my read did") and only saves the cost of many small calls.
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


class _Ticket(Generic[T, R]):
    __slots__ = ("error", "item", "leads", "result", "woken")

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | None = None
        self.error: BaseException | None = None
        self.leads = False
        # A plain lock is the cheapest one-shot event in CPython: half the cost of threading.Event.
        self.woken = threading.Lock()
        self.woken.acquire()


class Merger(Generic[T, R]):
    """Merges concurrent `submit`s into calls of `send`, at most `lanes` under way at once.

    `send` takes a list of at most `max_batch` items and gives a list of as many results, in order; a result that is
    an exception is raised to its submitter, and an exception from `send` itself to everyone in the batch.

    The merger has no thread of its own: one submitter leads, sends its batch, and hands the lane to the first of
    those who gathered meanwhile. No leader works for others after its own answer has come.
    """

    def __init__(
        self, send: Callable[[list[T]], Sequence[R | Exception]], max_batch: int = 256, lanes: int = 1
    ) -> None:
        self._send = send
        self._max_batch = max_batch
        self._free_lanes = lanes
        self._waiting: deque[_Ticket[T, R]] = deque()
        self._guard = threading.Lock()

    def submit(self, item: T) -> R:
        """The result for `item`; blocks for at most two round trips of `send` while the lanes keep up."""
        ticket: _Ticket[T, R] = _Ticket(item)
        with self._guard:
            if self._free_lanes:
                self._free_lanes -= 1
                ticket.leads = True
            elif len(self._waiting) < MAX_WAITING:
                self._waiting.append(ticket)
            else:
                raise Overloaded("too many requests are waiting for the same server; try again shortly")
        if not ticket.leads:
            ticket.woken.acquire()
        if ticket.leads:
            self._lead(ticket)
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]

    def _lead(self, own: _Ticket[T, R]) -> None:
        with self._guard:
            room = min(len(self._waiting), self._max_batch - 1)
            batch = [own, *(self._waiting.popleft() for _ in range(room))]
        try:
            self._send_batch(batch)
        finally:
            with self._guard:
                successor = self._waiting.popleft() if self._waiting else None
                if successor is None:
                    self._free_lanes += 1
            for ticket in batch[1:]:
                ticket.woken.release()
            if successor is not None:
                successor.leads = True
                successor.woken.release()

    def _send_batch(self, batch: list[_Ticket[T, R]]) -> None:
        try:
            results = self._send([ticket.item for ticket in batch])
            for ticket, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    ticket.error = result
                else:
                    ticket.result = result
        except BaseException as error:  # noqa: BLE001 - every submitter must hear of it, or would wait forever
            for ticket in batch:
                ticket.error = error
