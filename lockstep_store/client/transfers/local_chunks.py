"""Reading a local file for sending: its chunks, its digest, and whether it stood still meanwhile.

Files are read, never mapped: a mapped file that another program makes shorter ends this process with SIGBUS instead
of a sentence. Windows of 16 MiB make reading as fast as mapping.
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
    """An open regular file and the state (size, time of last change) it was in when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise local_problem("read", path, error) from error
        facts = os.fstat(self._descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(self._descriptor)
            raise LocalFileError(f"{path} is not a regular file: folders are sent with -r, streams with -")
        self.size = facts.st_size
        self._state = (facts.st_size, facts.st_mtime_ns)

    def check_unchanged(self) -> None:
        """Raise FileChanged if the file is not as it was when it was opened."""
        facts = os.fstat(self._descriptor)
        if (facts.st_size, facts.st_mtime_ns) != self._state:
            raise self.changed()

    def changed(self) -> FileChanged:
        """What to say of a file that changed."""
        return FileChanged(
            f"{self.path} was changed by another program while it was being sent: nothing was saved; "
            "send it again when it is finished"
        )

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`; FileChanged if the file is shorter now."""
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
        """The file in order. The last block is given out only if nothing has changed since the file was opened, so
        that what was declared is never completed with a mixture of two states."""
        for offset in range(0, self.size, block_bytes):
            block = self.read(offset, min(block_bytes, self.size - offset))
            if offset + block_bytes >= self.size:
                self.check_unchanged()
            yield block

    def chunks(self, base: Manifest | None = None) -> Iterator[Chunk]:
        """The file's chunks. Where it equals `base` it is only hashed, which is several times faster than cutting.

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
        # The base's last chunk ended because the base did: it is a boundary here only where this file ends too.
        fits = offset + length == self.size or (index + 1 < len(base) and offset + length < self.size)
        if not fits or length > len(view) or chunk_digest(view[:length]) != digest:
            return None
        return Chunk(digest, length, view[:length])

    def manifest(self, base: Manifest | None = None) -> Manifest:
        """The file's chunks and digest; FileChanged if it changed while it was read."""
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
    """The chunks and the digest by which the cluster would know this file's content."""
    with LocalFile(path) as file:
        return file.manifest()
