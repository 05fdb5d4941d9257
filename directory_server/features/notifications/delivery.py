"""Delivers one target's messages in order, each until the target has accepted it.

Delivered messages are deleted in batches, so a program that dies in between sends some again; receivers recognise them
by their message id. A target that does not answer is retried after growing pauses, on a thread of its own, so it delays
no other. Messages beyond the bounds below are dropped, the oldest first, and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Counter

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.features.notifications.record import with_sequencer
from directory_server.features.notifications.sending import NotDelivered, Outgoing, Sender
from directory_server.metadata.statements import notifications as rows
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.backoff import pause_after
from lockstep_store.runtime.tracing import log

MAX_WAITING = 100_000
MAX_AGE_SECONDS = 3 * 86_400.0
BATCH = 100
BATCH_SECONDS = 1.0
"""After this long, delivered messages are deleted although the batch is not done."""
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
IDLE_SECONDS = 30.0
LOOK_FOR_OLD_SECONDS = 10.0

DELIVERED = Counter("lockstep_directory_notifications_delivered", "Messages accepted by targets", ["target"])
DROPPED = Counter("lockstep_directory_notifications_dropped", "Messages given up after waiting too long", ["target"])
FAILED = Counter("lockstep_directory_notifications_failed", "Attempts that failed", ["target"])


class Delivery:
    """Delivers one target's messages. One thread runs the steps; any thread may read the state."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        name: str,
        sender: Sender,
        *,
        max_waiting: int = MAX_WAITING,
        max_age_seconds: float = MAX_AGE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.problem = ""
        """Why the last attempt failed; empty when it succeeded."""
        self.delivered = 0
        self.ending = False
        self._store = store
        self._clock = clock
        self._sender = sender
        self._max_waiting = max_waiting
        self._max_age_seconds = max_age_seconds
        self._monotonic = monotonic
        self._failures = 0
        self._not_before = 0.0
        self._look_for_old = 0.0

    def step(self) -> float:
        """Deliver a batch, for a BackgroundJob; return the seconds until the next step."""
        now = self._monotonic()
        if now >= self._look_for_old:
            self._drop_old()
            self._look_for_old = now + LOOK_FOR_OLD_SECONDS
        if now < self._not_before:
            # Woken by a new message: that is no reason to try a target more often.
            return min(self._not_before, self._look_for_old) - now
        with self._store.read() as reader:
            batch = rows.first_waiting(reader, self.name, BATCH)
        if not batch:
            self._sender.rest()
            return IDLE_SECONDS
        try:
            self._send(batch)
        except NotDelivered as error:
            return self._pause(error)
        self.problem, self._failures = "", 0
        return 0.0

    def try_now(self) -> None:
        """Skip the rest of a pause: the target answers again."""
        self._not_before = 0.0

    def _send(self, batch: list[rows.EventRow]) -> None:
        """Deliver as much of the batch as time allows; delivered messages are deleted even when the next one fails."""
        until = self._monotonic() + BATCH_SECONDS
        last = 0
        try:
            for row in batch:
                self._sender.send(Outgoing(str(row.id), with_sequencer(row.body, row.change)))
                last = row.id
                self.delivered += 1
                DELIVERED.labels(self.name).inc()
                if self.ending or self._monotonic() > until:
                    break
        finally:
            if last:
                self._failures = 0
                self._store.write(lambda tx: rows.delivered(tx, self.name, last))

    def _pause(self, error: NotDelivered) -> float:
        if not self.problem:
            log.warning("notifications: target %s: %s; retrying later", self.name, error)
        self.problem = str(error)
        FAILED.labels(self.name).inc()
        self._failures += 1
        pause = pause_after(self._failures, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        self._not_before = self._monotonic() + pause
        return pause

    def _drop_old(self) -> None:
        with self._store.read() as reader:
            count, since = rows.waiting(reader, self.name)
        before = self._clock.now() - self._max_age_seconds
        if count <= self._max_waiting and (since is None or since >= before):
            return
        gone = self._store.write(lambda tx: rows.drop_old(tx, self.name, self._max_waiting, before))
        DROPPED.labels(self.name).inc(gone)
        log.warning("notifications: dropped %d messages for target %s that had waited for too long", gone, self.name)
