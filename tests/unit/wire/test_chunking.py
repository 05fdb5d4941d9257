"""Chunk boundaries and manifests: equal content is always cut alike, and an edit stays local."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from blake3 import blake3
from fastcdc.const import TABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep_store.client.transfers.local_chunks import LocalFile
from lockstep_store.wire.chunking import chunk_blocks, chunk_bytes
from lockstep_store.wire.digest import EMPTY_DIGEST, Digest, chunk_digest
from lockstep_store.wire.errors import BadDigest, BadRequest
from lockstep_store.wire.manifest import (
    AVERAGE_CHUNK_BYTES,
    MANIFEST_CONTEXT,
    MAX_CHUNK_BYTES,
    MIN_CHUNK_BYTES,
    Manifest,
)
from tests import ROOT

CONSOLE = ROOT / "console/src/transfer"
SHARED = json.loads((CONSOLE / "chunking.cases.json").read_text("utf-8"))["cases"]
"""The web console cuts by the same rules: its tests read this table, too."""


def _content(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


def _names(chunks) -> list[tuple[Digest, int]]:
    return [(chunk.digest, chunk.length) for chunk in chunks]


@pytest.mark.parametrize(
    "size", [0, 1, MIN_CHUNK_BYTES - 1, MIN_CHUNK_BYTES, MIN_CHUNK_BYTES + 1, 9_000_000, 24_000_000]
)
def test_blocks_of_any_size_are_cut_like_the_whole(size: int) -> None:
    """However a stream arrives, its chunks are those of the whole file."""
    data = _content(size)
    whole = _names(chunk_bytes(data))
    rng = random.Random(size)
    for _ in range(3):
        blocks, at = [], 0
        while at < size:
            step = rng.choice([1, 777, 65_536, 1_000_000, 5_000_000, 9_000_000])
            blocks.append(data[at : at + step])
            at += step
        assert _names(chunk_blocks(blocks)) == whole
    assert sum(length for _, length in whole) == size
    assert all(length <= MAX_CHUNK_BYTES for _, length in whole)
    assert all(length >= MIN_CHUNK_BYTES for _, length in whole[:-1])


@pytest.mark.parametrize("case", SHARED, ids=[case["name"] for case in SHARED])
def test_the_cases_that_the_console_shares(case: dict[str, Any]) -> None:
    """A browser that cut otherwise would send whole files, and no test of its own would show it."""
    digests = (sha256(str(index).encode()).digest() for index in range(-(-case["mixed_bytes"] // 32)))
    block = b"".join(digests)[: case["mixed_bytes"]] or b"\0"
    data = (block * (case["bytes"] // len(block) + 1))[: case["bytes"]]
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(data))
    assert [length for _, length in manifest.chunks] == case["lengths"]
    assert [str(digest) for digest, _ in manifest.chunks] == case["digests"]
    assert str(manifest.digest) == case["digest"]


def test_the_console_has_the_format_of_the_cluster() -> None:
    """The sizes and FastCDC's table are part of format 1: with others, equal content would be cut otherwise."""
    told = json.loads((CONSOLE / "chunking.json").read_text("utf-8"))
    assert (told["smallest"], told["average"], told["largest"]) == (
        MIN_CHUNK_BYTES,
        AVERAGE_CHUNK_BYTES,
        MAX_CHUNK_BYTES,
    )
    assert (told["context"], told["table"]) == (MANIFEST_CONTEXT, list(TABLE))


@pytest.mark.parametrize("constant", [False, True])
def test_a_stream_is_cut_while_it_comes(constant: bool) -> None:
    """A chunk is given soon after its end was seen: little is held back, and never more than a maximal chunk."""
    held = most = 0

    def blocks() -> Iterator[bytes]:
        nonlocal held, most
        noise = random.Random(11)
        for _ in range(600):
            block = bytes(65_536) if constant else noise.randbytes(65_536)
            held += len(block)
            most = max(most, held)
            yield block

    for chunk in chunk_blocks(blocks()):
        held -= chunk.length
    assert most <= MAX_CHUNK_BYTES + AVERAGE_CHUNK_BYTES
    assert held == 0


def test_a_constant_file_is_cut_at_the_maximum() -> None:
    """Content without any boundary is cut at 4 MiB, in a stream too."""
    data = bytes(10 * 1024 * 1024)
    assert [length for _, length in _names(chunk_bytes(data))] == [MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 2 * 1024 * 1024]
    assert _names(chunk_blocks([data])) == _names(chunk_bytes(data))


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(
        st.tuples(
            st.floats(0, 1), st.sampled_from(["flip", "insert", "delete", "cut", "append"]), st.integers(1, 300_000)
        ),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 3),
)
def test_an_edited_file_cut_against_a_base_is_cut_like_afresh(tmp_path_factory, edits, seed: int) -> None:
    """The fast way to cut an edited file never disagrees with the plain way, whatever the edit and the base."""
    base_data = _content(6_000_000, seed)
    base = Manifest(_names(chunk_bytes(base_data)))
    data = bytearray(base_data)
    for place, kind, amount in edits:
        at = int(place * len(data))
        if kind == "flip" and at < len(data):
            data[at] ^= 255
        elif kind == "insert":
            data[at:at] = _content(amount, seed + 1)
        elif kind == "delete":
            del data[at : at + amount]
        elif kind == "cut":
            del data[at:]
        elif kind == "append":
            data += _content(amount, seed + 2)
    edited = bytes(data)
    path = tmp_path_factory.getbasetemp() / "edited"
    path.write_bytes(edited)
    with LocalFile(path) as file:
        assert _names(file.chunks(base)) == _names(chunk_bytes(edited))


def test_a_one_byte_edit_changes_at_most_two_chunks() -> None:
    """Chunks away from an edit keep their digests, so they need not be sent."""
    data = bytearray(_content(32_000_000))
    before = set(chunk.digest for chunk in chunk_bytes(bytes(data)))
    data[16_000_000] ^= 1
    after = [chunk.digest for chunk in chunk_bytes(bytes(data))]
    assert len([digest for digest in after if digest not in before]) <= 2


def test_a_one_chunk_file_is_named_by_its_plain_hash() -> None:
    """`b3sum FILE` agrees with the digest of a small file."""
    data = _content(1000)
    assert Manifest(_names(chunk_bytes(data))).digest == blake3(data).digest() == chunk_digest(data)
    assert Manifest([]).digest == EMPTY_DIGEST


def test_a_manifest_is_never_taken_for_content() -> None:
    """A file whose content is another file's manifest has another digest."""
    manifest = Manifest(_names(chunk_bytes(_content(5_000_000))))
    assert len(manifest) > 1
    assert chunk_digest(manifest.encode()) != manifest.digest


def test_a_manifest_survives_its_canonical_form_and_shows_an_altered_one() -> None:
    """Decoding checks against the blob's digest; a changed or torn manifest is refused."""
    manifest = Manifest(_names(chunk_bytes(_content(5_000_000))))
    raw = manifest.encode()
    assert Manifest.decode(raw, manifest.digest) == manifest
    with pytest.raises(BadDigest):
        Manifest.decode(bytes([raw[0] ^ 1]) + raw[1:], manifest.digest)
    for torn in (b"", raw[:-1]):
        with pytest.raises(BadRequest):
            Manifest.decode(torn)


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    bounds=st.tuples(st.integers(0, 700), st.integers(0, 700)),
)
def test_a_span_covers_exactly_the_asked_bytes(lengths, bounds) -> None:
    """Reading a range chunk by chunk gives the same bytes as slicing the file."""
    data = bytes(range(256)) * 3
    pieces, at = [], 0
    for length in lengths:
        pieces.append(data[at : at + length])
        at += length
    manifest = Manifest((chunk_digest(piece), len(piece)) for piece in pieces)
    start, stop = bounds
    got = b"".join(pieces[index][first:last] for index, _, _, first, last in manifest.span(start, stop))
    assert got == data[:at][start:stop]
    assert [manifest.offset_of(i) for i in range(len(pieces))] == [sum(lengths[:i]) for i in range(len(pieces))]


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31, "ab" * 33, "é" * 64])
def test_a_bad_digest_is_refused_at_the_border(text: str) -> None:
    """Nothing that is not 64 hex digits becomes a Digest."""
    with pytest.raises(BadRequest):
        Digest.parse(text)
