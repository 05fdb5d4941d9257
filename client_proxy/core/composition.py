"""Joins stored contents into one without moving their bytes, as completing a multipart upload does.

The chunks stay the same, so a master that holds them receives frames without bytes. Chunks that it lacks are fetched
from their holders a few at a time, so memory does not grow with the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from client_proxy.core.chunk_fetcher import MAX_MANIFEST_BYTES, Source, Wanted
from lockstep_store.wire.chunk_stream import MAGIC, end_frame, frame_header
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import DIGEST_BYTES, Digest
from lockstep_store.wire.errors import TooLarge
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder

MAX_CHUNKS = MAX_MANIFEST_BYTES // (DIGEST_BYTES + 4)
"""The longest manifest that readers accept: about 1.8 TiB of chunks of average length."""
ASKED_CHUNKS = 4096
FETCHED_BYTES = 4 * 1024 * 1024


class Stored(NamedTuple):
    """A stored content. `holders_now` looks up its current holders in the directory."""

    name: str
    digest: Digest
    size: int
    holders: Sequence[Holder]
    holders_now: Callable[[], Sequence[Holder]] | None = None

    @property
    def source(self) -> Source:
        return Source(self.name, self.holders, self.holders_now, self.digest)


class Piece(NamedTuple):
    """Some consecutive chunks, and where to fetch their bytes."""

    manifest: Manifest
    source: Source


class Composition:
    """`pieces` in order, as one content. `fetch(source, wanted)` returns the bytes of distinct chunks.

    Raises TooLarge when it has more chunks than readers accept.
    """

    def __init__(
        self, pieces: Sequence[Piece], fetch: Callable[[Source, Sequence[Wanted]], dict[Digest, bytes]]
    ) -> None:
        self._pieces = pieces
        self._fetch = fetch
        count = sum(len(piece.manifest) for piece in pieces)
        if count > MAX_CHUNKS:
            raise TooLarge(
                f"the parts have {count} chunks in all, but a file has at most {MAX_CHUNKS} (about 1.8 TiB); "
                "store it as several files"
            )
        self.manifest = Manifest((digest, length) for digest, length, _ in self._entries())

    def stream(self, lacking: Callable[[list[Digest]], set[Digest]]) -> Iterator[bytes | memoryview]:
        """The whole chunk stream; `lacking` asks the receiver which of some chunks it lacks."""
        yield MAGIC
        entries = self._entries() if self.manifest.size else ((*entry, None) for entry in self.manifest.chunks)
        sent: set[Digest] = set()
        while window := list(islice(entries, ASKED_CHUNKS)):
            needed = lacking(list({entry[0] for entry in window} - sent))
            for chunk in self._with_bytes(window, needed):
                yield frame_header(chunk)
                if chunk.data is not None:
                    sent.add(chunk.digest)
                    yield chunk.data
        yield end_frame(self.manifest.digest, self.manifest.size)

    def _entries(self) -> Iterator[tuple[Digest, int, Source | None]]:
        for piece in self._pieces:
            for digest, length in piece.manifest.chunks:
                if length:
                    yield digest, length, piece.source

    def _with_bytes(self, window: Sequence[tuple[Digest, int, Source | None]], needed: set[Digest]) -> Iterator[Chunk]:
        fetched: dict[Digest, bytes] = {}
        for index, (digest, length, source) in enumerate(window):
            if digest not in needed:
                yield Chunk(digest, length, None)
                continue
            if not length or source is None:
                data = b""
            else:
                if digest not in fetched:
                    fetched |= self._fetch(source, _next_wanted(window, index, needed - fetched.keys()))
                data = fetched.pop(digest)
            needed.discard(digest)
            yield Chunk(digest, length, data)


def _next_wanted(window: Sequence[tuple[Digest, int, Source | None]], start: int, needed: set[Digest]) -> list[Wanted]:
    """The next chunks to fetch together from one source, beginning with the first of `window[start:]`."""
    wanted: dict[Digest, int] = {}
    size = 0
    for digest, length, source in islice(window, start, None):
        if source is not window[start][2] or (wanted and size + length > FETCHED_BYTES):
            break
        if digest in needed and digest not in wanted:
            wanted[digest] = length
            size += length
    return list(wanted.items())
