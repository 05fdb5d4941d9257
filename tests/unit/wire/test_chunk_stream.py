"""The chunk stream shows every cut, flip and lie."""

from __future__ import annotations

import io
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep_store.wire.chunk_stream import (
    END_BYTES,
    MAGIC,
    READ_BYTES,
    StreamReader,
    encode_stream,
    end_frame,
    stream_length,
    trailing_metadata_frame,
)
from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import BadDigest, BadRequest, IncompleteBody, TooLarge
from lockstep_store.wire.manifest import Manifest

PIECES = [random.Random(n).randbytes(n * 700 + 1) for n in range(5)]


def _chunks(pieces=PIECES, without=()) -> list[Chunk]:
    return [
        Chunk(chunk_digest(piece), len(piece), None if index in without else piece)
        for index, piece in enumerate(pieces)
    ]


def _stream(chunks) -> bytes:
    return b"".join(encode_stream(chunks))


def _dribble(data: bytes, seed: int):
    """A reader that gives fewer bytes than asked for, as sockets do."""
    source, rng = io.BytesIO(data), random.Random(seed)
    return lambda count: source.read(min(count, rng.randint(1, 997)))


def test_a_chunk_is_gathered_in_its_own_memory() -> None:
    """A chunk that comes in pieces takes its own length and one piece, not twice its length."""
    piece = random.Random(5).randbytes(4 * 1024 * 1024)
    source = io.BytesIO(_stream([Chunk(chunk_digest(piece), len(piece), piece)]))
    asked = []

    def read(count: int) -> bytes:
        asked.append(count)
        return source.read(count)

    tracemalloc.start()
    try:
        (chunk,) = StreamReader(read)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert chunk.data == piece
    assert max(asked) == READ_BYTES
    assert peak < len(piece) + 3 * READ_BYTES


def test_a_stream_comes_back_as_it_was_sent() -> None:
    """Chunks with and without bytes arrive in order, whatever the reads look like, and name the blob."""
    chunks = _chunks(without={1, 3})
    reader = StreamReader(_dribble(_stream(chunks), 1))
    assert list(reader) == chunks
    assert reader.manifest == Manifest((chunk.digest, chunk.length) for chunk in chunks)


def test_the_length_of_a_stream_is_known_beforehand() -> None:
    """What a server declares as Content-Length is what it sends."""
    assert stream_length(len(piece) for piece in PIECES) == len(_stream(_chunks()))


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_stream_cut_anywhere_is_refused(cut: int) -> None:
    """No prefix of a stream is taken for a whole one."""
    whole = _stream(_chunks())
    cut %= len(whole)
    with pytest.raises((IncompleteBody, BadRequest)):
        list(StreamReader(io.BytesIO(whole[:cut]).read))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 1_000_000), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(place: int, bit: int) -> None:
    """No altered stream is accepted as the blob it was."""
    whole = bytearray(_stream(_chunks()))
    whole[place % len(whole)] ^= 1 << bit
    reader = StreamReader(io.BytesIO(bytes(whole)).read)
    with pytest.raises((BadDigest, BadRequest, IncompleteBody)):
        list(reader)
    with pytest.raises(IncompleteBody):
        _ = reader.manifest


def test_an_end_frame_that_lies_about_the_size_is_refused() -> None:
    """The end frame is checked against the chunks, digest and size."""
    chunk = _chunks()[1]
    body = _stream([chunk])[: -(1 + 32 + 8)]
    for end in (end_frame(chunk.digest, chunk.length + 1), end_frame(chunk_digest(b"other"), chunk.length)):
        with pytest.raises(BadDigest):
            list(StreamReader(io.BytesIO(body + end).read))


def test_a_chunk_over_the_maximum_is_refused_before_it_is_read() -> None:
    """A peer cannot make us hold more than one maximal chunk."""
    header = bytes([1]) + chunk_digest(b"x") + (4 * 1024 * 1024 + 1).to_bytes(4, "big")
    with pytest.raises(BadRequest):
        list(StreamReader(io.BytesIO(MAGIC + header).read))


METADATA = {"etag": "0cc175b9c0f1b6a831c399e269772661", "ü": "☃"}


def with_metadata(metadata: dict[str, str], place: int = -END_BYTES) -> bytes:
    stream = _stream(_chunks())
    return stream[:place] + trailing_metadata_frame(metadata) + stream[place:]


def test_trailing_metadata_precedes_the_end() -> None:
    """What a sender learned while it read arrives with the chunks, and changes nothing about the blob."""
    reader = StreamReader(_dribble(with_metadata(METADATA), 2))
    assert list(reader) == _chunks()
    assert reader.trailing_metadata == METADATA
    assert trailing_metadata_frame({}) == b""


@pytest.mark.parametrize(
    "stream",
    [
        with_metadata(METADATA, len(MAGIC)),
        with_metadata(METADATA)[:-END_BYTES] + trailing_metadata_frame(METADATA) + with_metadata({})[-END_BYTES:],
        with_metadata(METADATA).replace(b"etag", b"gate"),
        with_metadata(METADATA)[: -END_BYTES - 5],
    ],
    ids=["before the chunks", "twice", "altered", "cut"],
)
def test_misplaced_or_altered_trailing_metadata_is_rejected(stream: bytes) -> None:
    """At most one whole frame of trailing metadata, right before the end."""
    with pytest.raises((BadRequest, BadDigest, IncompleteBody)):
        list(StreamReader(io.BytesIO(stream).read))


@pytest.mark.parametrize("body", [b'{"etag": "\xff"}', b'{"etag": ' + b"[" * 8000, b"{}", b"[]", b""])
def test_unreadable_trailing_metadata_is_rejected(body: bytes) -> None:
    """Any content of the frame is the sender's mistake, not a defect of ours."""
    frame = bytes([3]) + chunk_digest(body) + len(body).to_bytes(4, "big")
    stream = with_metadata({})
    with pytest.raises(BadRequest):
        list(StreamReader(_dribble(stream[:-END_BYTES] + frame + body + stream[-END_BYTES:], 7)))


def test_trailing_metadata_is_bounded() -> None:
    """The bound keeps a version's metadata small."""
    with pytest.raises(TooLarge):
        trailing_metadata_frame({"long": "x" * 9000})
