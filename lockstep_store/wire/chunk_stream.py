"""The chunk stream: the one framing of content on every hop.

A stream is the 4 bytes ``LSC1``, then frames, then one end frame (all integers big-endian):

=========  =====================================================================================
bytes      chunk frame
=========  =====================================================================================
1          1: the bytes follow.  0: no bytes follow, "you have it"
32         digest of the chunk
4          length of the chunk
length     the plain bytes, when the first byte is 1
=========  =====================================================================================

Before the end frame there may be one frame of facts, for what its sender learned only while it read the content (a
checksum, say): they become part of the version's metadata when it is committed.

=========  =====================================================================================
bytes      facts frame
=========  =====================================================================================
1          3
32         BLAKE3 of what follows the length
4          length, at most 8 KiB
length     a JSON object of names and texts
=========  =====================================================================================

=========  =====================================================================================
bytes      end frame
=========  =====================================================================================
1          2
32         digest of the blob that the frames, in order, make up
8          size of the blob in bytes
=========  =====================================================================================

The end frame is what tells a whole stream from one cut short: the runner ends a body that the client abandoned
without any error, so a stream without its end frame is refused.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator

import msgspec

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.codec import decoder, encode
from lockstep_store.wire.digest import DIGEST_BYTES, Digest, chunk_digest
from lockstep_store.wire.errors import BadDigest, BadRequest, IncompleteBody, TooLarge
from lockstep_store.wire.manifest import MAX_CHUNK_BYTES, MAX_CHUNKS, Manifest

CONTENT_TYPE = "application/vnd.lockstep.chunk-stream"
MAGIC = b"LSC1"
HAVE, BYTES, END, FACTS = 0, 1, 2, 3
MAX_FACTS_BYTES = 8192
READ_BYTES = 256 * 1024
"""Bytes read at a time. The source buffers as many before it returns them, in addition to the chunk itself."""

_facts = decoder(dict[str, str])
_FRAME = struct.Struct(f">B{DIGEST_BYTES}sI")
FRAME_BYTES = _FRAME.size
END_BYTES = 1 + DIGEST_BYTES + 8

Read = Callable[[int], bytes]
"""Reads up to n bytes; fewer are allowed, none means the end (like `wsgi.input` or a socket file)."""


def frame_header(chunk: Chunk) -> bytes:
    """The 37 bytes before a chunk's data."""
    return _FRAME.pack(HAVE if chunk.data is None else BYTES, chunk.digest, chunk.length)


def end_frame(digest: Digest, size: int) -> bytes:
    """The end frame of a blob."""
    return bytes([END]) + digest + size.to_bytes(8, "big")


def facts_frame(facts: dict[str, str]) -> bytes:
    """The frame that carries `facts`; no bytes when there are none. TooLarge over 8 KiB."""
    if not facts:
        return b""
    body = encode(facts)
    if len(body) > MAX_FACTS_BYTES:
        raise TooLarge(f"a write's late facts have {len(body)} bytes; at most {MAX_FACTS_BYTES} are kept")
    return _FRAME.pack(FACTS, chunk_digest(body), len(body)) + body


def encode_stream(chunks: Iterable[Chunk]) -> Iterator[bytes | memoryview]:
    """A whole stream, piece by piece. The end frame is computed from the chunks that were sent."""
    yield MAGIC
    sent: list[tuple[Digest, int]] = []
    for chunk in chunks:
        sent.append((chunk.digest, chunk.length))
        yield frame_header(chunk)
        if chunk.data is not None:
            yield chunk.data
    manifest = Manifest(sent)
    yield end_frame(manifest.digest, manifest.size)


def stream_length(lengths: Iterable[int]) -> int:
    """Length in bytes of a stream that carries every chunk with its bytes."""
    return len(MAGIC) + END_BYTES + sum(FRAME_BYTES + length for length in lengths)


class StreamReader:
    """Reads a chunk stream and checks every byte of it: framing, each chunk's digest, and the end frame.

    Iterating gives `Chunk`s (with `data` None for "you have it"). After the loop `manifest` is the blob's. A damaged
    chunk raises BadDigest, a stream without its end IncompleteBody, and nothing after that may be trusted. `facts` are
    those that came along.
    """

    def __init__(self, read: Read, *, expect_blob: bool = True) -> None:
        self._read = read
        self._expect_blob = expect_blob
        self._manifest: Manifest | None = None
        self.facts: dict[str, str] = {}

    @property
    def manifest(self) -> Manifest:
        """The blob that was streamed; only after the whole stream was read."""
        if self._manifest is None:
            raise IncompleteBody("the chunk stream has not been read to its end")
        return self._manifest

    def __iter__(self) -> Iterator[Chunk]:
        if self._exactly(len(MAGIC)) != MAGIC:
            raise BadRequest("this is not a chunk stream (format 1): it does not begin with LSC1")
        seen: list[tuple[Digest, int]] = []
        while True:
            head = self._exactly(FRAME_BYTES)
            kind, raw_digest, length = _FRAME.unpack(head)
            if kind == END:
                self._finish(head, seen)
                return
            if kind == FACTS:
                self._take_facts(Digest(raw_digest), length)
                continue
            if self.facts:
                raise BadRequest("in a chunk stream nothing but the end comes after the facts")
            if kind not in (HAVE, BYTES) or length > MAX_CHUNK_BYTES:
                raise BadRequest(f"a chunk frame of kind {kind} and {length} bytes is not allowed")
            if len(seen) >= MAX_CHUNKS:
                raise BadRequest(f"a chunk stream has at most {MAX_CHUNKS} chunks")
            digest = Digest(raw_digest)
            data = None
            if kind == BYTES:
                data = self._exactly(length)
                if chunk_digest(data) != digest:
                    raise BadDigest(f"a chunk of {length} bytes does not hash to its digest {digest}")
            seen.append((digest, length))
            yield Chunk(digest, length, data)

    def _take_facts(self, digest: Digest, length: int) -> None:
        if self.facts or length > MAX_FACTS_BYTES:
            raise BadRequest(f"a chunk stream has one frame of facts, of at most {MAX_FACTS_BYTES} bytes")
        body = self._exactly(length)
        if chunk_digest(body) != digest:
            raise BadDigest("the facts of a chunk stream do not hash to their digest")
        try:
            self.facts = _facts.decode(body)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the facts of a chunk stream cannot be read: {error}") from error
        if not self.facts:
            raise BadRequest("a chunk stream's frame of facts is empty")

    def _finish(self, head: bytes, seen: list[tuple[Digest, int]]) -> None:
        rest = self._exactly(END_BYTES - FRAME_BYTES)
        digest = Digest(head[1 : 1 + DIGEST_BYTES])
        size = int.from_bytes(head[1 + DIGEST_BYTES :] + rest, "big")
        manifest = Manifest(seen)
        if self._expect_blob and (manifest.digest != digest or manifest.size != size):
            raise BadDigest(
                f"the chunks make up {manifest.size} bytes with digest {manifest.digest}, "
                f"but the end frame says {size} bytes with digest {digest}"
            )
        self._manifest = manifest

    def _exactly(self, count: int) -> bytes:
        data = self._read(min(count, READ_BYTES))
        if len(data) == count:
            return data
        whole = io.BytesIO()
        whole.seek(count - 1)
        whole.write(b"\0")  # of its full length at once: joined pieces would take as much again
        whole.seek(0)
        while True:
            if not data:
                raise IncompleteBody(f"the chunk stream ended {count - whole.tell()} bytes early")
            whole.write(data)
            if whole.tell() == count:
                return whole.getvalue()
            data = self._read(min(count - whole.tell(), READ_BYTES))
