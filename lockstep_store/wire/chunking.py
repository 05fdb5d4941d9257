"""Content-defined chunk boundaries (FastCDC), fixed for format 1: equal content has equal boundaries.

The end of a chunk depends only on the bytes from its start. So an edit changes only chunks near it, and an unchanged
chunk of an older manifest can be recognised by its hash alone, without searching for its boundary (see
`LocalFile.chunks` in the client library).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastcdc import fastcdc

from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.manifest import AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES


class Chunk(NamedTuple):
    """One piece of a file: its digest, its length in bytes, and its plain bytes (None: the receiver has them)."""

    digest: Digest
    length: int
    data: bytes | memoryview | None


def chunk_blocks(blocks: Iterable[bytes]) -> Iterator[Chunk]:
    """Cut a stream of blocks of any size into chunks.

    Holds at most one chunk of maximal size and one block; usually little more than an average chunk.
    """
    buffer = bytearray()
    worth_a_look = AVERAGE_CHUNK_BYTES
    cut_any = False
    for block in blocks:
        buffer += block
        if len(buffer) >= worth_a_look:
            done = 0
            with memoryview(buffer) as view:
                for length in _cuts(view):
                    # This cut may only be the end of the bytes received so far.
                    if done + length == len(buffer) and length < MAX_CHUNK_BYTES:
                        break
                    yield _chunk(bytes(view[done : done + length]))
                    done += length
                    cut_any = True
            del buffer[:done]
            # The rest has no cut yet; searching it again with every block would cost more than reading it.
            worth_a_look = max(AVERAGE_CHUNK_BYTES, len(buffer) + AVERAGE_CHUNK_BYTES // 2)
    if buffer or not cut_any:
        data = bytes(buffer)
        buffer.clear()
        yield from chunk_bytes(data)


def chunk_bytes(data: bytes | memoryview) -> Iterator[Chunk]:
    """Cut a whole file that is in memory or mapped. An empty file is one empty chunk."""
    if len(data) <= MIN_CHUNK_BYTES:
        yield _chunk(data)
        return
    view = memoryview(data)
    done = 0
    for length in _cuts(view):
        yield _chunk(view[done : done + length])
        done += length


def _chunk(data: bytes | memoryview) -> Chunk:
    """Build a chunk. A separate function, so that the generator keeps no chunk in memory while it waits."""
    return Chunk(chunk_digest(data), len(data), data)


def _cuts(view: memoryview) -> Iterator[int]:
    for chunk in fastcdc(view, MIN_CHUNK_BYTES, AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES):
        yield chunk.length
