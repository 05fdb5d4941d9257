"""Restores a stopped directory's metadata, all or nothing, on the directory's machine.

The source is a backup, the metadata in place (accepted although it is older than file servers' records), or nothing
(for a cluster that lost all its metadata). Since the source was made, locks were granted, versions made and tickets
issued. So before the metadata goes into place, every counter jumps far ahead of the numbers that may have been used,
the ticket key is discarded, and locks, waiters, log-ins and join secrets are deleted. Log-ins, because one that was
ended after the backup must not be valid again. recovery.py then finds lost versions and blobs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

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
from directory_server.maintenance.replay import open_folder, replay
from directory_server.metadata.engines.sqlite.backup import count_rows, find_defects, flush
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.engines.sqlite.store import own
from directory_server.metadata.engines.sqlite.totals import add_functions
from directory_server.metadata.migrate import bring_up_to_date
from directory_server.metadata.statements.redo import BREAK_CHAIN, CHAIN_BYTES
from directory_server.metadata.statements.search import EMPTY
from directory_server.metadata.statements.totals import COUNT_AGAIN
from directory_server.read_leases.lasting import GRANTED
from directory_server.read_leases.lasting import MARK as LEASES_MARK
from lockstep_store.runtime.storage.sqlite_files import open_database
from lockstep_store.wire.backup_file import check, read_header
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import Conflict, Damaged, LockstepError, SetupError
from lockstep_store.wire.messages.recovery import BackupInfo, RecoverySource
from lockstep_store.wire.messages.redo import RedoBatch, RedoPlace

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
_SIDE_FILES = ("-wal", "-shm", "-journal")


def restore(
    file: Path, metadata: Path, *, replace: bool = False, wall: Callable[[], float] = time.time
) -> tuple[BackupInfo, Path | None]:
    """Restore the backup `file`; return its description and the path where replaced metadata was kept.

    `file` may be the folder of a continuous backup, which is restored with all its records.

    Raises SetupError while a directory runs, Conflict if there is metadata and `replace` is not given, and Damaged or
    StorageFormatError if the backup is unusable. After an error nothing has changed.
    """
    try:
        records: Iterable[RedoBatch] = ()
        if file.is_dir():
            file, records = open_folder(file)
        with file.open("rb") as opened:
            info = check(opened, str(file))
    except OSError as error:
        raise SetupError(f"cannot use {error.filename or file} ({error.strerror})") from error
    with _preparing(metadata) as (existed, prepared):
        if existed and not replace:
            raise Conflict(
                f"{metadata} exists; add --replace to replace it with the backup (it is kept under another name)"
            )
        _unpack(file, prepared)
        beginning = _Beginning("backup", info.made_at)
        if records:
            info = _replay(prepared, info, records)
            beginning = _Beginning("backup", info.made_at)
        _prepare(prepared, beginning, wall(), info.rows)
        kept = _keep_aside(metadata, wall()) if existed else None
        _put(prepared, metadata)
    return info, kept


def accept_older(metadata: Path, *, wall: Callable[[], float] = time.time) -> Path:
    """Accept metadata that is older than file servers' records; return the path where its original was kept.

    Raises SetupError while a directory runs or if there is no metadata, and Damaged if it is unusable. After an error
    nothing has changed.
    """
    with _preparing(metadata) as (existed, prepared):
        if not existed:
            raise SetupError(f"there is no metadata in {metadata.parent}; name the directory's folder with --data")
        with closing(sqlite3.connect(metadata)) as old, closing(sqlite3.connect(prepared)) as new:
            old.backup(new)
        _prepare(prepared, _Beginning("older"), wall())
        kept = _keep_aside(metadata, wall())
        _put(prepared, metadata)
    return kept


def begin_again(metadata: Path, made_at: float, *, wall: Callable[[], float] = time.time) -> None:
    """Make new metadata for a cluster that was created at `made_at` and lost its metadata.

    Raises SetupError while a directory runs, and Conflict if there is metadata.
    """
    with _preparing(metadata) as (existed, prepared):
        if existed:
            raise Conflict(f"{metadata} exists; new metadata never replaces it")
        _prepare(prepared, _Beginning("nothing", made_at), wall())
        _put(prepared, metadata)


class _Beginning(NamedTuple):
    """What is restored, and when it was made; None: read the time from the metadata."""

    source: RecoverySource
    made_at: float | None = None


@contextmanager
def _preparing(metadata: Path) -> Iterator[tuple[bool, Path]]:
    """Lock `metadata`; yield whether it exists, and the path on which to prepare its replacement."""
    try:
        metadata.parent.mkdir(parents=True, exist_ok=True)
        existed = has_metadata(metadata)
        lock = own(metadata)
    except OSError as error:
        raise SetupError(f"cannot use {error.filename or metadata} ({error.strerror})") from error
    prepared = metadata.with_name("metadata.db.restoring")
    try:
        _remove(prepared)
        yield existed, prepared
    except OSError as error:
        raise SetupError(f"cannot put the metadata in place ({error}); check the disk, then try again") from error
    finally:
        _remove(prepared)
        if not existed and not metadata.stat().st_size:
            metadata.unlink()  # created only to be locked
        os.close(lock)


def has_metadata(metadata: Path) -> bool:
    """Whether there is metadata. An empty file does not count: a lock or an interrupted start leaves one."""
    return metadata.exists() and metadata.stat().st_size > 0


def _unpack(file: Path, prepared: Path) -> None:
    with file.open("rb") as source:
        read_header(source, str(file))
        descriptor = os.open(prepared, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _replay(prepared: Path, info: BackupInfo, records: Iterable[RedoBatch]) -> BackupInfo:
    """Add the records to the backup; what is in it then."""
    try:
        with closing(open_database(prepared, isolation_level=None)) as db:
            if count_rows(db) != info.rows:
                raise Damaged("the backup has other rows than when it was made; use another one")
            made_at = replay(db, records) or info.made_at
            rows = count_rows(db)
            (cursor,) = db.execute("SELECT coalesce(max(cursor), 0) FROM journal").fetchone()
    except sqlite3.Error as error:
        raise Damaged(f"the records do not fit the backup ({error}); use another one") from error
    return msgspec.structs.replace(
        info,
        made_at=made_at,
        cursor=cursor,
        files=rows["current"],
        versions=rows["version"],
        blobs=rows["blob"],
        rows=rows,
    )


def _prepare(prepared: Path, beginning: _Beginning, now: float, rows: dict[str, int] | None = None) -> None:
    """Check the metadata, upgrade its schema, and make it safe to start from."""
    try:
        with closing(open_database(prepared, isolation_level=None)) as db:
            defects = find_defects(db)
            if not defects and rows is not None and count_rows(db) != rows:
                defects = ["its row counts differ from those in its header"]
        if defects:
            raise Damaged(f"the metadata is damaged ({defects[0]}); restore another backup")
        bring_up_to_date(prepared)
        with closing(open_database(prepared, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            _make_safe(db, beginning, now)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise Damaged(f"the metadata is unusable ({error}); restore another backup") from error
    flush(prepared)


def _make_safe(db: sqlite3.Connection, beginning: _Beginning, now: float) -> None:
    for table in ("lock", "lock_path", "waiter", "waiter_path", "session", "join_secret", "unnamed", "usage"):
        db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names from the line above
    add_functions(db)
    for statement in (*EMPTY, *COUNT_AGAIN):
        db.execute(statement)
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
    db.execute("INSERT OR REPLACE INTO counter (name, value) VALUES ('lock_number', ?)", (floor,))
    newest = _newest(db, "journal", "cursor")
    through = _continue(db, "journal", beyond(newest, CURSOR_JUMP))
    # Otherwise receivers would order later changes before earlier ones.
    _continue(db, "event", beyond(_newest(db, "event", "id"), CURSOR_JUMP))
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
        db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, value))
    for name in ("ticket_key", LAST_BACKUP_SETTING):
        db.execute("DELETE FROM setting WHERE name = ?", (name,))
    begin, forget = BREAK_CHAIN  # nothing above is in a record
    sequence = _newest(db, "redo_record", "sequence")
    ahead = beyond(sequence, CURSOR_JUMP) - sequence
    db.execute(begin, {"ahead": ahead, "chain": secrets.token_bytes(CHAIN_BYTES)})
    db.execute(forget)


def _common_past(db: sqlite3.Connection) -> RedoPlace:
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


def _setting(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _latest_sign_of_life(db: sqlite3.Connection, epochs: EpochRecord) -> float:
    """Return the latest time at which this metadata is known to have been in use; 0 if unknown.

    Too early a time wastes numbers; too late a time would issue some twice.
    """
    started = [epoch.started_at for epoch in epochs.epochs[-1:]]
    changed = db.execute("SELECT at FROM journal ORDER BY cursor DESC LIMIT 1").fetchone()
    return max([*started, *(changed or ())], default=0.0)


def _not_yet_recovered(db: sqlite3.Connection, newest: int) -> int:
    """Return the change after which versions may be missing: the newest, or where an unfinished recovery began."""
    stored = _setting(db, STATE_SETTING)
    before = decode_state(stored) if stored else None
    if before is None or before.finished:
        return newest
    known = {row[0] for row in db.execute("SELECT id FROM file_server WHERE state != 'removed'")}
    return min(newest, before.backup_cursor) if not known or known - set(before.done) else newest


def _newest(db: sqlite3.Connection, table: str, column: str) -> int:
    """Return the highest number of a table that was used so far."""
    kept = db.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table}"').fetchone()[0]  # noqa: S608 - our own names
    used = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()[0]
    return max(int(kept), int(used))


def _continue(db: sqlite3.Connection, table: str, behind: int) -> int:
    """Make a table's numbers continue behind a number, and return that."""
    db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, behind))
    return behind


def _keep_aside(metadata: Path, now: float) -> Path:
    """Hard-link the metadata file under a second name, so that it survives its replacement; return that name."""
    kept = metadata.with_name(f"{metadata.name}.replaced-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}")
    if kept.exists():
        raise Conflict(f"{kept} exists; try again in a second")
    with suppress(sqlite3.Error, LockstepError), closing(open_database(metadata, isolation_level=None)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    forget_checks(metadata)  # the old pages' checksums would make the new metadata look damaged
    # SQLite would replay a log that stayed into the new metadata. What the checkpoint left moves with the old.
    for suffix in _SIDE_FILES:
        side = metadata.with_name(metadata.name + suffix)
        if side.exists():
            side.rename(kept.with_name(kept.name + suffix))
    os.link(metadata, kept)
    return kept


def _put(prepared: Path, metadata: Path) -> None:
    """Replace the metadata atomically: after a crash the folder has the old or the new."""
    forget_checks(metadata)
    for suffix in _SIDE_FILES:
        metadata.with_name(metadata.name + suffix).unlink(missing_ok=True)
    prepared.replace(metadata)
    descriptor = os.open(metadata.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(prepared: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        prepared.with_name(prepared.name + suffix).unlink(missing_ok=True)
