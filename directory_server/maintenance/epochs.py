"""Epochs: notices that this directory runs on an older copy of its metadata.

A snapshot or a copy that was put back knows nothing of what happened after it was made. It would give lock numbers and
version ids a second time, and let file servers collect what it does not know. File servers know better: they remember
the highest lock number and change that they saw, and the epoch, a count with a random mark that each start of the
directory writes. They send these when they register, which they do once in each start. If one is ahead, the directory
refuses everything from then on, also after a restart, until an administrator accepts the loss (restore.py).

Until enough file servers have registered, nothing is granted, committed or collected: of any `copies` servers that
took a write, at least one is then among them. The wait ends after `patience_seconds` in any case, or a cluster whose
servers are gone would need an operator for each start.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.maintenance.recovery import Recovery
from directory_server.metadata.statements import files, people, recovery, servers
from directory_server.metadata.store import MetadataStore, Reader, Tx
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.errors import OutOfDate, SetupError, Starting
from lockstep_store.wire.messages import files as messages
from lockstep_store.wire.messages import locks, targets, uploads
from lockstep_store.wire.messages import recovery as recovery_messages
from lockstep_store.wire.messages import s3 as s3_messages
from lockstep_store.wire.messages import servers as server_messages
from lockstep_store.wire.messages.base import Message
from lockstep_store.wire.messages.buckets import CHANGE_BUCKET, CREATE_BUCKET, DELETE_BUCKET
from lockstep_store.wire.messages.servers import RegisterRequest, SeenMarks
from lockstep_store.wire.messages.writes import BEGIN, GIVE_UP

EPOCHS_SETTING = "epochs"
EPOCH_JUMP = 1_000_000
MAX_KEPT = 1000
"""Epochs that are remembered. A file server that missed more starts is judged by its numbers alone."""
HOLD_SECONDS = 0.5
REFUSAL = (
    "the directory's metadata is older than what its file servers have seen, so it refuses everything: its log and its "
    "health say what to do"
)
"""For people and programs, who need not know where its folders are."""

CHANGING = frozenset(
    call.path
    for call in (
        BEGIN,
        GIVE_UP,
        messages.DELETE,
        messages.COPY,
        CREATE_BUCKET,
        CHANGE_BUCKET,
        DELETE_BUCKET,
        locks.ACQUIRE,
        locks.RELEASE,
        uploads.CREATE_UPLOAD,
        uploads.ABORT_UPLOAD,
        s3_messages.PUT_BUCKET_SETTING,
        s3_messages.PUT_OBJECT_SETTING,
        targets.PUT_NOTIFICATION,
        recovery_messages.RECOVER,
        server_messages.COMMIT,
        server_messages.COLLECT,
        server_messages.FOUND,
    )
)
"""Calls that give numbers or give up bytes."""


class Epoch(Message):
    """One start of a directory."""

    number: int
    mark: int
    """Random: tells two starts with one number apart, which a copy of the metadata has made."""
    started_at: float = 0.0


class EpochRecord(Message):
    """Stored as a setting."""

    epochs: list[Epoch] = []
    lost_through: int = 0
    """Raised by a restore: of the epochs up to this number file servers may remember others than are known here."""
    out_of_date: str = ""
    """Why this metadata is refused; empty while it is not."""

    @property
    def newest(self) -> int:
        """The highest number that may have been used."""
        return max([self.lost_through, *(epoch.number for epoch in self.epochs[-1:])])


_records = decoder(EpochRecord)


def decode_record(stored: str | None) -> EpochRecord:
    """The record as it is stored; an empty one for metadata that has none."""
    return _records.decode(stored) if stored else EpochRecord()


class Epochs:
    """Thread-safe. Opening one begins an epoch, durably; SetupError for metadata that was found to be out of date."""

    def __init__(
        self,
        store: MetadataStore,
        clock: DirectoryClock,
        state: Recovery,
        copies: int,
        patience_seconds: float,
        data: Path,
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
        self._open = not self._needed
        self.problem = ""
        """Why this directory refuses everything; empty while it does not."""

    def _begin(self, tx: Tx) -> EpochRecord:
        record = decode_record(people.read_setting(tx, EPOCHS_SETTING))
        if record.out_of_date:
            raise SetupError(record.out_of_date)
        begun = Epoch(record.newest + 1, secrets.randbelow(1 << 52) + 1, self._clock.wall())
        record.epochs = [*record.epochs, begun][-MAX_KEPT:]
        people.write_setting(tx, EPOCHS_SETTING, encode(record).decode())
        return record

    # ------------------------------------------------------------ what may be answered

    @property
    def is_open(self) -> bool:
        """Whether numbers may be given and bytes given up."""
        if self._open or self.problem:
            return self._open
        if self._clock.since_start() >= self._patience:
            silent = sorted(self._expected - self._registered)
            log.warning("going on without having heard from file servers %s", ", ".join(silent))
            self._open = True
        return self._open

    def admit(self, path: str) -> None:
        """Refuse a call: Starting for a while after the start, OutOfDate once a file server was ahead."""
        if self._open or self.is_open:
            return
        if self.problem:
            raise OutOfDate(REFUSAL)
        if path in CHANGING:
            raise Starting(
                "the directory server has just started and waits for its file servers before it grants anything; "
                "try again in a moment"
            )

    def held(self, step: Callable[[], float]) -> Callable[[], float]:
        """A background job's step that waits until the directory is open."""
        return lambda: step() if self.is_open else HOLD_SECONDS

    # ------------------------------------------------------------ what file servers remember

    def has_registered(self, server_id: str) -> bool:
        """Whether the file server has registered in this start."""
        return server_id in self._registered

    def compare(self, server_id: str, request: RegisterRequest) -> None:
        """Compare what a registering file server remembers. OutOfDate when it is ahead, from then on for everybody."""
        why = self._why_older(server_id, request)
        if why:
            self._refuse_everything(server_id, why)
            raise OutOfDate(REFUSAL)

    def note_registered(self, server_id: str) -> None:
        """The file server is not ahead, and registered."""
        self._registered.add(server_id)
        if not self.problem and len(self._registered & self._expected) >= self._needed:
            self._open = True

    def marks(self, reader: Reader) -> SeenMarks:
        """What file servers are to remember; nothing before this start is trusted itself."""
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
        # A restored directory takes a higher lock number over from servers that it has yet to recover from.
        seen_lock, seen_change = max(request.highest_fence, seen.lock_number), max(request.highest_note, seen.cursor)
        if seen_lock > lock_number and not self._recovery.covers(server_id):
            return f"it has seen lock number {seen_lock}, here {lock_number} is the last"
        if seen_change > cursor:
            return f"it has seen change {seen_change}, here {cursor} is the last"
        return self._why_other_epoch(seen)

    def _why_other_epoch(self, seen: SeenMarks) -> str:
        known = {epoch.number: epoch.mark for epoch in self._record.epochs}
        newest = self._record.epochs[-1].number
        if seen.epoch > newest:
            return f"it has seen start {seen.epoch} of the directory, this is start {newest}"
        if seen.epoch <= self._record.lost_through or seen.epoch < min(known) or known.get(seen.epoch) == seen.mark:
            return ""
        return f"it has seen another start {seen.epoch} of the directory than this metadata knows"

    def _refuse_everything(self, server_id: str, why: str) -> None:
        if self.problem:
            return  # another file server said so first
        self.problem = (
            f"the metadata in {self._data} is older than what file_server-{server_id} has seen ({why}): going on would "
            "lose acknowledged files and give numbers twice, so the directory refuses everything. Stop it and put the "
            "newest metadata back; if this is the newest, run "
            f"`lockstep restore --accept-older --data {self._data}`, then start it"
        )
        self._open = False
        log.error("%s", self.problem)
        self._record.out_of_date = self.problem
        stored = encode(self._record).decode()
        self._store.write(lambda tx: people.write_setting(tx, EPOCHS_SETTING, stored))
