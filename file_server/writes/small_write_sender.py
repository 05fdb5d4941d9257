"""Sends a master's small writes to a replica, many in one call, so that they share a flush there.

A separate call for each 4 KiB would cost both servers more than the write itself. No write waits on purpose: those that
arrive during a call leave with the next one. small_write_handler.py handles such a call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context

from lockstep_store.runtime.peers.protocols import Caller
from lockstep_store.wire.errors import LockstepError, Overloaded, PeerUnreachable
from lockstep_store.wire.messages.base import Outcome
from lockstep_store.wire.messages.servers import (
    MAX_SMALL_WRITES,
    SMALL_WRITES,
    SmallWrite,
    SmallWritesReply,
    SmallWritesRequest,
    WriteReply,
)

MAX_IN_FLIGHT = 2
"""Calls to one replica at a time."""
MAX_WAITING = 2_000
"""Writes that may wait for one replica; at 64 KiB each this also bounds their memory."""
IDLE_SECONDS = 30.0
"""How long an idle thread waits for more writes before it ends."""


class PendingWrite:
    """A small write to a replica; `outcome` waits for the reply after it was submitted."""

    __slots__ = ("_done", "_failure", "context", "item")

    def __init__(self, item: SmallWrite) -> None:
        self.item = item
        self.context = copy_context()  # the request id goes along
        self._failure: LockstepError | None = None
        self._done = threading.Lock()  # as a one-shot event: half the cost of threading.Event
        self._done.acquire()

    def outcome(self) -> LockstepError | None:
        """Wait; return why the blob is not durable on the replica, or None if it is."""
        self._done.acquire()
        self._done.release()
        return self._failure

    def finish(self, failure: LockstepError | None) -> None:
        """Set the outcome, once."""
        self._failure = failure
        self._done.release()


class SmallWriteQueue:
    """The writes that wait for one replica. Threads start when there is something to send, and end when idle."""

    def __init__(self, send: Callable[[SmallWritesRequest], SmallWritesReply], name: str) -> None:
        self._send = send
        self._name = name
        self._waiting: deque[PendingWrite] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._threads = 0

    def submit(self, writes: Iterable[PendingWrite]) -> None:
        """Queue writes for the next call, together. The outcome of one is Overloaded if too many wait already."""
        with self._changed:
            for pending in writes:
                if len(self._waiting) < MAX_WAITING:
                    self._waiting.append(pending)
                else:
                    pending.finish(Overloaded(f"too many small writes are waiting for {self._name}; try again shortly"))
            if self._idle:
                self._changed.notify()
            elif self._threads < MAX_IN_FLIGHT:
                self._threads += 1
                threading.Thread(target=self._run, name=f"small-writes-{self._name}", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                has_more = self._changed.wait_for(lambda: self._waiting, IDLE_SECONDS)
                self._idle -= 1
                if not has_more:
                    self._threads -= 1
                    return
                count = min(len(self._waiting), MAX_SMALL_WRITES)
                batch = [self._waiting.popleft() for _ in range(count)]
            batch[0].context.run(self._deliver, batch)

    def _deliver(self, batch: list[PendingWrite]) -> None:
        failures: list[LockstepError | None]
        try:
            reply = self._send(SmallWritesRequest([pending.item for pending in batch]))
            failures = [_failure_of(result) for result in reply.results]
            if len(failures) != len(batch):
                raise PeerUnreachable(f"{self._name} replied to {len(failures)} of {len(batch)} writes")
        except LockstepError as error:
            failures = [error] * len(batch)
        except Exception as error:  # noqa: BLE001 - every waiting write must get an outcome
            failures = [LockstepError(f"sending small writes to {self._name} failed: {error!r}")] * len(batch)
        for pending, failure in zip(batch, failures, strict=True):
            pending.finish(failure)


class SmallWriteSender:
    """Sends small writes through one queue for each replica. Thread-safe."""

    def __init__(self, peers: Caller, timeout: float) -> None:
        self._peers = peers
        self._timeout = timeout
        self._queues: dict[str, SmallWriteQueue] = {}
        self._guard = threading.Lock()

    def submit(self, url: str, writes: Iterable[PendingWrite]) -> None:
        """Queue writes for the replica at `url`. Those submitted together leave together."""
        queue = self._queues.get(url)
        if queue is None:
            with self._guard:
                queue = self._queues.setdefault(url, SmallWriteQueue(lambda request: self._call(url, request), url))
        queue.submit(writes)

    def _call(self, url: str, request: SmallWritesRequest) -> SmallWritesReply:
        return self._peers.call(url, SMALL_WRITES, request, self._timeout)


def _failure_of(result: Outcome[WriteReply]) -> LockstepError | None:
    try:
        result.unwrap()
    except LockstepError as error:
        return error
    return None
