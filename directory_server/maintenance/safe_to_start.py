"""Makes metadata safe to start from after a restore: numbers jump ahead, and what may have ended since ends.

It is used by `restore`, on a file of SQLite or on a database, while no directory runs.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from directory_server.cluster.directory_clock import TIME_SETTING
from directory_server.maintenance.backup import LAST_BACKUP_SETTING
from directory_server.maintenance.epochs import EPOCH_JUMP, EPOCHS_SETTING, EpochRecord, decode_record
from directory_server.maintenance.recovery import (
    FENCE_FLOOR_SETTING,
    LOCK_NUMBER_JUMP,
    STATE_SETTING,
    RecoveryState,
    decode_state,
)
from directory_server.metadata.engines.sqlite.totals import add_functions
from directory_server.metadata.redo_lines import EMPTIED
from directory_server.metadata.statements.redo import BREAK_CHAIN, CHAIN_BYTES
from directory_server.metadata.statements.search import EMPTY
from directory_server.metadata.statements.totals import COUNT_AGAIN
from directory_server.read_leases.lasting import GRANTED
from directory_server.read_leases.lasting import MARK as LEASES_MARK
from lockstep_store.wire.codec import encode
from lockstep_store.wire.messages.recovery import RecoverySource
from lockstep_store.wire.messages.redo import RedoPlace

CURSOR_JUMP = 1_000_000_000
TIME_JUMP_SECONDS = 100_000_000.0
"""Three years of directory time."""
JUMP_FOR_EACH_SECOND = 100_000
"""Added for each second of the backup's age: more changes than a directory can make in a second."""
NUMBERS_BEGAN = 1_577_836_800.0
"""2020-01-01. Numbers also jump past this many seconds' worth of them. So two restores from different backups, of which
the earlier one may have jumped further, issue different numbers, unless the clock was set back between them."""
MAX_AGE_SECONDS, MAX_DATE_SECONDS = 10 * 365 * 86_400.0, 200 * 365 * 86_400.0
"""Upper bounds, in case a clock is wrong: version ids have only sixteen digits."""
_OF_A_START = ("setting", "file_server", "past_write", "holder", "dropped")
"""Tables that a directory changes before it grants anything: the time, its epoch, and what file servers report."""
_PUT = "INSERT INTO {} (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Rows(Protocol):
    """The rows that a statement returned."""

    def fetchone(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class StoppedMetadata(Protocol):
    """Metadata that no directory uses, in a transaction without redo records."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ...) -> Rows:
        """Execute a statement with parameters written `?` or `:name`."""
        ...

    def newest(self, table: str, column: str) -> int:
        """Return the highest number of a table that was used so far."""
        ...

    def continue_behind(self, table: str, behind: int) -> int:
        """Make a table's numbers continue behind a number, and return that."""
        ...

    def count_again(self) -> None:
        """Count totals again, and empty the search index, if they may differ from the rows."""
        ...


class RestoredFrom(NamedTuple):
    """What is restored, and when it was made; None: read the time from the metadata."""

    source: RecoverySource
    made_at: float | None = None


class SqliteFile:
    """A file of SQLite."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.execute = db.execute

    def newest(self, table: str, column: str) -> int:
        kept = self._db.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table}"').fetchone()[0]  # noqa: S608 - our own names
        used = self._db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,))
        return max(int(kept), int(used.fetchone()[0]))

    def continue_behind(self, table: str, behind: int) -> int:
        self._db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, behind))
        return behind

    def count_again(self) -> None:
        add_functions(self._db)
        for statement in (*EMPTY, *COUNT_AGAIN):
            self._db.execute(statement)


def make_safe(db: StoppedMetadata, beginning: RestoredFrom, now: float) -> None:
    """Make the metadata safe to start from, in the transaction that has begun on `db`."""
    for table in EMPTIED:
        db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - our own names
    db.count_again()
    floor = db.execute("SELECT coalesce(max(value), 0) FROM counter WHERE name = 'lock_number'").fetchone()[0]
    epochs = decode_record(_setting(db, EPOCHS_SETTING))
    made_at = beginning.made_at if beginning.made_at is not None else _latest_sign_of_life(db, epochs)
    age = min(max(0.0, now - made_at), MAX_AGE_SECONDS)

    def beyond(number: int, jump: int) -> int:
        """A number that was not issued since `number` was, not even after the restore of another backup."""
        by_age = number + int(age * JUMP_FOR_EACH_SECOND)
        by_date = int(min(max(0.0, now - NUMBERS_BEGAN), MAX_DATE_SECONDS) * JUMP_FOR_EACH_SECOND)
        return max(by_age, by_date) + jump

    floor = max(floor, db.execute("SELECT coalesce(max(number), 0) FROM path_fence").fetchone()[0])
    floor = beyond(floor, LOCK_NUMBER_JUMP)
    db.execute(_PUT.format("counter"), ("lock_number", floor))
    newest = db.newest("journal", "cursor")
    through = db.continue_behind("journal", beyond(newest, CURSOR_JUMP))
    # Otherwise receivers would order later changes before earlier ones.
    db.continue_behind("event", beyond(db.newest("event", "id"), CURSOR_JUMP))
    directory_time = float(_setting(db, TIME_SETTING) or 0.0) + TIME_JUMP_SECONDS + age
    # Otherwise they would look expired at once, because of the jump in time.
    db.execute("UPDATE past_write SET done_time = ?", (directory_time,))
    db.execute("UPDATE dropped SET dropped_time = ?", (directory_time,))
    db.execute("UPDATE event SET queued_time = ?", (directory_time,))
    epochs.lost_through = beyond(epochs.newest, EPOCH_JUMP)
    epochs.out_of_date = ""
    since = _not_yet_recovered(db, newest)
    state = RecoveryState(made_at, now, since, through, source=beginning.source, redo=_common_past(db))
    settings = {
        TIME_SETTING: repr(directory_time),
        FENCE_FLOOR_SETTING: str(floor),
        STATE_SETTING: encode(state).decode(),
        EPOCHS_SETTING: encode(epochs).decode(),
        LEASES_MARK: GRANTED,
    }
    for name, value in settings.items():
        db.execute(_PUT.format("setting"), (name, value))
    for name in ("ticket_key", LAST_BACKUP_SETTING):
        db.execute("DELETE FROM setting WHERE name = ?", (name,))
    begin, forget = BREAK_CHAIN  # nothing above is in a record
    sequence = db.newest("redo_record", "sequence")
    ahead = beyond(sequence, CURSOR_JUMP) - sequence
    db.execute(begin, {"ahead": ahead, "chain": secrets.token_bytes(CHAIN_BYTES)})
    db.execute(forget)


def _common_past(db: StoppedMetadata) -> RedoPlace:
    """The place behind which file servers' redo records may be replayed.

    Older metadata that was started by mistake has records of its own start, which nobody else has and which may be
    left behind.
    """
    place = RedoPlace()
    for sequence, chain, body in db.execute("SELECT sequence, chain, body FROM redo_record ORDER BY sequence DESC"):
        if not body and not place.sequence:
            break  # nothing was ever recorded
        place = RedoPlace(sequence, bytes(chain).hex())
        if not body or any(json.loads(line)[1] not in _OF_A_START for line in body.split("\n")):
            break
    return place


def _setting(db: StoppedMetadata, name: str) -> str | None:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _latest_sign_of_life(db: StoppedMetadata, epochs: EpochRecord) -> float:
    """Return the latest time at which this metadata is known to have been in use; 0 if unknown.

    Too early a time wastes numbers; too late a time would issue some twice.
    """
    started = [epoch.started_at for epoch in epochs.epochs[-1:]]
    changed = db.execute("SELECT at FROM journal ORDER BY cursor DESC LIMIT 1").fetchone()
    return max([*started, *(changed or ())], default=0.0)


def _not_yet_recovered(db: StoppedMetadata, newest: int) -> int:
    """Return the change after which versions may be missing: the newest, or where an unfinished recovery began."""
    stored = _setting(db, STATE_SETTING)
    before = decode_state(stored) if stored else None
    if before is None or before.finished:
        return newest
    known = {row[0] for row in db.execute("SELECT id FROM file_server WHERE state != 'removed'")}
    return min(newest, before.backup_cursor) if not known or known - set(before.done) else newest
