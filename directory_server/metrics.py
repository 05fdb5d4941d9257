"""The directory's health and its gauges at /metrics."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial

from prometheus_client import Gauge

from directory_server.components import Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages import cluster as cm

FILES = Gauge("lockstep_directory_files", "Paths that have a current version")
VERSIONS = Gauge("lockstep_directory_versions", "Versions, delete markers included")
BLOBS = Gauge("lockstep_directory_blobs", "Blobs known")
LOCKS = Gauge("lockstep_directory_locks", "Locks held")
WAITERS = Gauge("lockstep_directory_waiters", "Places taken in the queues for locks")
SERVERS = Gauge("lockstep_directory_file_servers", "File servers by state", ["state"])
UNDER_COPIED = Gauge("lockstep_directory_under_copied_blobs", "Blobs with fewer living copies than promised")
WITHOUT_COPY = Gauge("lockstep_directory_blobs_without_copy", "Blobs without any living copy")
TO_MOVE = Gauge("lockstep_directory_blobs_to_move", "Blobs that draining file servers still have to hand over")
SURPLUS = Gauge("lockstep_directory_surplus_copies", "Copies beyond the promised number, to be dropped")
TO_BALANCE = Gauge("lockstep_directory_blobs_to_balance", "Blobs that a running rebalance still has to move")
_STATES = ("joining", "up", "suspect", "down", "draining")


def _gauge(measure: Callable[[], float]) -> Callable[[], float]:
    """Return NaN while the store cannot be read: a bad disk must not take /metrics down too."""

    def measured() -> float:
        try:
            return measure()
        except LockstepError:
            return math.nan

    return measured


class DirectoryMetrics:
    """Serves /health and /metrics of `components` at `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._components = components
        self._id = api.id
        api.health = self._health
        self._show_gauges()

    def _health(self) -> cm.Health:
        components = self._components
        problems = [problem for problem in (components.condition.write_problem(), components.epochs.problem) if problem]
        return cm.Health(
            program="directory_server",
            id=self._id,
            version=self._components.version,
            healthy=not problems,
            problems=problems,
            uptime_seconds=self._components.clock.since_start(),
            pid=os.getpid(),
            facts={"file_servers": {info.id: info.state for info in self._components.membership.infos()}},
        )

    def _show_gauges(self) -> None:
        components = self._components
        FILES.set_function(_gauge(lambda: components.totals.latest().files))
        VERSIONS.set_function(_gauge(lambda: components.totals.latest().versions))
        BLOBS.set_function(_gauge(lambda: components.totals.latest().blobs))
        LOCKS.set_function(_gauge(lambda: self._lock_counts()[0]))
        WAITERS.set_function(_gauge(lambda: self._lock_counts()[1]))
        UNDER_COPIED.set_function(_gauge(lambda: components.repair.info().under_copied))
        TO_MOVE.set_function(_gauge(lambda: components.repair.info().to_move))
        SURPLUS.set_function(_gauge(lambda: components.repair.info().surplus))
        TO_BALANCE.set_function(_gauge(lambda: components.repair.info().to_balance))
        WITHOUT_COPY.set_function(_gauge(lambda: components.repair.info().without_living_copy))
        for state in _STATES:
            SERVERS.labels(state).set_function(_gauge(partial(self._servers_in, state)))

    def _lock_counts(self) -> tuple[int, int]:
        with self._components.store.read() as reader:
            return self._components.locks.counts(reader)

    def _servers_in(self, state: str) -> int:
        return sum(info.state == state for info in self._components.membership.infos())
