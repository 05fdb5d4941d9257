"""The folder of a continuous backup: whole backups, and files of redo records behind them.

    base-<record>.backup    a backup, named by the record that it reaches
    redo-<record>.log       the records behind that one, to where the next file begins

A backup gets its name when it is whole and durable; records are flushed as they are appended. So whatever is killed,
the newest backup and the records behind it can be restored. What they replace is removed only after that.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from lockstep_store.client.local_storage import LocalFileError, local_problem
from lockstep_store.runtime.storage.process_lock import claim
from lockstep_store.runtime.storage.redo_files import RedoAppender, batches_in, files_in, flush_folder
from lockstep_store.wire.errors import LockstepError, SetupError
from lockstep_store.wire.messages.redo import RedoPlace

BASES = "base-*.backup"


class BackupFolder:
    """One folder that one process writes to."""

    def __init__(self, path: Path) -> None:
        """LocalFileError when the folder cannot be used, SetupError while another process follows into it."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = claim(path / ".lock", "`lockstep backup --follow`", path, "folder")
            for left_over in path.glob(".base-*.part*"):
                left_over.unlink()
            self.records = RedoAppender(path)
        except OSError as error:
            raise local_problem("use", path, error) from error
        except SetupError:
            raise
        except LockstepError as error:
            raise LocalFileError(f"{error}; or follow into an empty folder") from error

    @property
    def place(self) -> RedoPlace:
        """How far its records are durable; sequence 0 before the first."""
        return self.records.place or RedoPlace()

    @property
    def newest_base(self) -> tuple[Path, int] | None:
        """The newest whole backup, and the record that it reaches."""
        found = sorted(self.path.glob(BASES))
        return (found[-1], _number(found[-1])) if found else None

    def is_whole(self) -> bool:
        """Whether the records lead from the newest backup to `place`. Reads all of them."""
        base = self.newest_base
        if base is None or self.place.sequence < base[1]:
            return False
        reached = base[1]
        try:
            for batch in batches_in(files_in(self.path), base[1]):
                reached = batch.through.sequence
        except LockstepError:
            return False
        return reached == self.place.sequence

    def part(self) -> Path:
        """Where a backup is fetched to."""
        return self.path / ".base-new.part"

    def keep_base(self, sequence: int) -> None:
        """Give the fetched backup, durable by itself, its name."""
        self.part().rename(self.path / f"base-{sequence:016}.backup")
        flush_folder(self.path)

    def record_bytes(self) -> int:
        """The length of all files of records."""
        return sum(file.stat().st_size for file in files_in(self.path))

    def remove_older(self) -> None:
        """Remove what the newest backup replaces: older ones, and files whose records it has."""
        newest = self.newest_base
        if newest is None:
            return
        for base in self.path.glob(BASES):
            if base != newest[0]:
                base.unlink(missing_ok=True)
        files = files_in(self.path)
        for file, following in pairwise(files):
            if _number(following) <= newest[1]:
                file.unlink(missing_ok=True)
        flush_folder(self.path)

    def close(self) -> None:
        """Let another process have the folder."""
        self.records.close()
        os.close(self._lock)


def _number(path: Path) -> int:
    return int(path.name.split("-")[1].split(".")[0])
