"""Restoring: offline, on the directory's machine, all or nothing. From a backup; from metadata that turned out to be
older than what file servers have seen, and is accepted; or from nothing, for a cluster that lost all of its metadata.

What the metadata does not know has happened all the same: locks were granted, versions made, tickets handed out, time
went by. So before it is put in place, every count jumps far ahead of what can have been used since, the ticket key is
thrown away, and locks, waiters, log-ins and join secrets end. Log-ins, because one that was ended after the backup
must not come back to life. What remains to be found again is recovery.py's business.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from directory_server.maintenance.epochs import EPOCH_JUMP, EPOCHS_SETTING, EpochRecord, decode_record
from directory_server.maintenance.recovery import (
    FENCE_FLOOR_SETTING,
    LOCK_NUMBER_JUMP,
    STATE_SETTING,
    RecoveryState,
    decode_state,
)
from directory_server.metadata.engines.sqlite.backup import count_rows, find_defects, flush
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.engines.sqlite.store import own
from directory_server.metadata.migrate import bring_up_to_date
from lockstep_store.wire.backup_file import check, read_header
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import Conflict, Damaged, LockstepError, SetupError
from lockstep_store.wire.messages.recovery import BackupInfo, RecoverySource

CURSOR_JUMP = 1_000_000_000
TIME_JUMP_SECONDS = 100_000_000.0
"""Three years of directory time."""
JUMP_FOR_EACH_SECOND = 100_000
"""Of the backup's age, beside that: more changes than a directory can make in a second."""
MAX_AGE_SECONDS = 10 * 365 * 86_400.0
"""Older no backup counts as, however wrong a clock is: version ids have sixteen digits."""
_SIDE_FILES = ("-wal", "-shm", "-journal")


def restore(
    file: Path, metadata: Path, *, replace: bool = False, wall: Callable[[], float] = time.time
) -> tuple[BackupInfo, Path | None]:
    """Make the backup `file` the metadata of a directory that does not run; what is in it, and where the metadata
    that it replaced is kept now.

    SetupError while a directory runs, Conflict when there is metadata and `replace` is not given, Damaged or
    StorageFormatError for a backup that cannot be used. Nothing has changed then.
    """
    try:
        with file.open("rb") as opened:
            info = check(opened, str(file))
    except OSError as error:
        raise SetupError(f"cannot use {error.filename or file} ({error.strerror})") from error
    with _preparing(metadata) as (existed, prepared):
        if existed and not replace:
            raise Conflict(
                f"{metadata} exists: with --replace the backup takes its place, and it is kept under another name"
            )
        _unpack(file, prepared)
        _prepare(prepared, _Beginning("backup", info.made_at), wall(), info.rows)
        kept = _keep_aside(metadata, wall()) if existed else None
        _put(prepared, metadata)
    return info, kept


def accept_older(metadata: Path, *, wall: Callable[[], float] = time.time) -> Path:
    """Let a directory go on from metadata that is older than what file servers have seen; where it is kept as it was.

    SetupError while a directory runs or when there is none, Damaged for metadata that cannot be used. Nothing has
    changed then.
    """
    with _preparing(metadata) as (existed, prepared):
        if not existed:
            raise SetupError(f"there is no metadata in {metadata.parent}: name the directory's folder with --data")
        with closing(sqlite3.connect(metadata)) as old, closing(sqlite3.connect(prepared)) as new:
            old.backup(new)
        _prepare(prepared, _Beginning("older"), wall())
        kept = _keep_aside(metadata, wall())
        _put(prepared, metadata)
    return kept


def begin_again(metadata: Path, made_at: float, *, wall: Callable[[], float] = time.time) -> None:
    """Make new metadata for a cluster that began at `made_at` and whose metadata is lost. SetupError, Damaged."""
    with _preparing(metadata) as (existed, prepared):
        if existed:
            raise Conflict(f"{metadata} exists: new metadata does not take its place")
        _prepare(prepared, _Beginning("nothing", made_at), wall())
        _put(prepared, metadata)


class _Beginning(NamedTuple):
    """What a directory goes on from, and when it was true; None: that is read from the metadata itself."""

    source: RecoverySource
    made_at: float | None = None


@contextmanager
def _preparing(metadata: Path) -> Iterator[tuple[bool, Path]]:
    """Keep directories away from `metadata`: whether there is any, and a name for what will take its place."""
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
        raise SetupError(f"the metadata cannot be put in place ({error}): check the disk, then try again") from error
    finally:
        _remove(prepared)
        if not existed and not metadata.stat().st_size:
            metadata.unlink()  # made only to be locked
        os.close(lock)


def has_metadata(metadata: Path) -> bool:
    """Whether there is anything; an empty file is what a lock or a start that was cut short leaves."""
    return metadata.exists() and metadata.stat().st_size > 0


def _unpack(file: Path, prepared: Path) -> None:
    with file.open("rb") as source:
        read_header(source, str(file))
        descriptor = os.open(prepared, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _prepare(prepared: Path, beginning: _Beginning, now: float, rows: dict[str, int] | None = None) -> None:
    """Check the metadata, bring it to this program's schema, and make it safe to go on from."""
    try:
        with closing(sqlite3.connect(prepared, isolation_level=None)) as db:
            defects = find_defects(db)
            if not defects and rows is not None and count_rows(db) != rows:
                defects = ["it has other rows than when it was made"]
        if defects:
            raise Damaged(f"the metadata is damaged ({defects[0]}); use another backup")
        bring_up_to_date(prepared)
        with closing(sqlite3.connect(prepared, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            _make_safe(db, beginning, now)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise Damaged(f"the metadata cannot be used ({error}); use another backup") from error
    flush(prepared)


def _make_safe(db: sqlite3.Connection, beginning: _Beginning, now: float) -> None:
    for table in ("lock", "lock_path", "waiter", "waiter_path", "session", "join_secret", "unnamed"):
        db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names from the line above
    floor = db.execute("SELECT coalesce(max(value), 0) FROM counter WHERE name = 'lock_number'").fetchone()[0]
    epochs = decode_record(_setting(db, EPOCHS_SETTING))
    made_at = beginning.made_at if beginning.made_at is not None else _latest_sign_of_life(db, epochs)
    age = min(max(0.0, now - made_at), MAX_AGE_SECONDS)
    more = int(age * JUMP_FOR_EACH_SECOND)
    floor = max(floor, db.execute("SELECT coalesce(max(number), 0) FROM path_fence").fetchone()[0])
    floor += LOCK_NUMBER_JUMP + more
    db.execute("INSERT OR REPLACE INTO counter (name, value) VALUES ('lock_number', ?)", (floor,))
    newest = _jump(db, "journal", "cursor", CURSOR_JUMP + more)
    _jump(db, "event", "id", CURSOR_JUMP + more)  # else receivers would take later changes for earlier ones
    directory_time = float(_setting(db, "directory_time") or 0.0) + TIME_JUMP_SECONDS + age
    # Else the jump would let them be forgotten at once.
    db.execute("UPDATE past_write SET done_time = ?", (directory_time,))
    db.execute("UPDATE dropped SET dropped_time = ?", (directory_time,))
    db.execute("UPDATE event SET queued_time = ?", (directory_time,))
    epochs.lost_through = epochs.newest + EPOCH_JUMP + more
    epochs.out_of_date = ""
    since = _not_yet_recovered(db, newest)
    state = RecoveryState(made_at, now, since, newest + CURSOR_JUMP + more, source=beginning.source)
    settings = {
        "directory_time": repr(directory_time),
        FENCE_FLOOR_SETTING: str(floor),
        STATE_SETTING: encode(state).decode(),
        EPOCHS_SETTING: encode(epochs).decode(),
    }
    for name, value in settings.items():
        db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, value))
    db.execute("DELETE FROM setting WHERE name = 'ticket_key'")


def _setting(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _latest_sign_of_life(db: sqlite3.Connection, epochs: EpochRecord) -> float:
    """When this metadata was surely in use; 0 when nothing tells. Too early a time costs numbers, a late one safety."""
    started = [epoch.started_at for epoch in epochs.epochs[-1:]]
    changed = db.execute("SELECT at FROM journal ORDER BY cursor DESC LIMIT 1").fetchone()
    return max([*started, *(changed or ())], default=0.0)


def _not_yet_recovered(db: sqlite3.Connection, newest: int) -> int:
    """Behind which change something may be missing: behind the newest, or where an unfinished recovery began."""
    stored = _setting(db, STATE_SETTING)
    before = decode_state(stored) if stored else None
    if before is None or before.finished:
        return newest
    known = {row[0] for row in db.execute("SELECT id FROM file_server WHERE state != 'removed'")}
    return min(newest, before.backup_cursor) if not known or known - set(before.done) else newest


def _jump(db: sqlite3.Connection, table: str, column: str, by: int) -> int:
    """Let the numbers of a table go on `by` ahead; the highest that was given."""
    newest = max(
        db.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table}"').fetchone()[0],  # noqa: S608 - our own names
        db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()[0],
    )
    db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, newest + by))
    return int(newest)


def _keep_aside(metadata: Path, now: float) -> Path:
    """Give the metadata a second name, under which it stays when the first is another's."""
    kept = metadata.with_name(f"{metadata.name}.replaced-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}")
    if kept.exists():
        raise Conflict(f"{kept} exists: try again in a second")
    with suppress(sqlite3.Error, LockstepError), closing(sqlite3.connect(metadata, isolation_level=None)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    forget_checks(metadata)  # the checksums of the old one's pages would condemn the new one
    # A log that stays would be played into the new metadata. What could not be folded in goes along with the old.
    for suffix in _SIDE_FILES:
        side = metadata.with_name(metadata.name + suffix)
        if side.exists():
            side.rename(kept.with_name(kept.name + suffix))
    os.link(metadata, kept)
    return kept


def _put(prepared: Path, metadata: Path) -> None:
    """In one step: after a crash the folder has the old metadata or the new."""
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
