"""Epochs: detects that the directory runs on an older copy of its metadata.

A restored snapshot lacks everything that happened after it was taken. A directory that ran on it would issue lock
numbers and version ids twice, and let file servers collect content it does not know. So each start of the directory
writes an epoch (a number with a random mark), and file servers remember the latest epoch, lock number and change that
they saw. They present these when they register, once per start. If one is ahead, the directory refuses every call from
then on, restarts included, until an administrator accepts the loss (restore.py).

Until enough file servers have registered, nothing is granted, committed or collected, and people's requests wait, reads
included: otherwise they could see older files. Enough means that any `copies` servers that took a write include one of
them. The wait ends after `patience_seconds` in any case; otherwise a cluster that lost its servers would need an
operator at each start.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.maintenance.calls_while_starting import ANSWERED_WHILE_RESTORING, ANSWERED_WHILE_STARTING
from directory_server.maintenance.recovery import Recovery
from directory_server.metadata.statements import files, people, recovery, servers
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import OutOfDate, SetupError, Starting
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.servers import RegisterRequest, SeenMarks

EPOCHS_SETTING = "epochs"
EPOCH_JUMP = 1_000_000
MAX_KEPT = 1000
"""A file server that missed more starts than this is compared by lock number and change alone."""
HOLD_SECONDS = 0.5
REFUSAL = (
    "the directory's metadata is older than its file servers' records, so it refuses all calls; "
    "see the directory's log or health page for what to do"
)
"""For callers. The full explanation names folders of the directory's machine, which they need not know."""


class Epoch(Message):
    """One start of a directory."""

    number: int
    mark: int
    """Random. Distinguishes two starts with the same number, made from copies of the metadata."""
    started_at: float = 0.0


class EpochRecord(Message):
    """The epochs of this metadata, stored as a setting."""

    epochs: list[Epoch] = []
    lost_through: int = 0
    """Raised by a restore. File servers may remember epochs up to this number that are unknown here."""
    out_of_date: str = ""
    """Why this metadata is refused; empty if it is not."""

    @property
    def newest(self) -> int:
        """Return the highest number that may have been used."""
        return max([self.lost_through, *(epoch.number for epoch in self.epochs[-1:])])


_records = decoder(EpochRecord)


def decode_record(stored: str | None) -> EpochRecord:
    """Decode the stored record; None gives an empty one."""
    return _records.decode(stored) if stored else EpochRecord()


class Epochs:
    """Compares file servers' records with the metadata, and holds calls until it is known to be current.

    The constructor writes the new epoch; it raises SetupError if the metadata was found to be out of date. Thread-safe.
    """

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        state: Recovery,
        copies: int,
        patience_seconds: float,
        data: Path | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._recovery = state
        self._patience = patience_seconds
        self._data = data
        self._record = store.write(self._begin)
        with store.read() as reader:
            self._expected = {row.id for row in servers.all_servers(reader) if row.state != "removed"}
        self._needed = max(1, len(self._expected) - (copies - 1)) if self._expected else 0
        self._registered: set[str] = set()
        self._open = False
        self._mutex = threading.Lock()
        self._on_change: Callable[[bool], None] = lambda is_open: None
        self.is_settled: Callable[[], bool] = lambda: True
        """Whether a restored directory has what it waits for."""
        self.problem = ""
        """Why the directory refuses every call; empty if it does not."""

    def _begin(self, tx: Tx) -> EpochRecord:
        record = decode_record(people.read_setting(tx, EPOCHS_SETTING))
        if record.out_of_date:
            raise SetupError(record.out_of_date)
        begun = Epoch(record.newest + 1, secrets.randbelow(1 << 52) + 1, self._clock.wall())
        record.epochs = [*record.epochs, begun][-MAX_KEPT:]
        people.write_setting(tx, EPOCHS_SETTING, encode(record).decode())
        return record

    # ------------------------------------------------------------ admitting calls

    @property
    def is_open(self) -> bool:
        """Whether numbers may be issued and copies dropped."""
        return self._open or (not self.problem and self._try_to_open())

    def _try_to_open(self) -> bool:
        if self._open or self.problem:
            return self._open
        enough = len(self._registered & self._expected) >= self._needed
        if not enough and self._clock.since_start() < self._patience:
            return False
        if not self.is_settled():
            return False
        if not enough:
            silent = sorted(self._expected - self._registered)
            log.warning("file servers %s have not registered; continuing without them", ", ".join(silent))
        self._set_open(True)
        return self._open

    @property
    def expected(self) -> set[str]:
        """The file servers known at the start, and those that have registered since."""
        return self._expected | self._registered

    def watch(self, on_change: Callable[[bool], None]) -> None:
        """Call `on_change(is_open)` now and after each change, so that an open directory need not ask per call."""
        self._on_change = on_change
        on_change(self._open)

    def _set_open(self, is_open: bool) -> None:
        with self._mutex:  # a file server that is ahead may register on another thread, and must win
            self._open = is_open and not self.problem
            self._on_change(self._open)

    def admit(self, path: str) -> None:
        """Raise Starting for a held call, or OutOfDate for any call once a file server was ahead."""
        if self._open or self.is_open:
            return
        if self.problem:
            raise OutOfDate(REFUSAL)
        if path in ANSWERED_WHILE_RESTORING:
            return
        if not self.is_settled():
            raise Starting(
                "the directory server was restored and is waiting for its file servers' records of later changes; "
                "try again in a moment"
            )
        if path not in ANSWERED_WHILE_STARTING:
            raise Starting(
                "the directory server has just started and is waiting for file servers to register; "
                "try again in a moment"
            )

    def held(self, step: Callable[[], float]) -> Callable[[], float]:
        """Wrap a background job's step so that it waits until the directory is open."""
        return lambda: step() if self.is_open else HOLD_SECONDS

    # ------------------------------------------------------------ registering file servers

    def has_registered(self, server_id: str) -> bool:
        """Whether the file server has registered since this start."""
        return server_id in self._registered

    def demand_known(self, server_id: str) -> None:
        """Raise Starting for a file server that is not in the metadata and has not registered, so was not compared."""
        if server_id not in self._expected:
            self.demand_registered(server_id)

    def demand_registered(self, server_id: str) -> None:
        """Raise Starting for a file server that has not registered since this start, so was not compared."""
        if server_id not in self._registered:
            raise Starting(f"file_server-{server_id} has yet to register with this directory; try again in a moment")

    def compare(self, server_id: str, request: RegisterRequest) -> None:
        """Compare a registering file server's marks. If it is ahead, raise OutOfDate, from then on for every caller."""
        why = self._why_older(server_id, request)
        if why:
            self._refuse_everything(server_id, why)
            raise OutOfDate(REFUSAL)

    def note_registered(self, server_id: str) -> None:
        """Count the file server as registered; `compare` has found it not ahead."""
        self._registered.add(server_id)
        self._try_to_open()

    def marks(self, reader: Reader) -> SeenMarks:
        """Return the marks for file servers to remember; none until this metadata is known to be current."""
        if not self._open:
            return SeenMarks()
        begun = self._record.epochs[-1]
        return SeenMarks(begun.number, begun.mark, recovery.lock_number(reader), files.read_cursor(reader))

    def _why_older(self, server_id: str, request: RegisterRequest) -> str:
        state = self._recovery.state
        with self._store.read() as reader:
            lock_number = recovery.lock_number(reader)
            cursor = max(files.read_cursor(reader), state.through if state is not None else 0)
        seen = request.seen
        # During recovery a higher lock number is expected: the directory adopts it (Recovery.note_fence).
        seen_lock, seen_change = max(request.highest_fence, seen.lock_number), max(request.highest_note, seen.cursor)
        if seen_lock > lock_number and not self._recovery.covers(server_id):
            return f"it saw lock number {seen_lock}, but the last one here is {lock_number}"
        if seen_change > cursor:
            return f"it saw change {seen_change}, but the last one here is {cursor}"
        return self._why_other_epoch(seen)

    def _why_other_epoch(self, seen: SeenMarks) -> str:
        known = {epoch.number: epoch.mark for epoch in self._record.epochs}
        newest = self._record.epochs[-1].number
        if seen.epoch > newest:
            return f"it saw start {seen.epoch} of the directory, but this is start {newest}"
        if seen.epoch <= self._record.lost_through or seen.epoch < min(known) or known.get(seen.epoch) == seen.mark:
            return ""
        return f"it saw a different start {seen.epoch} of the directory"

    def _refuse_everything(self, server_id: str, why: str) -> None:
        if self.problem:
            return  # another file server was ahead first
        place = f"in {self._data}" if self._data is not None else "in PostgreSQL"
        option = f"--data {self._data}" if self._data is not None else "--metadata ADDRESS"
        self.problem = (
            f"the metadata {place} is older than the records of file_server-{server_id} ({why}). Continuing "
            "would lose acknowledged files and issue numbers twice, so the directory refuses all calls. Stop it and "
            "put the newest metadata back; if this is the newest, run "
            f"`lockstep restore --accept-older {option}`; then start the directory again"
        )
        self._set_open(False)
        log.error("%s", self.problem)
        self._record.out_of_date = self.problem
        stored = encode(self._record).decode()
        self._store.write(lambda tx: people.write_setting(tx, EPOCHS_SETTING, stored))
