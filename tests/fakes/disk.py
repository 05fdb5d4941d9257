"""A disk with switches that make any kind of write fail or hang."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from file_server.store.local.disk import Disk
from lockstep_store.runtime.storage.sealing import Bytes

WRITE_SITES = ("write_new", "sync_and_close", "rename", "sync_folder")


class BrokenDisk(Disk):
    """The machine's disk until `broken[site]` names an errno; `free` makes it report so much space.

    A `hanging` site waits until its event is set; `reached` is set as soon as something waits there.
    """

    def __init__(self) -> None:
        self.broken: dict[str, int] = {}
        self.hanging: dict[str, threading.Event] = {}
        self.reached = threading.Event()
        self.free: int | None = None

    def break_all(self, number: int = errno.ENOSPC) -> None:
        self.broken = dict.fromkeys(WRITE_SITES, number)

    def repair(self) -> None:
        self.broken = {}
        self.free = None

    def write_new(self, path: Path, parts: list[Bytes]) -> int:
        self._maybe_hang("write_new")
        number = self.broken.get("write_new")
        if number is not None:
            os.close(super().write_new(path, [b"half of it"]))  # a full disk takes some of the bytes first
            raise OSError(number, os.strerror(number))
        return super().write_new(path, parts)

    def sync_and_close(self, descriptor: int) -> None:
        self._maybe_hang("sync_and_close")
        super().sync_and_close(descriptor)
        self._maybe_fail("sync_and_close")

    def rename(self, source: Path, target: Path) -> None:
        self._maybe_fail("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._maybe_hang("sync_folder")
        self._maybe_fail("sync_folder")
        super().sync_folder(folder)

    def space(self, path: Path) -> tuple[int, int]:
        capacity, free = super().space(path)
        return capacity, free if self.free is None else self.free

    def _maybe_hang(self, site: str) -> None:
        let_go = self.hanging.get(site)
        if let_go is not None:
            self.reached.set()
            assert let_go.wait(60), f"{site} was never let go"

    def _maybe_fail(self, site: str) -> None:
        number = self.broken.get(site)
        if number is not None:
            raise OSError(number, os.strerror(number))
