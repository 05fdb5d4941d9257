"""Sends chunks to a master as a chunk stream, without the bytes that it has already.

A body held in memory is sent in one call. A long one is sent through a `MasterStream`, which sends chunks while the
writer prepares the next window. The blob writer decides what to do when a master fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

import msgspec

from client_proxy.core.composition import Composition
from client_proxy.metrics import SENT_BYTES
from lockstep_store.runtime.peers.chunk_sender import ChunkSender, Send
from lockstep_store.runtime.peers.coalescing import Coalescer
from lockstep_store.runtime.peers.protocols import Caller, Streamer
from lockstep_store.wire.chunk_stream import (
    CONTENT_TYPE,
    FRAME_BYTES,
    encode_stream,
    end_frame,
    stream_length,
    trailing_metadata_frame,
)
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, PeerUnreachable, Problem, from_problem
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import Holder
from lockstep_store.wire.messages.servers import (
    HOP_HEADER,
    MAX_SMALL_STREAM_BYTES,
    MAX_SMALL_WRITES,
    MISSING_CHUNKS,
    SMALL_WRITES,
    TICKET_HEADER,
    WRITE_PATH,
    MissingChunksRequest,
    SmallWrite,
    SmallWritesRequest,
    WriteReply,
)

SMALL_CHUNKS = 16
SMALL_BYTES = MAX_SMALL_STREAM_BYTES - stream_length([0] * SMALL_CHUNKS)
MAX_SMALL_IN_FLIGHT = 1
"""Concurrent calls with small writes to one master: while one waits for the disk, the next batch gathers."""
HELD_SECONDS = 10.0
STREAM_SECONDS = 60.0
"""Time limit of one socket operation. The longest waits while two machines fsync a whole file."""

Req = TypeVar("Req")
Rep = TypeVar("Rep")
Piece = bytes | memoryview
_decoder = decoder(WriteReply)
_NO_ANSWER = Problem("internal", 500, "the master sent no result for the write")


class MasterPeer(Caller, Streamer, Protocol):
    """Makes calls, and sends bodies as they are produced."""


def small_stream(chunks: Sequence[Chunk]) -> bytes | None:
    """Return the chunk stream of a small write; None if the chunks are too many or have too many bytes."""
    if len(chunks) > SMALL_CHUNKS or sum(map(_bytes_of, chunks)) > SMALL_BYTES:
        return None
    return b"".join(encode_stream(chunks))


class Upload:
    """Sends chunks to masters. Thread-safe.

    Raises the master's error, or PeerUnreachable when it cannot be reached or its reply cannot be decoded.
    """

    def __init__(
        self, peer: MasterPeer, *, held_seconds: float = HELD_SECONDS, stream_seconds: float = STREAM_SECONDS
    ) -> None:
        self._peer = peer
        self._coalescers: dict[str, Coalescer[SmallWrite, WriteReply]] = {}
        self._held_seconds = held_seconds
        self._stream_seconds = stream_seconds

    def thinned(self, master: Holder, chunks: list[Chunk], sent: set[Digest]) -> list[Chunk]:
        """Yield `chunks` without the bytes that `master` has, or that were `sent` earlier in the same stream.

        Adds the chunks that keep their bytes to `sent`.
        """
        asked = list({chunk.digest for chunk in chunks if chunk.data is not None and chunk.digest not in sent})
        needed: set[Digest] = set()
        if asked:
            needed = self.lacking(master, asked)
        thinned: list[Chunk] = []
        for chunk in chunks:
            if chunk.data is None or chunk.digest not in needed:
                thinned.append(chunk._replace(data=None))
                continue
            needed.discard(chunk.digest)  # send its bytes once, however often the body repeats it
            sent.add(chunk.digest)
            thinned.append(chunk)
        return thinned

    def lacking(self, master: Holder, asked: list[Digest]) -> set[Digest]:
        """The chunks among `asked` that `master` does not have."""
        request = MissingChunksRequest(digests=asked)
        reply = self._peer.call(master.url, MISSING_CHUNKS, request, timeout=self._held_seconds)
        return set(reply.missing) & set(asked)

    def send_composed(self, master: Holder, ticket: str, composition: Composition) -> WriteReply:
        """Send a composition, with the bytes of the chunks that the master lacks."""
        blocks = _counted(composition.stream(partial(self.lacking, master)))
        answer = self._peer.send_stream(master.url, WRITE_PATH, _headers(ticket), blocks, timeout=self._stream_seconds)
        return _decode(master, answer)

    def send_held(self, master: Holder, ticket: str, chunks: list[Chunk], *, leave_out: bool = True) -> WriteReply:
        """Send a whole body and return the master's reply. `leave_out` omits the bytes that it has.

        A single chunk is sent as it is: asking first would cost as much.
        """
        if leave_out and len(chunks) > 1:
            chunks = self.thinned(master, chunks, set())
        crash_point("proxy.body.sending")
        SENT_BYTES.inc(sum(map(_bytes_of, chunks)))
        stream = small_stream(chunks)
        if stream is not None:
            return self._small(master.url).submit(SmallWrite(ticket, stream))
        blocks = encode_stream(chunks)
        answer = self._peer.send_stream(master.url, WRITE_PATH, _headers(ticket), blocks, timeout=self._held_seconds)
        return _decode(master, answer)

    def _small(self, url: str) -> Coalescer[SmallWrite, WriteReply]:
        """Gathers small writes to one master while a call to it is in progress."""
        coalescer = self._coalescers.get(url)
        if coalescer is None:
            coalescer = Coalescer(
                partial(self._send_small, url), max_batch=MAX_SMALL_WRITES, max_in_flight=MAX_SMALL_IN_FLIGHT
            )
            coalescer = self._coalescers.setdefault(url, coalescer)
        return coalescer

    def send_small(self, url: str, items: list[SmallWrite]) -> list[WriteReply | LockstepError]:
        """Send small writes to the master at `url` in one call; return each one's reply or refusal."""
        crash_point("proxy.small.sending")
        try:
            return self._send_small(url, items)
        except LockstepError as error:
            return [error] * len(items)

    def _send_small(self, url: str, items: list[SmallWrite]) -> list[WriteReply | LockstepError]:
        request = SmallWritesRequest(items, hop="master")
        results = self._peer.call(url, SMALL_WRITES, request, timeout=self._held_seconds).results
        return [result.value or from_problem(result.problem or _NO_ANSWER) for result in results]

    def start(self, master: Holder, ticket: str, room: int) -> MasterStream:
        """Begin a stream to `master`, with a queue of `room` bytes. Use it in a `with` block."""

        def send(blocks: Iterator[Piece]) -> bytes:
            return self._peer.send_stream(
                master.url, WRITE_PATH, _headers(ticket), blocks, timeout=self._stream_seconds
            )

        return MasterStream(master, send, room)


class MasterStream:
    """One stream to a master, sent from its own thread. Use it in a `with` block.

    Leaving the block before `finish` cuts the stream, so it is not committed.
    """

    def __init__(self, master: Holder, send: Send, room: int) -> None:
        self.master = master
        self._sender = ChunkSender(send, name="upload", room=room, on_sent=SENT_BYTES.inc)

    def __enter__(self) -> MasterStream:
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.cut()
        self._sender.wait()

    def put(self, window: list[Chunk]) -> None:
        """Queue the chunks of `window` and clear it, waiting for room. Raises the error of the sending thread."""
        if not self._sender.put(window):
            raise self._failure()
        window.clear()

    def finish(self, manifest: Manifest, metadata: dict[str, str]) -> WriteReply:
        """Send the trailing `metadata` and the end frame of `manifest`, and return the master's reply."""
        end = trailing_metadata_frame(metadata) + end_frame(manifest.digest, manifest.size)
        if self._sender.wait(0):
            raise self._failure()
        self._sender.finish(end)
        self._sender.wait()
        if self._sender.answer is None:
            raise self._failure()
        return _decode(self.master, self._sender.answer)

    def _failure(self) -> BaseException:
        early = PeerUnreachable(f"file server {self.master.id} replied before it had received the whole file")
        return self._sender.error or early


def _bytes_of(chunk: Chunk) -> int:
    return len(chunk.data) if chunk.data is not None else 0


def _counted(blocks: Iterator[Piece]) -> Iterator[Piece]:
    for block in blocks:
        if len(block) > FRAME_BYTES:
            SENT_BYTES.inc(len(block))
        yield block


def _headers(ticket: str) -> dict[str, str]:
    return {"Content-Type": CONTENT_TYPE, TICKET_HEADER: ticket, HOP_HEADER: "master"}


def _decode(master: Holder, answer: bytes) -> WriteReply:
    try:
        return _decoder.decode(answer)
    except (msgspec.DecodeError, LockstepError) as error:
        raise PeerUnreachable(f"the reply of file server {master.id} cannot be decoded: {error}") from error
