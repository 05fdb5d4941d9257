"""Remembers large uploads that did not finish, so that the next attempt asks which chunks have arrived."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path


class InterruptedUploads:
    """One empty file for each upload in progress. If it is lost, some bytes are sent twice, nothing worse."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, bucket: str, path: str, size: int) -> bool:
        """Record that an upload begins. Returns whether the same upload began before and did not finish."""
        note = self._note(bucket, path, size)
        if note.exists():
            return True
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.touch(mode=0o600)
        return False

    def done(self, bucket: str, path: str, size: int) -> None:
        """Forget an upload that succeeded or was refused permanently."""
        with contextlib.suppress(OSError):
            self._note(bucket, path, size).unlink(missing_ok=True)

    def _note(self, bucket: str, path: str, size: int) -> Path:
        # The name leaves out the modification time: a changed file still shares most chunks with what has arrived.
        # It leaves out the proxy: another proxy does not know which chunks were sent, and requests them all.
        name = hashlib.sha256("\0".join((bucket, path, str(size))).encode("utf-8", "surrogatepass"))
        return self._folder / name.hexdigest()[:40]
