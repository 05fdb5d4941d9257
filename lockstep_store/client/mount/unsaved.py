"""Content that is not in the cluster: while a program writes it, and when it could not be saved.

Each file that is written has its content in `spool/`, with a note beside it that says which file it is. What cannot be
saved goes to `unsaved/`, under its own name, and stays there until a person removes it. So does what a killed process
left in the spool. A process locks its part of the spool: one that was detached may still save while the next begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import tempfile
import time
from pathlib import Path

import msgspec

from lockstep_store.client.local_storage import make_private

_NOTE = ".json"


class SpoolNote(msgspec.Struct):
    """What a file in the spool is."""

    bucket: str
    key: str


class Unsaved:
    """The two folders of a mounted folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "unsaved"
        self._spools = folder / "spool"
        self._numbers = itertools.count(1)
        make_private(self._spools)
        self._spool = Path(tempfile.mkdtemp(dir=self._spools))
        self._lock = _lock(self._spool)

    def new_file(self, bucket: str, key: str) -> Path:
        """Return the path for a file's content, noted."""
        path = self._spool / str(next(self._numbers))
        self.note(path, bucket, key)
        return path

    def note(self, path: Path, bucket: str, key: str) -> None:
        """Note which file the content at `path` is, again when it is renamed. A killed process leaves either note."""
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(SpoolNote(bucket, key)))
        part.replace(path.with_suffix(_NOTE))

    def drop(self, path: Path) -> None:
        """Remove content that was saved, or is not wanted."""
        path.unlink(missing_ok=True)
        path.with_suffix(_NOTE).unlink(missing_ok=True)

    def keep(self, path: Path) -> Path:
        """Move content to where a person finds it; return that place."""
        note = msgspec.json.decode(path.with_suffix(_NOTE).read_bytes(), type=SpoolNote)
        stamp = time.strftime("%Y-%m-%d-%H%M%S")
        parts = [part for part in note.key.split("/") if part not in ("", ".", "..")]
        for turn in itertools.count():
            target = self.folder.joinpath(stamp if not turn else f"{stamp}-{turn}", note.bucket, *parts)
            if not target.exists():
                break
        make_private(target.parent)
        path.replace(target)
        path.with_suffix(_NOTE).unlink(missing_ok=True)
        return target

    def keep_what_was_left(self) -> list[Path]:
        """Keep what processes that have ended left in the spool; return the places."""
        kept = []
        for spool in sorted(self._spools.iterdir()):
            lock = _lock(spool)
            if lock is None:
                continue
            for note in sorted(spool.glob(f"*{_NOTE}")):
                path = note.with_suffix("")
                with contextlib.suppress(msgspec.DecodeError):  # killed while it wrote the note, before any content
                    if path.exists():
                        kept.append(self.keep(path))
                self.drop(path)
            os.close(lock)
            with contextlib.suppress(OSError):
                spool.rmdir()
        return kept

    def close(self) -> None:
        """Give up the spool, which is empty when everything was saved or kept."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        with contextlib.suppress(OSError):
            self._spool.rmdir()


def _lock(folder: Path) -> int | None:
    """Lock a folder until the process ends; None if another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
