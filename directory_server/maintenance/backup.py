"""Backups: makes a verified copy of the metadata as of one moment, without blocking writers.

The copy is made and checked on the directory's own disk and then streamed, so neither this program nor the proxy
holds it in memory. It contains everything the directory knows, including secrets: the ticket key, password hashes, S3
secrets. It contains no file content, and not the authority in certs/. restore.py restores it.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.maintenance.redo_log import to_wire
from directory_server.metadata.engines.sqlite.backup import count_rows, find_defects
from directory_server.metadata.statements import people
from directory_server.metadata.statements.redo import HistoryPlace
from directory_server.metadata.store import MetadataStore
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.storage.sqlite_files import open_database, read_only
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.backup_file import BLOCK_BYTES, digest_of, header_of
from lockstep_store.wire.errors import Conflict, Damaged, LockstepError, StorageFull, Unavailable
from lockstep_store.wire.messages.recovery import BackupInfo

LAST_BACKUP_SETTING = "last_backup"
"""When the newest backup was made that somebody fetched to its end; absent if none was since the last restore."""
CONTENT_TYPE = "application/vnd.lockstep.backup"
_PART = "backup-*.part"
_NEWEST_RECORD = "SELECT sequence, chain FROM redo_record ORDER BY sequence DESC LIMIT 1"


class Backups:
    """Makes one backup at a time, in `folder`, the metadata's own."""

    def __init__(self, store: MetadataStore, clock: DirectoryClock, folder: Path, version: str) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._version = version
        self._one = threading.Lock()
        for left_over in folder.glob(f"{_PART}*"):  # with the copy's own journal
            left_over.unlink(missing_ok=True)

    def stream(self) -> RawReply:
        """Make a backup and return it as a reply with a declared length.

        Raises Conflict while another backup is being made, StorageFull if the disk has no room for the copy, and
        Damaged if the metadata is damaged.
        """
        if not self._one.acquire(blocking=False):
            raise Conflict("another backup is being made; try again when it is done")
        try:
            info, file = self._make()
        finally:
            self._one.release()
        header = header_of(info)
        length = len(header) + info.size
        headers = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(length)), ("Cache-Control", "no-store")]
        return RawReply(200, headers, self._blocks(info, header, file))

    def _make(self) -> tuple[BackupInfo, BinaryIO]:
        path = self._folder / _PART.replace("*", secrets.token_hex(6))
        try:
            self._check_room()
            rows = self._store.copy_to(path)
            cursor, place = self._verify(path, rows)
            with path.open("rb") as file:
                digest, size = digest_of(file)
            info = BackupInfo(
                made_at=self._clock.wall(),
                lockstep=self._version,
                engine="sqlite",
                cursor=cursor,
                files=rows["current"],
                versions=rows["version"],
                blobs=rows["blob"],
                rows=rows,
                size=size,
                digest=digest,
                redo=to_wire(place),
            )
            log.info("made a backup of %d versions up to cursor %d", info.versions, cursor)
            return info, path.open("rb")
        except OSError as error:
            raise Unavailable(f"the directory cannot write the backup to its disk ({error.strerror})") from error
        finally:
            # The stream has the file open. Unlinking it now leaves no copy behind, however the stream ends.
            path.unlink(missing_ok=True)

    def _check_room(self) -> None:
        parts = (self._folder / name for name in ("metadata.db", "metadata.db-wal"))
        needed = sum(part.stat().st_size for part in parts if part.exists())
        if shutil.disk_usage(self._folder).free < needed + (64 << 20):
            raise StorageFull(
                f"no room for the backup on the directory's disk, where it is made first: {needed} bytes are needed; "
                "free some space"
            )

    def _verify(self, path: Path, rows: dict[str, int]) -> tuple[int, HistoryPlace | None]:
        """Return the newest cursor and redo record of an intact copy with these rows; else raise Damaged."""
        try:
            with closing(open_database(f"{read_only(path)}&immutable=1", uri=True)) as copy:
                defects = find_defects(copy)
                if not defects and count_rows(copy) != rows:
                    defects = ["the copy's row counts differ from the metadata's"]
                cursor = copy.execute("SELECT coalesce(max(cursor), 0) FROM journal").fetchone()[0]
                row = copy.execute(_NEWEST_RECORD).fetchone()
                place = None if row is None else HistoryPlace(*row)
        except sqlite3.Error as error:
            defects = [str(error)]
        if defects:
            raise Damaged(f"the metadata is damaged ({defects[0]}); restore an older backup, and check the disk")
        return int(cursor), place

    def _blocks(self, info: BackupInfo, header: bytes, file: BinaryIO) -> Iterator[bytes]:
        with file:
            yield header
            while block := file.read(BLOCK_BYTES):
                yield block
        try:
            made_at = repr(info.made_at)
            self._store.write(lambda tx: people.write_setting(tx, LAST_BACKUP_SETTING, made_at))
        except LockstepError as error:
            log.warning("a backup was made, but the status cannot say so: %s", error)
