"""Housekeeping: deletes what has expired, and notices when writing works again after a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from directory_server.cluster.directory_clock import DirectoryClock, write_time
from directory_server.metadata.statements import files
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError

PAST_WRITE_SECONDS = 24 * 3600.0
IDLE_SECONDS = 60.0
TRY_AGAIN_SECONDS = 2.0


class Housekeeping:
    """A job. Each of `removers` deletes what has expired of its own, in the same transaction."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        ticket_seconds: float,
        removers: Sequence[Callable[[Tx], object]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._past_write_seconds = max(PAST_WRITE_SECONDS, ticket_seconds)
        self._removers = removers

    def step(self) -> float:
        """Delete what has expired. After a failed write this also detects that writing works again."""

        def work(tx: Tx) -> int:
            now = self._clock.now()
            forgotten = tx.run(files.FORGET_PAST_WRITES, before=now - self._past_write_seconds)
            for remove in self._removers:
                remove(tx)
            write_time(tx, now)
            return forgotten

        try:
            while self._store.write(work) == files.FORGET_AT_ONCE:
                pass  # the rest in further transactions, so that no writer waits for all of it
        except LockstepError as error:
            log.error("housekeeping failed: %s", error)
        return TRY_AGAIN_SECONDS if self._store.problem else IDLE_SECONDS
