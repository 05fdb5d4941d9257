"""Content that was read, on this machine's disk, by digest. Every chunk is checked when it is used.

Nothing here is needed: whatever is lost or damaged is fetched again. One process uses a folder.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

from lockstep_store.client.local_storage import make_private
from lockstep_store.wire.digest import Digest, chunk_digest

BLOCK_BYTES = 4096
"""What a small file takes on most disks."""


class ChunkCache:
    """At most about `limit_bytes` of chunks in `folder`; those that were used least recently go first."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._guard = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._used = 0
        make_private(folder)
        for _, name, size in sorted(_found(folder)):
            self._note(name, size)
        self._shrink()

    def get(self, digest: Digest) -> bytes | None:
        """Return the chunk, or None if it is not there or damaged."""
        name = str(digest)
        with self._guard:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        data = None
        with contextlib.suppress(OSError):
            data = self._path(name).read_bytes()
        if data is None or chunk_digest(data) != digest:
            self._drop(name)
            return None
        return data

    def has(self, digest: Digest) -> bool:
        """Whether the chunk seems to be there."""
        with self._guard:
            return str(digest) in self._sizes

    def put(self, digest: Digest, data: bytes) -> None:
        """Keep a chunk. A full disk is no error: then it is not kept."""
        name = str(digest)
        if len(data) > self._limit or self.has(digest):
            return
        path = self._path(name)
        part = path.with_name(f"{name}.{threading.get_ident()}.part")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return
        with self._guard:
            self._note(name, len(data))
        self._shrink()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _note(self, name: str, size: int) -> None:
        if name not in self._sizes:
            self._sizes[name] = -(-size // BLOCK_BYTES) * BLOCK_BYTES
            self._used += self._sizes[name]

    def _shrink(self) -> None:
        while True:
            with self._guard:
                if self._used <= self._limit or not self._sizes:
                    return
                name = next(iter(self._sizes))
            self._drop(name)

    def _drop(self, name: str) -> None:
        with self._guard:
            self._used -= self._sizes.pop(name, 0)
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)


def _found(folder: Path) -> list[tuple[float, str, int]]:
    """Every chunk in the folder, with its time and size. What a killed process left half written is removed."""
    found = []
    for part, _, names in os.walk(folder):
        for name in names:
            path = Path(part, name)
            with contextlib.suppress(OSError):
                if name.endswith(".part"):
                    path.unlink()
                else:
                    status = path.stat()
                    found.append((status.st_mtime, name, status.st_size))
    return found
