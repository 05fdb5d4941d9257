"""Manifests: the ordered list of a blob's chunks, and the blob's digest.

Canonical form (format 1): for each chunk its 32-byte digest and its length as a 4-byte big-endian integer. This form
is hashed, stored and sent, so a manifest can be checked against the blob's digest without reading any content.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from blake3 import blake3

from lockstep_store.wire.digest import DIGEST_BYTES, EMPTY_DIGEST, Digest
from lockstep_store.wire.errors import BadDigest, BadRequest

MANIFEST_CONTEXT = "lockstep 2026-11 blob manifest v1"
MIN_CHUNK_BYTES = 256 * 1024
AVERAGE_CHUNK_BYTES = 1024 * 1024
MAX_CHUNK_BYTES = 4 * 1024 * 1024
MAX_CHUNKS = 16 * 1024 * 1024  # 16 TiB at the average size; bounds the memory that a peer can make us use
MAX_FILE_BYTES = MAX_CHUNKS * MIN_CHUNK_BYTES  # 4 TiB: what fits a manifest however the content is cut

_ENTRY = struct.Struct(f">{DIGEST_BYTES}sI")


class Manifest:
    """An immutable list of (chunk digest, length in bytes)."""

    __slots__ = ("_ends", "chunks", "digest", "size")

    def __init__(self, chunks: Iterable[tuple[Digest, int]]) -> None:
        self.chunks: tuple[tuple[Digest, int], ...] = tuple(chunks) or ((EMPTY_DIGEST, 0),)
        self._ends: list[int] | None = None
        self.size: int = sum(length for _, length in self.chunks)
        self.digest: Digest = blob_digest(self.chunks)

    def encode(self) -> bytes:
        """The canonical form: 36 bytes a chunk."""
        return encode_chunks(self.chunks)

    @classmethod
    def decode(cls, raw: bytes, expected: Digest | None = None) -> Manifest:
        """Parse the canonical form; BadDigest when it does not hash to `expected`."""
        if not raw or len(raw) % _ENTRY.size:
            raise BadRequest(f"invalid manifest: {len(raw)} bytes are not a whole number of entries")
        manifest = cls((Digest(digest), length) for digest, length in _ENTRY.iter_unpack(raw))
        if expected is not None and manifest.digest != expected:
            raise BadDigest(f"the manifest has the digest {manifest.digest}, not the blob's digest {expected}")
        return manifest

    def offset_of(self, index: int) -> int:
        """Return the byte at which chunk number `index` starts in the file."""
        return self._offsets()[index] - self.chunks[index][1]

    def span(self, start: int, stop: int) -> Iterator[tuple[int, Digest, int, int, int]]:
        """Yield the chunks that cover bytes [start, stop): (index, digest, length, start and stop in the chunk)."""
        if start >= stop:
            return
        ends = self._offsets()
        index = bisect_right(ends, start)
        while index < len(self.chunks) and ends[index] - self.chunks[index][1] < stop:
            digest, length = self.chunks[index]
            begin = ends[index] - length
            yield index, digest, length, max(0, start - begin), min(length, stop - begin)
            index += 1

    def _offsets(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate(length for _, length in self.chunks))
        return self._ends

    def __len__(self) -> int:
        return len(self.chunks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.chunks == other.chunks

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Manifest({self.digest!r}, {len(self.chunks)} chunks, {self.size} bytes)"


def encode_chunks(chunks: Iterable[tuple[Digest, int]]) -> bytes:
    """Return the canonical form of a list of chunks."""
    return b"".join(_ENTRY.pack(digest, length) for digest, length in chunks)


def blob_digest(chunks: tuple[tuple[Digest, int], ...]) -> Digest:
    """Return the digest of the only chunk, or of the canonical manifest when there are several."""
    if len(chunks) == 1:
        return chunks[0][0]
    return Digest(blake3(encode_chunks(chunks), derive_key_context=MANIFEST_CONTEXT).digest())
