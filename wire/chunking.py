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
    """Cut a stream of blocks of any size into chunks; at most two maximal chunks and one block are held."""
    buffer = bytearray()
    cut_any = False
    for block in blocks:
        buffer += block
        if len(buffer) >= 2 * MAX_CHUNK_BYTES:
            done = 0
            with memoryview(buffer) as view:
                for length in _cuts(view):
                    # A cut nearer the end than a maximal chunk was decided on bytes that may yet be followed by more.
                    if len(buffer) - done < MAX_CHUNK_BYTES:
                        break
                    data = bytes(view[done : done + length])
                    yield Chunk(chunk_digest(data), length, data)
                    done += length
                    cut_any = True
            del buffer[:done]
    if buffer or not cut_any:
        yield from chunk_bytes(bytes(buffer))


def chunk_bytes(data: bytes | memoryview) -> Iterator[Chunk]:
    """Cut a whole file that is in memory (or mapped). An empty file is one empty chunk."""
    if len(data) <= MIN_CHUNK_BYTES:
        yield Chunk(chunk_digest(data), len(data), data)
        return
    view = memoryview(data)
    done = 0
    for length in _cuts(view):
        piece = view[done : done + length]
        yield Chunk(chunk_digest(piece), length, piece)
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


def _cuts(view: memoryview) -> Iterator[int]:
    for chunk in fastcdc(view, MIN_CHUNK_BYTES, AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES):
        yield chunk.length
