"""Reads a local file for an upload: its chunks and digest, and whether it changed meanwhile.

Files are read, never mapped: when another program truncates a mapped file, this process dies of SIGBUS, without a
message. Windows of 16 MiB make reading as fast as mapping.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lockstep_store.client.local_storage import FileChanged, LocalFileError, local_problem
from lockstep_store.wire.chunking import Chunk, chunk_blocks, chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.manifest import MAX_CHUNK_BYTES, Manifest

WINDOW_BYTES = 4 * MAX_CHUNK_BYTES
BLOCK_BYTES = 1024 * 1024


class LocalFile:
    """An open regular file, and its size and modification time when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise local_problem("read", path, error) from error
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise LocalFileError(f"{path} is not a regular file: use -r for a folder, - for a stream")
        self.size = status.st_size
        self._state = (status.st_size, status.st_mtime_ns)

    def check_unchanged(self) -> None:
        """Raise FileChanged if the file has changed since it was opened."""
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != self._state:
            raise self.changed()

    def changed(self) -> FileChanged:
        """The error for a file that changed."""
        return FileChanged(
            f"{self.path} was changed by another program during the upload: nothing was saved; "
            "try again when that program has finished"
        )

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes at `offset`. FileChanged if the file has become shorter."""
        parts = []
        while length:
            try:
                part = os.pread(self._descriptor, length, offset)
            except OSError as error:
                raise local_problem("read", self.path, error) from error
            if not part:
                raise self.changed()
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The file in order. FileChanged instead of the last block if the file changed since it was opened.

        So an upload never completes with a mixture of two states.
        """
        for offset in range(0, self.size, block_bytes):
            block = self.read(offset, min(block_bytes, self.size - offset))
            if offset + block_bytes >= self.size:
                self.check_unchanged()
            yield block

    def chunks(self, base: Manifest | None = None) -> Iterator[Chunk]:
        """The file's chunks. Parts equal to `base` are only hashed, which is several times faster than cutting.

        At a chunk boundary, if the next chunk of `base` at that place hashes the same, its end is the boundary that
        cutting would find, because a boundary depends only on the bytes before it.
        """
        if base is None or self.size == 0:
            yield from chunk_blocks(self.blocks())
            return
        starts = {base.offset_of(index): index for index in range(len(base))}
        window, begin, offset = memoryview(b""), 0, 0
        while offset < self.size:
            if offset + MAX_CHUNK_BYTES > begin + len(window) and begin + len(window) < self.size:
                begin, window = offset, memoryview(self.read(offset, min(WINDOW_BYTES, self.size - offset)))
            view = window[offset - begin : offset - begin + MAX_CHUNK_BYTES]
            chunk = self._known(view, offset, base, starts) or next(chunk_bytes(view))
            yield chunk
            offset += chunk.length

    def _known(self, view: memoryview, offset: int, base: Manifest, starts: dict[int, int]) -> Chunk | None:
        index = starts.get(offset)
        if index is None:
            return None
        digest, length = base.chunks[index]
        # The base's last chunk ends with the base, not at a cut: in this file it is a boundary only at the end.
        fits = offset + length == self.size or (index + 1 < len(base) and offset + length < self.size)
        if not fits or length > len(view) or chunk_digest(view[:length]) != digest:
            return None
        return Chunk(digest, length, view[:length])

    def manifest(self, base: Manifest | None = None) -> Manifest:
        """The file's chunks and digest. FileChanged if it changed meanwhile."""
        manifest = Manifest((chunk.digest, chunk.length) for chunk in self.chunks(base))
        self.check_unchanged()
        return manifest

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def digest_file(path: Path) -> Manifest:
    """The chunks and digest that the file's content has in the cluster."""
    with LocalFile(path) as file:
        return file.manifest()
