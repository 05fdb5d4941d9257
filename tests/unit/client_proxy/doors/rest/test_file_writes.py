"""Writes over REST: what a request may carry, and what stores nothing."""

from __future__ import annotations

from typing import Any

import pytest

from client_proxy.core.requests import Copy, Write
from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import MissingChunks, Unavailable
from lockstep_store.wire.messages.files import CommittedReply, Preconditions
from tests.fakes.rest_core import ACCESS
from tests.fakes.wsgi import UNDECLARED, request_environ
from tests.unit.rest_door import BASE, TOKEN, Door


def test_a_new_path_is_201_and_the_next_version_200(door: Door) -> None:
    """A PUT says by its status whether the path is new, and gives the receipt with its durable copies."""
    first = door.ask("PUT", BASE + "a", b"one")
    assert first.status == 201
    assert first.headers["X-Lockstep-Copies"] == "2/2 fsynced"
    assert first.headers["X-Lockstep-File-Server"] == "1"
    assert first.headers["X-Lockstep-Digest"] == chunk_digest(b"one").hex()
    assert first.headers["X-Lockstep-Cache"] == "write"
    reply = decoder(CommittedReply).decode(first.body)
    assert (reply.version.size, reply.version.version, reply.copies) == (3, "v1", 2)
    assert door.ask("PUT", BASE + "a", b"two").status == 200
    assert door.files.contents["files", "a"][1] == b"two"


def test_what_a_write_may_carry_reaches_the_store(door: Door) -> None:
    """Lock number, release, preconditions, type and metadata arrive as they were sent."""
    door.ask(
        "PUT",
        BASE + "a",
        b"one",
        headers={
            "X-Lockstep-Lock": "17",
            "X-Lockstep-Release-Lock": "true",
            "If-Match": '"aa", "bb"',
            "If-None-Match": "*",
            "Content-Type": "text/markdown; charset=utf-8",
            "X-Lockstep-Metadata": '{"made_by": "ann 100%", "made-by": "Zo\\u00eb"}',
        },
    )
    assert door.files.calls[-1] == Write(
        ACCESS,
        "files",
        "a",
        size=3,
        lock_number=17,
        release_lock=True,
        preconditions=Preconditions(if_match=["aa", "bb"], if_none_match=["*"]),
        content_type="text/markdown; charset=utf-8",
        metadata={"made_by": "ann 100%", "made-by": "Zoë"},
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Lockstep-Lock": "abc"},
        {"X-Lockstep-Lock": "-1"},
        {"X-Lockstep-Lock": ""},
        {"X-Lockstep-Lock": "1" * 30},
        {"X-Lockstep-Release-Lock": "perhaps"},
        {"If-Match": '"unfinished'},
        {"If-Match": ""},
        {"If-None-Match": '"a";"b"'},
        {"If-Match": "x" * 9000},
        {"Content-Type": "not a type"},
        {"X-Lockstep-Metadata": ""},
        {"X-Lockstep-Metadata": "colour=blue"},
        {"X-Lockstep-Metadata": '["colour"]'},
        {"X-Lockstep-Metadata": '{"size": 3}'},
        {"X-Lockstep-Metadata": '{"Colour": "blue"}'},
        {"X-Lockstep-Metadata": '{"col our": "blue"}'},
        {"X-Lockstep-Metadata": '{"s3:checksum": "x"}'},
        {"X-Lockstep-Metadata": '{"colour": "a\\u0000b"}'},
        {"X-Lockstep-Metadata": '{"long": "%s"}' % ("x" * 8193)},
        {"X-Lockstep-Metadata": '{"long": "%s"}' % ("\\u00eb" * 20_000)},
        {"X-Lockstep-Meta-Colour": "blue"},
        {"X-Lockstep-Meta-realm_id": "1"},
        {"X-Lockstep-Digest": "00" * 32},
    ],
)
def test_headers_that_cannot_be_meant_are_refused(door: Door, headers: dict[str, str]) -> None:
    """A header that is malformed or out of bounds is 400, and nothing is stored."""
    answer = door.ask("PUT", BASE + "a", b"data", headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert door.files.contents == {}


@pytest.mark.parametrize("sent", [0, 1, 99_999])
def test_a_body_cut_short_stores_nothing(door: Door, sent: int) -> None:
    """Fewer bytes than declared are 400 incomplete_body, and nothing is committed."""
    answer = door.ask("PUT", BASE + "a", b"x" * sent, length=100_000)
    assert (answer.status, answer.json["code"]) == (400, "incomplete_body")
    assert door.files.contents == {}


@pytest.mark.parametrize("surplus", [1, 600_000])
@pytest.mark.parametrize("declared", [10, 512 * 1024, 512 * 1024 + 1])
def test_a_body_longer_than_declared_stores_nothing(door: Door, declared: int, surplus: int) -> None:
    """More bytes than declared are 400 incomplete_body, and nothing is committed."""
    answer = door.ask("PUT", BASE + "a", b"x" * (declared + surplus), length=declared)
    assert (answer.status, answer.json["code"]) == (400, "incomplete_body")
    assert door.files.contents == {}


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_without_a_length_is_refused(door: Door, chunked: bool) -> None:
    """Plain bytes without a Content-Length are 411: their end could not be told from a cut connection."""
    answer = door.ask("PUT", BASE + "a", b"data", length=UNDECLARED, chunked=chunked)
    assert (answer.status, answer.json["code"]) == (411, "length_required")
    assert door.files.contents == {}


def test_a_file_over_the_bound_is_refused_unread(door: Door) -> None:
    """A declared size no manifest can hold is 413."""
    answer = door.ask("PUT", BASE + "a", b"", length=5 * 1024**4, headers={"Expect": "100-continue"})
    assert (answer.status, answer.json["code"]) == (413, "too_large")


def test_a_large_body_arrives_whole(door: Door) -> None:
    """A body of several blocks is stored byte for byte."""
    data = bytes(range(256)) * 8192 + b"end"
    assert door.ask("PUT", BASE + "a", data).status == 201
    assert door.files.contents["files", "a"][1] == data


@pytest.mark.parametrize("chunked", [True, False])
def test_a_chunk_stream_proves_its_own_end(door: Door, chunked: bool) -> None:
    """A chunk stream is stored with or without a Content-Length, with what it announces."""
    data = b"streamed"
    stream = b"".join(bytes(part) for part in encode_stream(chunk_bytes(data)))
    headers = {
        "Content-Type": CHUNK_STREAM,
        "X-Lockstep-Digest": chunk_digest(data).hex(),
        "X-Lockstep-Size": str(len(data)),
        "X-Lockstep-Content-Type": "text/x-log",
    }
    length = UNDECLARED if chunked else None
    answer = door.ask("PUT", BASE + "a", stream, headers=headers, chunked=chunked, length=length)
    assert answer.status == 201
    called = door.files.calls[-1]
    assert (called.size, called.content_type, door.files.announced) == (8, "text/x-log", [chunk_digest(data)])
    assert door.files.contents["files", "a"][1] == data


def test_a_chunk_stream_without_its_end_stores_nothing(door: Door) -> None:
    """A chunk stream that is cut anywhere is 400 incomplete_body, and nothing is committed."""
    stream = b"".join(bytes(part) for part in encode_stream(chunk_bytes(b"streamed")))
    for cut in range(len(stream)):
        answer = door.ask(
            "PUT", BASE + "a", stream[:cut], headers={"Content-Type": CHUNK_STREAM}, chunked=True, length=UNDECLARED
        )
        assert (answer.status, answer.json["code"]) == (400, "incomplete_body")
    assert door.files.contents == {}


def test_missing_chunks_are_named(door: Door) -> None:
    """The 409 of a delta upload lists, under facts.digests, every chunk to send with its bytes."""
    digests = [chunk_digest(bytes([number])).hex() for number in range(150)]
    door.files.error = MissingChunks("send these with their bytes", digests=digests)
    answer = door.ask("PUT", BASE + "a", b"LSC1", headers={"Content-Type": CHUNK_STREAM})
    assert (answer.status, answer.json["code"], answer.json["facts"]["digests"]) == (409, "missing_chunks", digests)
    assert "digests" not in answer.json


def test_a_refused_body_is_read_to_its_end(door: Door) -> None:
    """What a client still sends of a refused body is read, so that it gets to see the refusal."""
    door.files.error = Unavailable("not now")
    environ = request_environ("PUT", BASE + "a", b"x" * 2_000_000, headers={"Authorization": f"Bearer {TOKEN}"})
    reader = environ["wsgi.input"]
    door.app.wsgi_app(environ, lambda *_: None)
    assert reader.tell() == 2_000_000
    reader.seek(0)
    door.app.wsgi_app({**environ, "HTTP_EXPECT": "100-continue"}, lambda *_: None)
    assert reader.tell() == 0


def test_copy_and_move(door: Door) -> None:
    """A copy names its source and target, may pin a version, and may move."""
    door.files.put("files", "a", b"1")
    body = (
        b'{"source": {"bucket": "files", "path": "a", "version": "v1"}, "bucket": "files", "path": "b", "move": true,'
        b' "lock_number": 4, "source_lock_number": 5}'
    )
    answer = door.ask("POST", "/api/v1/copy", body)
    assert answer.status == 201
    assert answer.headers["X-Lockstep-Version"] == "v2"
    assert door.files.calls[-1] == Copy(
        ACCESS,
        "files",
        "b",
        source_bucket="files",
        source_path="a",
        source_version="v1",
        source_lock_number=5,
        move=True,
        lock_number=4,
    )
    bad = body.replace(b'"path": "b"', b'"path": "../b"')
    assert door.ask("POST", "/api/v1/copy", bad).json["code"] == "bad_name"
    calls = len(door.files.calls)
    forged = body.replace(b'"move": true', b'"metadata": {"by": "ann", "s3:etag": "another content\'s"}')
    assert door.ask("POST", "/api/v1/copy", forged).json["code"] == "bad_request"
    assert len(door.files.calls) == calls


@pytest.mark.parametrize(
    "asked",
    [
        {"metadata": {"s3:sse-c": "eA=="}},
        {"metadata": {"s3:kms": "x"}},
        {"metadata": {"s3:checksum-sha1": "x"}},
        {"metadata": {"": "x"}},
        {"metadata": {"colour": "a\r\nX-Evil: 1"}},
        {"metadata": {"colour": "x" * 70_000}},
        {"content_type": "text/html\r\nX-Evil: 1"},
        {"content_type": "nonsense"},
    ],
    ids=str,
)
def test_a_copys_metadata_is_a_persons_own(door: Door, asked: dict[str, Any]) -> None:
    """What a copy is to have is checked as a write's headers are: Lockstep's own facts are nobody's to write."""
    door.files.put("files", "a", b"1")
    body = {"source": {"bucket": "files", "path": "a"}, "bucket": "files", "path": "b"}
    answer = door.post("/api/v1/copy", body | asked)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert door.ask("GET", BASE + "b").status == 404
    kept = {"metadata": {"colour": "blau \u00fc", "some_name": ""}, "content_type": "text/html"}
    assert door.post("/api/v1/copy", body | kept).status == 201
    assert door.files.calls[-1].metadata == kept["metadata"]
