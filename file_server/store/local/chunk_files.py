"""Chunk files: written to incoming/, synced in the background, moved into place, read, removed and quarantined.

A large upload would pay a thousand syncs at its end; here each file's sync runs in a small pool while the next chunks
arrive. Which chunks count as held is the index's to say (chunk_index.py): a file without a row there is an orphan.
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
from lockstep_store.runtime.storage.sealing import Bytes
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest

SYNC_THREADS = 4
MAX_WAITING_SYNCS = 32
"""Files written but not yet synced, over all uploads: bounds open descriptors and unwritten pages."""


class ChunkFiles:
    """The files under one layout. Thread-safe; methods raise OSError."""

    def __init__(self, layout: DiskLayout, disk: Disk, flushes: FlushWatch, reserve_bytes: int = 0) -> None:
        self._layout = layout
        self._disk = disk
        self._flushes = flushes
        self._reserve_bytes = reserve_bytes
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self._room = threading.BoundedSemaphore(MAX_WAITING_SYNCS)
        self._settled: set[Path] = set()
        self._placing: Counter[Digest] = Counter()
        self._placing_guard = threading.Lock()

    def close(self) -> None:
        """Finish the syncs under way."""
        self._pool.shutdown(wait=True)

    def write_temporary(self, parts: list[Bytes]) -> tuple[Path, Future[None]]:
        """Write a new file in incoming/; the future is done when it is durable, or holds the failure."""
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
        """Remove a temporary file, whatever state it is in."""
        self._remove_quietly(path)

    @contextmanager
    def placing(self, chunks: list[StagedChunk]) -> Iterator[None]:
        """Move the chunks' synced files into place, durably; inside the block the caller records them.

        Until the block ends nobody removes these files as orphans, though the index does not know them yet.
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
                target = self._layout.chunk_file(chunk.digest)
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
        """The sealed bytes of a chunk that is a file."""
        return self._disk.read(self._layout.chunk_file(digest))

    def remove_orphan(self, digest: Digest, is_held: Callable[[Digest], bool]) -> bool:
        """Remove a chunk's file unless the index holds it or a seal is just putting it in place."""
        with self._placing_guard:
            # Both questions under one guard: a seal leaves `placing` only after its row is committed.
            if digest in self._placing or is_held(digest):
                return False
            self._remove_quietly(self._layout.chunk_file(digest))
            return True

    def digests_in(self, folder: Path) -> Iterator[Digest]:
        """The chunks whose files lie in one of the layout's chunk folders."""
        for path in folder.iterdir() if folder.exists() else ():
            try:
                yield Digest.parse(path.name)
            except BadRequest:
                log.warning("%s is not a chunk file; it is left alone", path)

    def quarantine_file(self, digest: Digest, is_held: Callable[[Digest], bool]) -> None:
        """Move a damaged chunk's file out of the way, unless a good one has just taken its place."""
        with self._placing_guard:
            if digest in self._placing or is_held(digest):
                return
            try:
                self._disk.rename(self._layout.chunk_file(digest), self._layout.quarantine_file(digest))
            except FileNotFoundError:
                log.warning("the file of damaged chunk %s is gone; nothing is left to quarantine", digest)

    def quarantine_bytes(self, digest: Digest, sealed: bytes) -> None:
        """Keep a damaged chunk that lay in the index as a file."""
        self._disk.sync_and_close(self._disk.write_new(self._layout.quarantine_file(digest), [sealed]))

    def probe(self, size: int = 64 * 1024) -> None:
        """Write, sync and remove a file; raises OSError when the disk does not take it."""
        self.check_room(size)
        path = self._layout.temporary_file()
        try:
            self._disk.sync_and_close(self._disk.write_new(path, [bytes(size)]))
            self._disk.sync_folder(path.parent)
            crash_point("file_server.probe.written")
        finally:
            self._remove_quietly(path)

    def check_room(self, size: int = 0) -> None:
        """OSError (no space) when `size` more bytes would reach into the reserve.

        The reserve is what the index needs to forget things, and so to make room again.
        """
        if self.space()[1] < self._reserve_bytes + size:
            raise OSError(errno.ENOSPC, "the disk is full down to the reserve")

    def space(self) -> tuple[int, int]:
        """(capacity, free) in bytes."""
        return self._disk.space(self._layout.root)

    def _settle(self, folders: set[Path]) -> None:
        """Make the folders' own names durable, once each.

        That a folder is there says nothing: whoever made it may have failed, or died, before its name was flushed.
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
        """Clean-up must not hide the failure that made it necessary; what stays is swept later."""
        try:
            self._disk.remove(path)
        except OSError as error:
            log.warning("cannot remove %s: %s", path, error)
