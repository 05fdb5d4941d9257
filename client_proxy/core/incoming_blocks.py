"""Checks the length of a body, and notes its chunks, while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import IncompleteBody


def of_size(blocks: Iterable[bytes], size: int | None) -> Iterator[bytes]:
    """Yield `blocks`; IncompleteBody when they have more or fewer than `size` bytes."""
    have = 0
    for block in blocks:
        have += len(block)
        if size is not None and have > size:
            raise IncompleteBody(f"the body is longer than the {size} bytes declared; nothing was saved")
        yield block
    if size is not None and have != size:
        raise IncompleteBody(f"the body ended after {have} of {size} declared bytes; nothing was saved")


def kept(chunks: Iterable[Chunk], keep: Callable[[Digest, bytes | memoryview], None]) -> Iterator[Chunk]:
    """Yield the chunks, and hand those that have bytes to `keep`."""
    for chunk in chunks:
        if chunk.data is not None:
            keep(chunk.digest, chunk.data)
        yield chunk


def noted(chunks: Iterable[Chunk], arrived: set[Digest]) -> Iterator[Chunk]:
    """Yield the chunks, and add to `arrived` those that came with their bytes."""
    for chunk in chunks:
        if chunk.data is not None:
            arrived.add(chunk.digest)
        yield chunk
