"""One chunk stream that is sent while its owner goes on: bounded, and never ended by mistake."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from lockstep_store.runtime.peers.chunk_sender import MAX_WAITING_FRAMES, Block, ChunkSender, StreamCut
from lockstep_store.runtime.tracing import request_id, start_request
from lockstep_store.wire.chunk_stream import StreamReader, end_frame
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import StorageFull
from lockstep_store.wire.manifest import Manifest

NOW = 0.05
"""Patience, in seconds, of a `put` that is expected to find no room."""


def _chunk(size: int, number: int = 0) -> Chunk:
    data = bytes([number]) * size
    return Chunk(chunk_digest(data), size, data)


class Receiver:
    """Reads the blocks, after `open` is set, and answers with how many bytes came."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.taken = b""
        self.request_id = ""

    def __call__(self, blocks: Iterator[Block]) -> bytes:
        assert self.open.wait(60)
        self.request_id = request_id()
        for block in blocks:
            self.taken += bytes(block)
        return b"%d" % len(self.taken)


def _end(chunks: list[Chunk]) -> bytes:
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    return end_frame(manifest.digest, manifest.size)


def test_the_receiver_gets_the_whole_stream_and_its_answer_comes_back() -> None:
    """Every chunk in order, with and without bytes, the end frame, and the owner's request id."""
    start_request()
    receiver, sizes = Receiver(), []
    receiver.open.set()
    sender = ChunkSender(receiver, name="test", room=10_000, on_sent=sizes.append)
    sender.start()
    chunks = [_chunk(number * 100, number) for number in range(5)]
    chunks[2] = chunks[2]._replace(data=None)
    for chunk in chunks:
        assert sender.put([chunk])
    sender.finish(_end(chunks))
    sender.cut()
    assert sender.wait(60)
    assert sender.answer == b"%d" % len(receiver.taken)
    assert list(StreamReader(io.BytesIO(receiver.taken).read)) == chunks
    assert sizes == [0, 100, 300, 400]
    assert receiver.request_id == request_id() != ""


def test_what_waits_is_bounded_in_bytes() -> None:
    """No more than the room, the chunk being sent included, but one larger chunk always gets through."""
    receiver = Receiver()
    sender = ChunkSender(receiver, name="test", room=3000)
    sender.start()
    assert sum(sender.put([_chunk(1400)], NOW) for _ in range(4)) == 2
    receiver.open.set()
    large = _chunk(10_000)
    assert sender.put([large], 60)
    sender.finish(_end([_chunk(1400), _chunk(1400), large]))
    assert sender.wait(60)
    assert sender.error is None


def test_what_waits_is_bounded_in_number() -> None:
    """Chunks without bytes do not gather without end either."""
    sender = ChunkSender(Receiver(), name="test", room=3000)
    thin = _chunk(100)._replace(data=None)
    assert all(sender.put([thin], NOW) for _ in range(MAX_WAITING_FRAMES))
    assert not sender.put([thin], NOW)


def test_a_stream_that_is_cut_never_ends_properly() -> None:
    """The receiver must not take what came for the whole."""
    receiver = Receiver()
    sender = ChunkSender(receiver, name="test", room=3000)
    sender.start()
    sender.put([_chunk(100)])
    sender.cut()
    receiver.open.set()
    assert sender.wait(60)
    assert isinstance(sender.error, StreamCut)
    assert sender.answer is None
    assert end_frame(_chunk(100).digest, 100) not in receiver.taken
    assert not sender.put([_chunk(100)], NOW)


@pytest.mark.parametrize("error", [StorageFull("full"), ValueError("broken")])
def test_a_failure_ends_the_wait_for_room_and_is_kept(error: Exception) -> None:
    """A receiver that refused in mid-stream is noticed by the next chunk, not after a time-out."""
    refuse = threading.Event()

    def send(blocks: Iterator[Block]) -> bytes:
        next(blocks)
        assert refuse.wait(60)
        raise error

    sender = ChunkSender(send, name="test", room=1000)
    sender.start()
    assert sender.put([_chunk(1000)])
    threading.Timer(0.1, refuse.set).start()
    assert not sender.put([_chunk(1000)])
    assert sender.wait(60)
    assert sender.error is error
