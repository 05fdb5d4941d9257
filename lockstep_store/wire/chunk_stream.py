"""The chunk stream: how content is framed on every hop.

A stream is the 4 bytes ``LSC1``, then frames, then one end frame (all integers big-endian):

=========  =====================================================================================
bytes      chunk frame
=========  =====================================================================================
1          1: the bytes follow.  0: no bytes follow, the receiver has them
32         digest of the chunk
4          length of the chunk
length     the plain bytes, when the first byte is 1
=========  =====================================================================================

One frame of trailing metadata may precede the end frame. It carries what the sender learned only while it read the
content, such as a checksum, and becomes part of the version's metadata at the commit.

=========  =====================================================================================
bytes      trailing metadata frame
=========  =====================================================================================
1          3
32         BLAKE3 of the JSON
4          length of the JSON, at most 8 KiB
length     a JSON object of names and texts
=========  =====================================================================================

=========  =====================================================================================
bytes      end frame
=========  =====================================================================================
1          2
32         digest of the blob that the frames, in order, make up
8          size of the blob in bytes
=========  =====================================================================================

When a client abandons a body, the runner ends it without an error. Only the end frame shows that a stream is complete,
so a stream without it is rejected.
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
HAVE, BYTES, END, METADATA = 0, 1, 2, 3
MAX_TRAILING_METADATA_BYTES = 8192
BEGINNING_BYTES = 512
"""Of a content, what shows its type (see `content_types`, which clients need not load)."""
READ_BYTES = 256 * 1024
"""Bytes read at a time. The source buffers this much before it returns, in addition to the chunk itself."""

_metadata_decoder = decoder(dict[str, str])
_FRAME = struct.Struct(f">B{DIGEST_BYTES}sI")
FRAME_BYTES = _FRAME.size
END_BYTES = 1 + DIGEST_BYTES + 8

Read = Callable[[int], bytes]
"""Reads up to n bytes: fewer are allowed, none means the end (like `wsgi.input` or a socket file)."""


def frame_header(chunk: Chunk) -> bytes:
    """Return the 37 bytes before a chunk's data."""
    return _FRAME.pack(HAVE if chunk.data is None else BYTES, chunk.digest, chunk.length)


def end_frame(digest: Digest, size: int) -> bytes:
    """Return the end frame of a blob."""
    return bytes([END]) + digest + size.to_bytes(8, "big")


def trailing_metadata_frame(metadata: dict[str, str]) -> bytes:
    """Return the frame that carries `metadata`; no bytes when it is empty. TooLarge over 8 KiB."""
    if not metadata:
        return b""
    body = encode(metadata)
    if len(body) > MAX_TRAILING_METADATA_BYTES:
        raise TooLarge(f"trailing metadata of {len(body)} bytes exceeds the limit of {MAX_TRAILING_METADATA_BYTES}")
    return _FRAME.pack(METADATA, chunk_digest(body), len(body)) + body


def encode_stream(chunks: Iterable[Chunk]) -> Iterator[bytes | memoryview]:
    """Yield a whole stream, piece by piece. The end frame is computed from the chunks that were sent."""
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
    """Return the length in bytes of a stream that carries every chunk with its bytes."""
    return len(MAGIC) + END_BYTES + sum(FRAME_BYTES + length for length in lengths)


class StreamReader:
    """Reads a chunk stream and checks every byte: framing, each chunk's digest, and the end frame.

    Iterate over its `Chunk`s; `data` is None for one that was sent without bytes. After the loop `manifest` and
    `trailing_metadata` are complete. A damaged chunk raises BadDigest, a stream without its end frame IncompleteBody;
    trust nothing from the stream after that.
    """

    def __init__(self, read: Read, *, expect_blob: bool = True) -> None:
        self._read = read
        self._expect_blob = expect_blob
        self._manifest: Manifest | None = None
        self.trailing_metadata: dict[str, str] = {}
        self.first: Chunk | None = None
        """The first chunk once it was read, with the BEGINNING_BYTES of its bytes that show a content's type."""

    @property
    def manifest(self) -> Manifest:
        """The manifest of the streamed blob; IncompleteBody before the whole stream was read."""
        if self._manifest is None:
            raise IncompleteBody("the chunk stream has not been read to its end")
        return self._manifest

    def __iter__(self) -> Iterator[Chunk]:
        if self._exactly(len(MAGIC)) != MAGIC:
            raise BadRequest("not a chunk stream: it does not begin with LSC1")
        seen: list[tuple[Digest, int]] = []
        while True:
            head = self._exactly(FRAME_BYTES)
            kind, raw_digest, length = _FRAME.unpack(head)
            if kind == END:
                self._finish(head, seen)
                return
            if kind == METADATA:
                self._read_metadata(Digest(raw_digest), length)
                continue
            if self.trailing_metadata:
                raise BadRequest("invalid chunk stream: only the end frame may follow the trailing metadata")
            if kind not in (HAVE, BYTES) or length > MAX_CHUNK_BYTES:
                raise BadRequest(f"invalid chunk stream: a frame has kind {kind} and {length} bytes")
            if len(seen) >= MAX_CHUNKS:
                raise BadRequest(f"invalid chunk stream: more than {MAX_CHUNKS} chunks")
            digest = Digest(raw_digest)
            data = None
            if kind == BYTES:
                data = self._exactly(length)
                if chunk_digest(data) != digest:
                    raise BadDigest(f"a chunk of {length} bytes does not match its digest {digest}")
            if not seen:
                self.first = Chunk(digest, length, None if data is None else data[:BEGINNING_BYTES])
            seen.append((digest, length))
            yield Chunk(digest, length, data)

    def _read_metadata(self, digest: Digest, length: int) -> None:
        if self.trailing_metadata or length > MAX_TRAILING_METADATA_BYTES:
            raise BadRequest(
                "invalid chunk stream: more than one frame of trailing metadata, "
                f"or more than {MAX_TRAILING_METADATA_BYTES} bytes"
            )
        body = self._exactly(length)
        if chunk_digest(body) != digest:
            raise BadDigest("the trailing metadata of a chunk stream does not match its digest")
        try:
            self.trailing_metadata = _metadata_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise BadRequest(f"invalid chunk stream: the trailing metadata cannot be read ({error})") from error
        if not self.trailing_metadata:
            raise BadRequest("invalid chunk stream: the frame of trailing metadata is empty")

    def _finish(self, head: bytes, seen: list[tuple[Digest, int]]) -> None:
        rest = self._exactly(END_BYTES - FRAME_BYTES)
        digest = Digest(head[1 : 1 + DIGEST_BYTES])
        size = int.from_bytes(head[1 + DIGEST_BYTES :] + rest, "big")
        manifest = Manifest(seen)
        if self._expect_blob and (manifest.digest != digest or manifest.size != size):
            raise BadDigest(
                f"the chunks have {manifest.size} bytes and the digest {manifest.digest}, "
                f"but the end frame declares {size} bytes and the digest {digest}"
            )
        self._manifest = manifest

    def _exactly(self, count: int) -> bytes:
        data = self._read(min(count, READ_BYTES))
        if len(data) == count:
            return data
        whole = io.BytesIO()
        whole.seek(count - 1)
        whole.write(b"\0")  # allocates the full length at once: joining pieces would double the memory
        whole.seek(0)
        while True:
            if not data:
                raise IncompleteBody(f"the chunk stream ended {count - whole.tell()} bytes early")
            whole.write(data)
            if whole.tell() == count:
                return whole.getvalue()
            data = self._read(min(count - whole.tell(), READ_BYTES))
