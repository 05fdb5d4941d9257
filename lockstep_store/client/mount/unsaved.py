"""Content that is not in the cluster: while a program writes it, and when it could not be saved.

Each file that is written has its content in `spool/`, with a note beside it that says which file it is. What cannot be
saved goes to `unsaved/`, under its own name, and stays there until a person removes it. So does what a killed process
left in the spool.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path

import msgspec

_NOTE = ".json"


class SpoolNote(msgspec.Struct):
    """What a file in the spool is."""

    bucket: str
    key: str


class Unsaved:
    """The two folders. One process uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "unsaved"
        self._spool = folder / "spool"
        self._numbers = itertools.count(1)
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)

    def new_file(self, bucket: str, key: str) -> Path:
        """Return the path for a file's content, noted."""
        path = self._spool / f"{os.getpid()}-{next(self._numbers)}"
        self.note(path, bucket, key)
        return path

    def note(self, path: Path, bucket: str, key: str) -> None:
        """Note which file the content at `path` is, again when it is renamed."""
        path.with_suffix(_NOTE).write_bytes(msgspec.json.encode(SpoolNote(bucket, key)))

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
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(target)
        path.with_suffix(_NOTE).unlink(missing_ok=True)
        return target

    def keep_what_was_left(self) -> list[Path]:
        """Keep what an earlier process left in the spool; return the places."""
        kept = []
        for note in sorted(self._spool.glob(f"*{_NOTE}")):
            path = note.with_suffix("")
            with contextlib.suppress(msgspec.DecodeError):  # killed while it wrote the note, before any content
                if path.exists():
                    kept.append(self.keep(path))
            self.drop(path)
        return kept
