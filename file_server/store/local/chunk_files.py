"""Chunk files: written to incoming/, synced in the background, moved into place, read, removed and quarantined.

A file has the stored name of its chunk's digest (sealed_names.py). It is synced in a small pool while the next chunks
arrive; a large upload would otherwise wait for a thousand syncs at its end. The index (chunk_index.py) decides which
chunks are held: a file without a row there is an orphan.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from file_server.store.local.disk import Disk
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.flush_watch import FlushWatch
from file_server.store.local.index_transaction import StagedChunk
from file_server.store.local.sealed_names import SealedNames
from lockstep_store.runtime.storage.sealing import Bytes
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest

SYNC_THREADS = 4
MAX_WAITING_SYNCS = 32
"""Files written but not yet synced, in all uploads: bounds open descriptors and dirty pages."""


class ChunkFiles:
    """The chunk files of one data folder. Thread-safe; methods raise OSError."""

    def __init__(
        self, layout: DiskLayout, names: SealedNames, disk: Disk, flushes: FlushWatch, reserve_bytes: int = 0
    ) -> None:
        self._layout = layout
        self._names = names
        self._disk = disk
        self._flushes = flushes
        self._reserve_bytes = reserve_bytes
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self._room = threading.BoundedSemaphore(MAX_WAITING_SYNCS)
        self._settled: set[Path] = set()
        self._placing: Counter[Digest] = Counter()
        self._placing_guard = threading.Lock()

    def close(self) -> None:
        """Finish the pending syncs."""
        self._pool.shutdown(wait=True)

    def path(self, digest: Digest) -> Path:
        """Return the path of a chunk's file."""
        return self._layout.chunk_file(self._names.name(digest))

    def write_temporary(self, parts: list[Bytes]) -> tuple[Path, Future[None]]:
        """Write a new file in incoming/; the future completes when it is durable, or has the failure."""
        self.check_room(sum(len(part) for part in parts))
        path = self._layout.temporary_file()
        self._room.acquire()
        try:
            with self._flushes.waiting():
                descriptor = self._disk.write_new(path, parts)
            crash_point("file_server.file.written")
            return path, self._pool.submit(self._sync, descriptor)
        except BaseException:
            self._room.release()
            self._remove_quietly(path)
            raise

    def discard(self, path: Path) -> None:
        """Remove a temporary file, if it is still there."""
        self._remove_quietly(path)

    @contextmanager
    def placing(self, chunks: list[StagedChunk]) -> Iterator[None]:
        """Move the chunks' synced files into place, durably; the caller records them inside the block.

        Until the block ends these files are not orphans, although the index does not have them yet.
        """
        filed = [chunk for chunk in chunks if chunk.temporary is not None]
        if not filed:
            yield
            return
        with self._placing_guard:
            self._placing.update(chunk.digest for chunk in filed)
        try:
            folders = set()
            for chunk in filed:
                target = self.path(chunk.digest)
                assert chunk.temporary is not None
                crash_point("file_server.file.renaming")
                try:
                    self._disk.rename(chunk.temporary, target)
                except FileNotFoundError:
                    target.parent.mkdir(exist_ok=True)
                    self._disk.rename(chunk.temporary, target)
                crash_point("file_server.file.renamed")
                folders.add(target.parent)
            with self._flushes.waiting():
                self._settle(folders)
            for folder in folders:
                with self._flushes.waiting():
                    self._disk.sync_folder(folder)
                crash_point("file_server.folder.synced")
            yield
        finally:
            with self._placing_guard:
                self._placing.subtract(chunk.digest for chunk in filed)
                for chunk in filed:
                    if self._placing[chunk.digest] <= 0:
                        del self._placing[chunk.digest]

    def read(self, digest: Digest) -> bytes:
        """Return the sealed bytes of a chunk that is stored in its own file."""
        return self._disk.read(self.path(digest))

    def read_start(self, digest: Digest, count: int) -> bytes:
        """Return the first `count` bytes of a chunk's file."""
        with self.path(digest).open("rb") as file:
            return file.read(count)

    def remove_orphan(self, digest: Digest, is_held: Callable[[Digest], bool]) -> bool:
        """Remove a chunk's file unless the index holds it or a write is just moving it into place."""
        with self._placing_guard:
            # Both checks under one lock: a write leaves `placing` only after its row is committed.
            if digest in self._placing or is_held(digest):
                return False
            self._remove_quietly(self.path(digest))
            return True

    def digests_in(self, folder: Path) -> Iterator[Digest]:
        """Yield the chunks whose files are in one of the chunk folders."""
        for path in folder.iterdir() if folder.exists() else ():
            digest = self._names.of_file(path.name)
            if digest is None:
                log.warning("%s is not a chunk file; leaving it alone", path)
            else:
                yield digest

    def quarantine_file(self, digest: Digest, is_held: Callable[[Digest], bool]) -> None:
        """Move a damaged chunk's file to quarantine, unless a good one has just replaced it."""
        with self._placing_guard:
            if digest in self._placing or is_held(digest):
                return
            try:
                self._disk.rename(self.path(digest), self._layout.quarantine_file(self._names.name(digest)))
            except FileNotFoundError:
                log.warning("the file of damaged chunk %s is gone; nothing is left to quarantine", digest)

    def quarantine_bytes(self, digest: Digest, sealed: bytes) -> None:
        """Write a damaged chunk from the index to a file in quarantine."""
        self._disk.sync_and_close(
            self._disk.write_new(self._layout.quarantine_file(self._names.name(digest)), [sealed])
        )

    def probe(self, size: int = 64 * 1024) -> None:
        """Write, sync and remove a file. Raises OSError if the disk refuses it."""
        self.check_room(size)
        path = self._layout.temporary_file()
        try:
            self._disk.sync_and_close(self._disk.write_new(path, [bytes(size)]))
            self._disk.sync_folder(path.parent)
            crash_point("file_server.probe.written")
        finally:
            self._remove_quietly(path)

    def check_room(self, size: int = 0) -> None:
        """Raise OSError (no space) if `size` more bytes would use the reserve.

        The index needs the reserve to delete rows, and so to free space again.
        """
        if self.space()[1] < self._reserve_bytes + size:
            raise OSError(errno.ENOSPC, "the disk is full down to the reserve")

    def space(self) -> tuple[int, int]:
        """Return (capacity, free) in bytes."""
        return self._disk.space(self._layout.root)

    def _settle(self, folders: set[Path]) -> None:
        """Make the folders' own names durable, once each.

        An existing folder proves nothing: its creator may have failed or died before it flushed the name.
        """
        if folders <= self._settled:
            return
        present = set(self._layout.chunks.iterdir())
        self._disk.sync_folder(self._layout.chunks)
        self._settled |= present

    def _sync(self, descriptor: int) -> None:
        try:
            with self._flushes.waiting():
                self._disk.sync_and_close(descriptor)
            crash_point("file_server.file.synced")
        finally:
            self._room.release()

    def _remove_quietly(self, path: Path) -> None:
        """Remove a file without raising: that would hide the failure that made it necessary. The sweep tries again."""
        try:
            self._disk.remove(path)
        except OSError as error:
            log.warning("cannot remove %s: %s", path, error)
