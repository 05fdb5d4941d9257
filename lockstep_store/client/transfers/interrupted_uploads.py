"""A note of the large uploads that were begun and not finished, so that the next attempt asks what has arrived."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path


class InterruptedUploads:
    """One empty file per upload under way. It is only a hint: without it nothing breaks, some bytes travel again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, bucket: str, path: str, size: int) -> bool:
        """Note that the upload begins. True: the same one was begun before and did not end."""
        note = self._note(bucket, path, size)
        if note.exists():
            return True
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.touch(mode=0o600)
        return False

    def done(self, bucket: str, path: str, size: int) -> None:
        """The upload ended well, or was refused for good."""
        with contextlib.suppress(OSError):
            self._note(bucket, path, size).unlink(missing_ok=True)

    def _note(self, bucket: str, path: str, size: int) -> Path:
        # Without the time of last change: a file touched meanwhile still shares most chunks with what has arrived.
        # Without the proxy: another one, which does not know what this person sent, asks for every byte.
        name = hashlib.sha256("\0".join((bucket, path, str(size))).encode("utf-8", "surrogatepass"))
        return self._folder / name.hexdigest()[:40]
