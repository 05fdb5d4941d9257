"""Every operation on chunk files, one method each, so that tests can use a disk that breaks.

disk_layout.py decides where files are; storage_health.py turns an `OSError` into a refusal.
"""

from __future__ import annotations

import os
from pathlib import Path

from lockstep_store.runtime.storage.sealing import Bytes


class Disk:
    """The machine's file system. Every method raises OSError when it fails."""

    def write_new(self, path: Path, parts: list[Bytes]) -> int:
        """Write `parts` to a new file and return its open descriptor. Not durable yet."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._write_all(descriptor, parts)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def sync_and_close(self, descriptor: int) -> None:
        """Make a written file's bytes and length durable."""
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file over `target`; durable once the target's folder is synced."""
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in `folder` durable."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file; safe to repeat."""
        path.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes:
        """Return the content of a file."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            data = os.read(descriptor, size)
            while len(data) < size:
                more = os.read(descriptor, size - len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(descriptor)

    def space(self, path: Path) -> tuple[int, int]:
        """Return (capacity, free for this program) in bytes of the disk that has `path`."""
        figures = os.statvfs(path)
        return figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize

    def _write_all(self, descriptor: int, parts: list[Bytes]) -> None:
        views = [memoryview(part) for part in parts]
        while views:
            written = os.writev(descriptor, views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if views:
                views[0] = views[0][written:]
