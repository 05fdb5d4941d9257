"""Types of bodies that come without one: when a write is looked into, and what a stream without its beginning gets."""

from __future__ import annotations

import io
from typing import Any

import pytest

from client_proxy.core.found_types import KnownTypes, added, are_wanted
from client_proxy.core.requests import Write
from lockstep_store.wire.chunk_stream import StreamReader, encode_stream
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.content_types import FOUND_TYPE
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.messages.files import MAX_METADATA_BYTES, FileVersion
from lockstep_store.wire.messages.writes import UploadStep

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def write(path: str = "scan", **more: Any) -> Write:
    return Write("ann", "files", path, size=None, **more)


def read(chunks: list[Chunk]) -> StreamReader:
    """A stream of these chunks that has been read to its end."""
    reader = StreamReader(io.BytesIO(b"".join(encode_stream(chunks))).read)
    assert len(list(reader)) == len(chunks)
    return reader


def left_out(chunks: list[Chunk]) -> list[Chunk]:
    return [chunk._replace(data=None) for chunk in chunks]


@pytest.mark.parametrize(
    "stated",
    [
        {"path": "scan.png"},
        {"content_type": "image/png"},
        {"raw": True},
        {"upload": UploadStep("0" * 32, 1)},
        {"metadata": {"notes": "x" * (MAX_METADATA_BYTES - 100)}},
    ],
    ids=["by its name", "by its writer", "encrypted", "a part", "no room"],
)
def test_a_write_is_looked_into_only_if_nothing_else_tells_its_type(stated: dict[str, Any]) -> None:
    """Not if its name or writer does, if the bytes are not the person's own, or if there is no room to note it."""
    assert are_wanted(write())
    assert are_wanted(write(metadata={"notes": "x" * 1000}))
    assert not are_wanted(write(**stated))


def test_a_stream_shows_its_type_in_its_first_chunk() -> None:
    """One without chunks shows none."""
    assert KnownTypes().of_stream(read(list(chunk_bytes(PNG)))) == {FOUND_TYPE: "image/png"}
    assert KnownTypes().of_stream(read([])) == {}


def test_a_first_chunk_that_is_left_out_has_the_type_of_the_version_it_is_from() -> None:
    """A version without a found type says nothing, nor does one that begins with another chunk."""
    chunks, others = list(chunk_bytes(PNG)), list(chunk_bytes(b"%PDF-1.7 something else"))
    stream = read(left_out(chunks))
    known = KnownTypes()
    known.note([(chunk.digest, chunk.length) for chunk in others], version("application/pdf"))
    known.note([(chunk.digest, chunk.length) for chunk in chunks], version(""))
    assert known.of_stream(stream) == {}
    known.note([(chunk.digest, chunk.length) for chunk in chunks], version("image/png"))
    assert known.of_stream(stream) == {FOUND_TYPE: "image/png"}


def test_metadata_of_several_sources_is_added() -> None:
    """Each source is asked when all of it is wanted, not before."""
    asked: list[str] = []

    def source(name: str) -> dict[str, str]:
        asked.append(name)
        return {name: "value"}

    both = added(lambda: source("a"), lambda: source("b"))
    assert asked == []
    assert both() == {"a": "value", "b": "value"}


def version(kind: str) -> FileVersion:
    metadata = {FOUND_TYPE: kind} if kind else {}
    return FileVersion("files", "scan", "v1", chunk_digest(b""), 0, "ann", 0.0, metadata=metadata)
