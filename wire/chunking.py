"""Content-defined chunk boundaries (FastCDC), fixed for format 1: equal content always gives equal boundaries.

Where a chunk ends depends only on the bytes from its own start: that is what makes an edit local, and it is why an
unchanged chunk of an older manifest can be recognised by its hash alone, without searching for its boundary again
(see `rechunk`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastcdc import fastcdc

from wire.digest import Digest, chunk_digest
from wire.manifest import AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, Manifest


class Chunk(NamedTuple):
    """One piece of a file: its digest, its length in bytes, and its plain bytes (None: "you have it")."""

    digest: Digest
    length: int
    data: bytes | memoryview | None


def chunk_blocks(blocks: Iterable[bytes]) -> Iterator[Chunk]:
    """Cut a stream of blocks of any size into chunks.

    At most one maximal chunk and one block are held, and mostly little more than an average chunk.
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
                    # A cut depends only on the bytes before it, but this one may be where the bytes end so far.
                    if done + length == len(buffer) and length < MAX_CHUNK_BYTES:
                        break
                    yield _chunk(bytes(view[done : done + length]))
                    done += length
                    cut_any = True
            del buffer[:done]
            # What is left was looked at in vain; looking again with every block would cost more than reading it.
            worth_a_look = max(AVERAGE_CHUNK_BYTES, len(buffer) + AVERAGE_CHUNK_BYTES // 2)
    if buffer or not cut_any:
        data = bytes(buffer)
        buffer.clear()
        yield from chunk_bytes(data)


def chunk_bytes(data: bytes | memoryview) -> Iterator[Chunk]:
    """Cut a whole file that is in memory (or mapped). An empty file is one empty chunk."""
    if len(data) <= MIN_CHUNK_BYTES:
        yield _chunk(data)
        return
    view = memoryview(data)
    done = 0
    for length in _cuts(view):
        yield _chunk(view[done : done + length])
        done += length


def rechunk(data: memoryview, base: Manifest) -> Iterator[Chunk]:
    """Cut `data` like `chunk_bytes`, several times faster where it still equals `base`.

    At a chunk boundary, if the next chunk of `base` at that place hashes the same, its end is the boundary FastCDC
    would find, because the boundary depends only on those bytes. The base's last chunk is the exception: it ended
    because the file did, so it counts only where this file ends there too.
    """
    total = len(data)
    starts = {base.offset_of(index): index for index in range(len(base))}
    offset = 0
    while offset < total:
        index = starts.get(offset)
        if index is not None:
            digest, length = base.chunks[index]
            ends_alike = index + 1 < len(base) or offset + length == total
            # ... and a chunk that ended because the base did must not swallow this file's end either.
            if ends_alike and offset + length <= total and chunk_digest(data[offset : offset + length]) == digest:
                yield Chunk(digest, length, data[offset : offset + length])
                offset += length
                continue
        length = next(_cuts(data[offset : offset + MAX_CHUNK_BYTES]))
        piece = data[offset : offset + length]
        yield Chunk(chunk_digest(piece), length, piece)
        offset += length
    if total == 0:
        yield Chunk(chunk_digest(b""), 0, b"")


def _chunk(data: bytes | memoryview) -> Chunk:
    """In a function of its own, so that nobody who waits for the next one holds this one's bytes."""
    return Chunk(chunk_digest(data), len(data), data)


def _cuts(view: memoryview) -> Iterator[int]:
    for chunk in fastcdc(view, MIN_CHUNK_BYTES, AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES):
        yield chunk.length
