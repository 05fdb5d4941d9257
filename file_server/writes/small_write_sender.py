"""Small writes between file servers: many of one master's go to a replica in one call, and share its flush there.
What a file server does with such a call is in small_write_desk.py.

A call of its own for each 4 KiB would cost both servers more than the write itself. Nothing waits for company: the
writes that gather while a call is under way leave with the next one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from lockstep_store.runtime.peers.protocols import Caller
from lockstep_store.runtime.tracing import start_request
from lockstep_store.wire.errors import LockstepError, Overloaded, PeerUnreachable
from lockstep_store.wire.messages.files import Outcome
from lockstep_store.wire.messages.servers import (
    MAX_SMALL_WRITES,
    SMALL_WRITES,
    SmallWrite,
    SmallWritesReply,
    SmallWritesRequest,
    WriteReply,
)

LANES = 2
"""Calls under way to one replica."""
MAX_WAITING = 2_000
"""Writes that wait for one replica; with 64 KiB each this is also what they may take of memory."""
IDLE_SECONDS = 30.0
"""How long a lane's thread waits for more before it ends."""


class PendingWrite:
    """A small write that was handed over; `outcome` waits for the replica's answer."""

    __slots__ = ("_done", "_failure", "item")

    def __init__(self, item: SmallWrite) -> None:
        self.item = item
        self._failure: LockstepError | None = None
        self._done = threading.Lock()  # as a one-shot event: half the cost of threading.Event
        self._done.acquire()

    def outcome(self) -> LockstepError | None:
        """Why the blob is not durable there; None when it is."""
        self._done.acquire()
        self._done.release()
        return self._failure

    def finish(self, failure: LockstepError | None) -> None:
        """The answer is here."""
        self._failure = failure
        self._done.release()


class SmallWriteQueue:
    """The way to one replica. Threads are started when there is something to send and end when there is not."""

    def __init__(self, send: Callable[[SmallWritesRequest], SmallWritesReply], name: str) -> None:
        self._send = send
        self._name = name
        self._waiting: deque[PendingWrite] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._lanes = 0

    def submit(self, item: SmallWrite) -> PendingWrite:
        """Hand over a write; it leaves with the next call. Its outcome is Overloaded when too many wait already."""
        pending = PendingWrite(item)
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                pending.finish(Overloaded(f"too many small writes wait for {self._name}; try again shortly"))
                return pending
            self._waiting.append(pending)
            if self._idle:
                self._changed.notify()
            elif self._lanes < LANES:
                self._lanes += 1
                threading.Thread(target=self._lane, name=f"small-writes-{self._name}", daemon=True).start()
        return pending

    def _lane(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                has_more = self._changed.wait_for(lambda: self._waiting, IDLE_SECONDS)
                self._idle -= 1
                if not has_more:
                    self._lanes -= 1
                    return
                count = min(len(self._waiting), MAX_SMALL_WRITES)
                batch = [self._waiting.popleft() for _ in range(count)]
            start_request()
            self._deliver(batch)

    def _deliver(self, batch: list[PendingWrite]) -> None:
        failures: list[LockstepError | None]
        try:
            reply = self._send(SmallWritesRequest([pending.item for pending in batch]))
            failures = [_failure_of(result) for result in reply.results]
            if len(failures) != len(batch):
                raise PeerUnreachable(f"{self._name} answered {len(failures)} of {len(batch)} writes")
        except LockstepError as error:
            failures = [error] * len(batch)
        except Exception as error:  # noqa: BLE001 - every write that waits must hear of it
            failures = [LockstepError(f"sending small writes to {self._name} failed: {error!r}")] * len(batch)
        for pending, failure in zip(batch, failures, strict=True):
            pending.finish(failure)


class SmallWriteSender:
    """The queues of one master, one for each replica. Thread-safe."""

    def __init__(self, peers: Caller, timeout: float) -> None:
        self._peers = peers
        self._timeout = timeout
        self._queues: dict[str, SmallWriteQueue] = {}
        self._guard = threading.Lock()

    def submit(self, url: str, item: SmallWrite) -> PendingWrite:
        """Send a write to the replica at `url`."""
        queue = self._queues.get(url)
        if queue is None:
            with self._guard:
                queue = self._queues.setdefault(url, SmallWriteQueue(lambda request: self._call(url, request), url))
        return queue.submit(item)

    def _call(self, url: str, request: SmallWritesRequest) -> SmallWritesReply:
        return self._peers.call(url, SMALL_WRITES, request, self._timeout)


def _failure_of(result: Outcome[WriteReply]) -> LockstepError | None:
    try:
        result.unwrap()
    except LockstepError as error:
        return error
    return None
