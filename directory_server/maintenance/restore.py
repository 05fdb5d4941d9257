"""Restores a stopped directory's metadata, all or nothing, on the directory's machine.

The source is a backup, the metadata in place (accepted although it is older than file servers' records), or nothing
(for a cluster that lost all its metadata). Since the source was made, locks were granted, versions made and tickets
issued. So before the metadata goes into place, every counter jumps far ahead of the numbers that may have been used,
the ticket key is discarded, and locks, waiters, log-ins and join secrets are deleted. Log-ins, because one that was
ended after the backup must not be valid again. recovery.py then finds lost versions and blobs.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from directory_server.maintenance.replay import open_folder, replay
from directory_server.maintenance.safe_to_start import RestoredFrom, SqliteFile, StoppedMetadata, make_safe
from directory_server.metadata.engines.sqlite.backup import count_rows, find_defects, flush
from directory_server.metadata.engines.sqlite.page_checksums import forget_checks
from directory_server.metadata.engines.sqlite.store import own
from directory_server.metadata.migrate import bring_up_to_date
from lockstep_store.runtime.storage.sqlite_files import open_database
from lockstep_store.wire.backup_file import check, read_header
from lockstep_store.wire.errors import Conflict, Damaged, LockstepError, SetupError
from lockstep_store.wire.messages.recovery import BackupInfo
from lockstep_store.wire.messages.redo import RedoBatch

_SIDE_FILES = ("-wal", "-shm", "-journal")


class Database(Protocol):
    """A database of another engine that no directory uses."""

    def is_empty(self) -> bool:
        """Whether there is no metadata in it."""
        ...

    def has_accounts(self) -> bool:
        """Whether a cluster uses the metadata."""
        ...

    def changing(self) -> AbstractContextManager[StoppedMetadata]:
        """Run a transaction without redo records. Raises SetupError while a directory uses the database."""
        ...


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
        beginning = RestoredFrom("backup", info.made_at)
        if records:
            info = _replay(prepared, info, records)
            beginning = RestoredFrom("backup", info.made_at)
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
        _prepare(prepared, RestoredFrom("older"), wall())
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
        _prepare(prepared, RestoredFrom("nothing", made_at), wall())
        _put(prepared, metadata)


def accept_older_database(database: Database, *, wall: Callable[[], float] = time.time) -> None:
    """The same for metadata in PostgreSQL, in one transaction. No copy is kept: that is for PostgreSQL's own backups.

    Raises SetupError while a directory runs, or if there is no metadata.
    """
    if database.is_empty():
        raise SetupError(f"there is no metadata in {database}; name the directory's database with --metadata")
    with database.changing() as db:
        make_safe(db, RestoredFrom("older"), wall())


def begin_again_in(database: Database, made_at: float, *, wall: Callable[[], float] = time.time) -> None:
    """The same as `begin_again`, in an empty database of PostgreSQL."""
    with database.changing() as db:
        make_safe(db, RestoredFrom("nothing", made_at), wall())


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


def _prepare(prepared: Path, beginning: RestoredFrom, now: float, rows: dict[str, int] | None = None) -> None:
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
            make_safe(SqliteFile(db), beginning, now)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise Damaged(f"the metadata is unusable ({error}); restore another backup") from error
    flush(prepared)


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
