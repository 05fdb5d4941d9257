"""A fake file server of the fake network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from lockstep_store.wire.chunk_stream import END_BYTES, StreamReader, encode_stream, stream_length
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.codec import Call, decoder, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    DamagedChunk,
    LockstepError,
    MissingChunks,
    NotFound,
    PeerUnreachable,
    to_problem,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.base import Nothing, Outcome
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import (
    MANIFEST_PATH,
    MISSING_CHUNKS,
    READ_CHUNKS_PATH,
    SMALL_WRITES,
    TICKET_HEADER,
    MissingChunksReply,
    MissingChunksRequest,
    ReadChunksRequest,
    SmallWrite,
    SmallWritesReply,
    WriteReply,
)
from lockstep_store.wire.messages.writes import (
    BeginItem,
)
from tests.fakes.network import FakeAnswer, FakeDirectory, FakeNetwork, FakeServer

_write_reply = decoder(WriteReply)


class FakeFileServer(FakeServer):
    """Keeps chunks in a dictionary, and commits like a master without replicas."""

    def __init__(self, network: FakeNetwork, directory: FakeDirectory, id: str) -> None:
        super().__init__()
        self.holder = Holder(id=id, url=f"https://file-server-{id}")
        network.servers[self.holder.url] = self
        directory.file_servers.append(self)
        self._directory = directory
        self.chunks: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, Manifest] = {}
        self.received: list[int] = []
        """Lengths of the chunks that arrived with their bytes."""
        self.small_calls: list[int] = []
        """How many small writes came with each call."""
        self.chunks_served = 0
        self.breaks_after: int | None = None
        """After how many bytes every reply is cut."""
        self.dies_after_chunks: int | None = None
        """After how many chunks of a write the server dies for good."""
        self.refuse_write: LockstepError | None = None
        self.refuse_writes_left = 0
        self.found_damaged: set[Digest] = set()
        """Chunks that it refuses to send; a reply that has begun ends before them."""
        self.forgets = False
        """Chunks that get lost between the query and the write."""
        self.on_read: Callable[[], None] = lambda: None
        self.on_chunks: Callable[[], None] = lambda: None

    def keep(self, content: bytes) -> Manifest:
        """Store a file's chunks, as a write does."""
        pieces = list(chunk_bytes(content))
        manifest = Manifest((piece.digest, piece.length) for piece in pieces)
        self.chunks |= {piece.digest: bytes(piece.data or b"") for piece in pieces}
        self.manifests[manifest.digest] = manifest
        held = self._directory.holders.setdefault(manifest.digest, [])
        if self.holder not in held:
            held.append(self.holder)
        return manifest

    def flip(self, digest: Digest) -> None:
        """Flip one bit of a stored chunk."""
        data = bytearray(self.chunks[digest])
        data[len(data) // 2] ^= 1
        self.chunks[digest] = bytes(data)

    def answer(self, call: Call[Any, Any], request: Any) -> Any:
        if call is SMALL_WRITES:
            self.small_calls.append(len(request.items))
            return SmallWritesReply([self._take_small(item) for item in request.items])
        assert call is MISSING_CHUNKS
        assert isinstance(request, MissingChunksRequest)
        missing = [] if self.forgets else [digest for digest in request.digests if digest not in self.chunks]
        return MissingChunksReply(missing=missing)

    def _take_small(self, item: SmallWrite) -> Outcome[WriteReply]:
        try:
            return Outcome(_write_reply.decode(self.take_stream({TICKET_HEADER: item.ticket}, [item.stream])))
        except LockstepError as error:
            if self.down:
                raise
            return Outcome(problem=to_problem(error))

    def stream(self, path: str, body: bytes) -> FakeAnswer:
        if path.startswith(MANIFEST_PATH):
            manifest = self.manifests.get(Digest.parse(path.removeprefix(MANIFEST_PATH)))
            if manifest is None:
                raise NotFound("there is no such blob here")
            return FakeAnswer([manifest.encode()], self.breaks_after, self.on_read)
        assert path == READ_CHUNKS_PATH
        self.on_chunks()
        wanted = Call(path, ReadChunksRequest, Nothing).decode_request(body).digests
        if any(digest not in self.chunks for digest in wanted):
            raise NotFound("a chunk is not here")
        good = list(itertools.takewhile(lambda digest: digest not in self.found_damaged, wanted))
        if not good:
            raise DamagedChunk(f"chunk {wanted[0]} is damaged on this file server; read another copy")
        self.chunks_served += len(good)
        frames = [Chunk(digest, len(self.chunks[digest]), self.chunks[digest]) for digest in good]
        breaks_after = self.breaks_after
        if len(good) < len(wanted):
            breaks_after = stream_length(chunk.length for chunk in frames) - END_BYTES
        return FakeAnswer(encode_stream(frames), breaks_after, self.on_read)

    def take_stream(self, headers: dict[str, str], blocks: Iterable[bytes | memoryview]) -> bytes:
        reader = StreamReader(_reading(blocks))
        if self.refuse_write is not None and self.refuse_writes_left:
            self.refuse_writes_left -= 1
            raise self.refuse_write
        item = msgspec.json.decode(headers[TICKET_HEADER], type=BeginItem, dec_hook=lambda _, text: Digest.parse(text))
        lacking = []
        for count, chunk in enumerate(reader):
            if self.dies_after_chunks is not None and count >= self.dies_after_chunks:
                self.down = True
                raise PeerUnreachable("cut the connection") from ConnectionResetError()
            if chunk.data is not None:
                self.chunks[chunk.digest] = bytes(chunk.data)
                self.received.append(chunk.length)
            elif chunk.digest not in self.chunks:
                lacking.append(str(chunk.digest))
        if lacking:
            self.forgets = False
            raise MissingChunks("send these", digests=lacking)
        manifest = reader.manifest
        self.manifests[manifest.digest] = manifest
        version = self._directory.commit(item, manifest.digest, manifest.size, self.holder)
        reply = WriteReply(
            digest=manifest.digest,
            size=manifest.size,
            holder=self.holder.id,
            version=version,
            copies=self._directory.copies,
            cursor=version.cursor,
        )
        return encode(reply)


def _reading(blocks: Iterable[bytes | memoryview]) -> Callable[[int], bytes]:
    source: Iterator[bytes | memoryview] = iter(blocks)
    left = bytearray()

    def read(count: int) -> bytes:
        while len(left) < count:
            block = next(source, None)
            if block is None:
                break
            left.extend(block)
        piece = bytes(left[:count])
        del left[:count]
        return piece

    return read
