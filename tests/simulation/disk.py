"""A disk that loses unsynced data in a power cut.

It writes real files in a temporary folder, and knows of each change that is not durable yet. What SQLite commits is
durable: it syncs its own files, and that is not what is tested here.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from random import Random

from file_server.store.local.disk import Disk
from lockstep_store.runtime.storage.sealing import Bytes

CAPACITY = 1 << 40


class ForgetfulDisk(Disk):
    """One machine's disk; it outlives the machine's processes.

    `broken[site]` is the errno with which a way of writing fails. `power_cut` undoes a random part of what was not
    made durable.
    """

    def __init__(self, root: Path, random: Random) -> None:
        self._root = root
        self._random = random
        self._unsynced: dict[Path, None] = {}
        self._open: dict[int, Path] = {}
        self._renamed: dict[Path, Path | None] = {}  # the new name: what lay there before
        self._folders: dict[Path, None] = {}  # made, and their own names not durable
        self._saved = 0
        self.broken: dict[str, int] = {}
        self.lost = 0

    def write_new(self, path: Path, parts: list[Bytes]) -> int:
        self._maybe_fail("write_new")
        descriptor = super().write_new(path, parts)
        self._unsynced[path] = None
        self._open[descriptor] = path
        return descriptor

    def sync_and_close(self, descriptor: int) -> None:
        path = self._open.pop(descriptor, None)
        super().sync_and_close(descriptor)
        self._maybe_fail("sync_and_close")
        if path is not None:
            self._unsynced.pop(path, None)

    def rename(self, source: Path, target: Path) -> None:
        self._maybe_fail("rename")
        if not target.parent.exists():
            self._folders[target.parent] = None  # the program makes it now, and tries again
        saved = None
        if target.exists():
            saved = self._root / f".before-{self._saved}"
            self._saved += 1
            shutil.copyfile(target, saved)
        super().rename(source, target)
        if source in self._unsynced:
            del self._unsynced[source]
            self._unsynced[target] = None
        if target in self._renamed:
            self._forget(saved)
        else:
            self._renamed[target] = saved

    def sync_folder(self, folder: Path) -> None:
        self._maybe_fail("sync_folder")
        for target in [target for target in self._renamed if target.parent == folder]:
            self._forget(self._renamed.pop(target))
        for made in [made for made in self._folders if made.parent == folder]:
            del self._folders[made]

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._unsynced.pop(path, None)
        self._forget(self._renamed.pop(path, None))

    def space(self, path: Path) -> tuple[int, int]:
        return CAPACITY, 0 if "space" in self.broken else CAPACITY // 2

    def power_cut(self) -> None:
        """Lose some of the unsynced data."""
        for target, saved in list(self._renamed.items()):
            if self._random.random() < 0.7 and target.exists():
                target.unlink()
                self.lost += 1
                if saved is not None:
                    saved.replace(target)
                    saved = None
            self._forget(saved)
        for folder in self._folders:
            if self._random.random() < 0.7 and folder.exists():
                shutil.rmtree(folder)
                self.lost += 1
        for path in self._unsynced:
            if path.exists() and self._random.random() < 0.8:
                size = path.stat().st_size
                kept = self._random.randrange(size + 1)
                os.truncate(path, kept)
                os.truncate(path, size if self._random.random() < 0.5 else kept)  # zeroes, or a short file
                self.lost += 1
        self._renamed.clear()
        self._folders.clear()
        self._unsynced.clear()

    def _forget(self, saved: Path | None) -> None:
        if saved is not None:
            saved.unlink(missing_ok=True)

    def _maybe_fail(self, site: str) -> None:
        number = self.broken.get(site)
        if number is not None:
            raise OSError(number, os.strerror(number))


FULL, BROKEN = errno.ENOSPC, errno.EIO
