"""The calls that maintain the directory: fsck, backup, recovery. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.client.local_storage import LocalFileError, local_problem
from lockstep_store.wire.backup_file import check
from lockstep_store.wire.messages.recovery import BackupInfo, FsckReport, RecoveryInfo, RecoveryReply
from lockstep_store.wire.messages.redo import RedoPlace, RedoReply

BACKUP_SECONDS = 3600.0
"""The directory copies and checks all of its metadata before the first byte."""


class MaintenanceCalls(ApiCaller):
    """The calls that maintain the directory, for administrators."""

    def start_fsck(self, *, deep: bool = False) -> FsckReport:
        """Start a check of metadata and disks, with `deep` of every byte. Returns a check that is already running."""
        return self._ask(FsckReport, "POST", "/api/v1/cluster/fsck", message={"deep": deep}, repeatable=True)

    def fsck_report(self) -> FsckReport:
        return self._ask(FsckReport, "GET", "/api/v1/cluster/fsck")

    def recovery(self) -> RecoveryInfo | None:
        """Return the progress of recovery; None when the directory was never restored from a backup."""
        return self._ask(RecoveryReply, "GET", "/api/v1/cluster/recovery").recovery

    def recover(self, *, finish: bool = False, unnamed: str = "keep") -> RecoveryInfo | None:
        message = {"finish": finish, "unnamed": unnamed}
        return self._ask(RecoveryReply, "POST", "/api/v1/cluster/recovery", message=message, repeatable=True).recovery

    def backup(self, target: Path) -> BackupInfo:
        """Write a checked backup of the directory to the new file `target` (mode 0600).

        On return the file is complete and durable; after an error there is none.
        """
        if target.exists():
            raise _exists(target)
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            info = self._fetch(target, part)
            os.link(part, target)
            _flush_folder(target.parent)
            return info
        except FileExistsError:
            raise _exists(target) from None
        except OSError as error:
            raise local_problem("write the backup", target, error) from error
        finally:
            part.unlink(missing_ok=True)

    def redo_records(self, after: RedoPlace) -> RedoReply:
        """What the directory changed behind a place in its history (administrators)."""
        place = {"after": str(after.sequence), "chain": after.chain} if after.sequence else None
        return self._ask(RedoReply, "GET", "/api/v1/cluster/backup/records", params=place)

    def _fetch(self, target: Path, part: Path) -> BackupInfo:
        from lockstep_store.client.api.transport import body_blocks

        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            response = self.transport.request(
                "GET", "/api/v1/cluster/backup", stream=True, read_seconds=BACKUP_SECONDS, repeatable=False
            )
            with response:
                for block in body_blocks(response, self.url):
                    file.write(block)
            file.flush()
            os.fsync(descriptor)
            file.seek(0)
            return check(file, str(target))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(target: Path) -> LocalFileError:
    return LocalFileError(f"{target} already exists, and a backup never overwrites a file: choose another name")
