"""After a restore: makes the changes again that file servers kept records of, before the directory grants anything.

File servers fetch the directory's redo records with their heartbeats, sealed. A directory that was restored asks each
one that registers for the records behind the backup, takes them from whoever has the next, and is then as new as the
newest of these. Rows that restoring has set ahead stay as they are. What comes later, from a file server that was
silent for too long, is left to recovery.py and its commit notes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.maintenance.backup import LAST_BACKUP_SETTING
from directory_server.maintenance.epochs import EPOCHS_SETTING
from directory_server.maintenance.recovery import FENCE_FLOOR_SETTING, STATE_SETTING, Recovery, RecoveryState
from directory_server.maintenance.redo_log import RedoLog, from_wire, records_of, to_wire
from directory_server.metadata.statements import recovery as statements
from directory_server.metadata.statements.redo import HistoryPlace, Record
from directory_server.metadata.store import MetadataStore, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Damaged
from lockstep_store.wire.messages.redo import RedoPlace
from lockstep_store.wire.messages.servers import ReplayReply, ReplayRequest

LEFT_ALONE = frozenset(
    [
        *(("setting", name) for name in (STATE_SETTING, EPOCHS_SETTING, FENCE_FLOOR_SETTING, LAST_BACKUP_SETTING)),
        ("setting", "directory_time"),
        ("setting", "ticket_key"),
        ("counter", "lock_number"),
    ]
)
"""Restoring has set these ahead of anything in a record, or ended them."""
IDLE_SECONDS, LOOK_AGAIN_SECONDS = 3600.0, 0.5
PATIENCE = 6
"""Times the silence after which a server counts as down: how long the directory waits for records."""


class LateRecords:
    """Thread-safe. `expected` names the file servers to wait for; `changed` is called after the last change."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        recovery: Recovery,
        redo_log: RedoLog,
        expected: Callable[[], Iterable[str]],
        patience_seconds: float,
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._recovery = recovery
        self._redo_log = redo_log
        self._expected = expected
        self._patience = patience_seconds
        self._changed = changed
        self._offered: set[str] = set()
        self._knows_servers = bool(set(expected()))
        """A backup that is older than the first file server does not say for whom to wait."""
        self._mutex = threading.Lock()

    @property
    def wanted(self) -> RedoPlace:
        """Records behind this place are wanted; sequence 0: none are."""
        state = self._recovery.state
        return state.redo if state is not None else RedoPlace()

    def is_settled(self) -> bool:
        """Whether the directory may be opened. Asked inside transactions, so it changes nothing."""
        return not self.wanted.sequence

    def step(self) -> float:
        """Settle when every file server has sent what it has, or was silent for too long; seconds to pause."""
        if not self.wanted.sequence:
            return IDLE_SECONDS
        silent = sorted(set(self._expected()) - self._offered)
        if (silent or not self._knows_servers) and self._clock.since_start() < self._patience:
            return LOOK_AGAIN_SECONDS
        with self._mutex:
            if self.wanted.sequence:
                self._settle(silent)
        return IDLE_SECONDS

    def _settle(self, silent: list[str]) -> None:
        if silent:
            log.warning("going on without the redo records of file servers %s", ", ".join(silent))

        def work(tx: Tx, state: RecoveryState) -> None:
            state.redo = RedoPlace()
            statements.restart_times(tx, self._clock.now())

        self._recovery.change(work)
        self._changed()
        state = self._recovery.state
        assert state is not None
        log.info("recovery: %d redo records of file servers were replayed", state.replayed)

    def take(self, server_id: str, request: ReplayRequest) -> ReplayReply:
        """Replay a batch if it follows; the place behind which records are wanted next."""
        with self._mutex:
            wanted = self.wanted
            if wanted.sequence and request.batch is not None and request.batch.through.sequence > wanted.sequence:
                try:
                    records = records_of(self._redo_log.unseal(request.batch), from_wire(wanted))
                    self._replay(records)
                except (Damaged, ValueError) as error:
                    log.warning("redo records of file_server-%s are of no use: %s", server_id, error)
                    self._offered.add(server_id)
            elif request.batch is None:
                self._offered.add(server_id)
            reply = ReplayReply(RedoPlace() if server_id in self._offered else self.wanted)
        self.step()
        return reply

    def _replay(self, records: list[Record]) -> None:
        def work(tx: Tx, state: RecoveryState) -> None:
            tx.apply_records((record.body for record in records), LEFT_ALONE)
            last = records[-1]
            state.redo = to_wire(HistoryPlace(last.sequence, last.chain))
            state.replayed += len(records)
            state.backup_cursor = max(state.backup_cursor, statements.newest_cursor_below(tx, state.through))

        self._recovery.change(work)
