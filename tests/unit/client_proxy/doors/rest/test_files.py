"""Files over the API: reading, writing, ranges and receipts, by the thin layer and by Flask alike."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from client_proxy.core.requests import Copy, Write
from lockstep_store.runtime.http.content import WHOLE_ANSWER_BYTES
from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM
from lockstep_store.wire.chunk_stream import encode_stream
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import decoder
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import MissingChunks, Unavailable
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import CommittedReply, ListRequest, Preconditions, VersionsRequest
from tests.fakes.wsgi import UNDECLARED, request_environ
from tests.unit.rest_door import TOKEN, Door, make_door

BASE = "/api/v1/files/files/"


@pytest.fixture(params=[True, False], ids=["thin", "flask"])
def door(request: pytest.FixtureRequest) -> Door:
    return make_door(thin=request.param)


def test_a_read_gives_the_bytes_with_their_length_and_receipt(door: Door) -> None:
    """A GET answers the file's bytes, its declared length, and every receipt header."""
    door.files.put("files", "a.txt", b"hello", metadata={"colour": "blue"})
    answer = door.ask("GET", BASE + "a.txt")
    digest = chunk_digest(b"hello").hex()
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["Content-Length"] == "5"
    assert answer.headers["X-Lockstep-Digest"] == digest
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["X-Lockstep-Version"] == "v1"
    assert answer.headers["X-Lockstep-Cursor"] == "1"
    assert answer.headers["X-Lockstep-Cache"] == "miss"
    assert answer.headers["X-Lockstep-File-Server"] == "2"
    assert json.loads(answer.headers["X-Lockstep-Metadata"]) == {"colour": "blue"}
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answer.headers["X-Request-Id"]
    assert door.files.opened[0].closed


def test_head_says_what_get_would_without_reading(door: Door) -> None:
    """A HEAD has a GET's headers and no body, and reads no byte of the file."""
    door.files.put("files", "a.bin", b"x" * 100)
    answer = door.ask("HEAD", BASE + "a.bin")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "100")
    assert answer.headers["X-Lockstep-Version"] == "v1"
    assert answer.headers["X-Lockstep-Cursor"] == "1"
    assert door.files.opened[0].given == 0
    assert door.files.opened[0].closed


def test_an_empty_file_is_a_file(door: Door) -> None:
    """A file of 0 bytes is written and read back as one."""
    assert door.ask("PUT", BASE + "empty", b"").status == 201
    answer = door.ask("GET", BASE + "empty")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_a_large_file_is_streamed_whole(door: Door) -> None:
    """A file over the whole-answer bound comes in blocks that add up, and is closed afterwards."""
    data = bytes(range(256)) * (WHOLE_ANSWER_BYTES // 256 + 1)
    door.files.put("files", "large", data)
    answer = door.ask("GET", BASE + "large")
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["X-Lockstep-Cache"] == "miss"
    assert answer.body == data
    assert door.files.opened[0].closed


def test_a_large_range_is_streamed(door: Door) -> None:
    """A range over the whole-answer bound is exactly the range."""
    data = bytes(range(251)) * (WHOLE_ANSWER_BYTES // 200)
    door.files.put("files", "large", data)
    stop = 10 + WHOLE_ANSWER_BYTES + 5
    answer = door.ask("GET", BASE + "large", headers={"Range": f"bytes=10-{stop - 1}"})
    assert (answer.status, answer.body) == (206, data[10:stop])
    assert answer.headers["Content-Range"] == f"bytes 10-{stop - 1}/{len(data)}"


def test_a_failure_in_mid_stream_breaks_the_answer(door: Door) -> None:
    """When the rest of a file cannot be had, the answer raises with bytes still owed: it never ends as if complete."""
    door.files.put("files", "large", b"x" * (WHOLE_ANSWER_BYTES + 1))
    door.files.read_error, door.files.break_after = Unavailable("every holder failed"), 2
    answer = door.ask("GET", BASE + "large")
    assert answer.status == 200
    assert isinstance(answer.error, Unavailable)
    assert len(answer.body) < int(answer.headers["Content-Length"])
    assert door.files.opened[0].closed


def test_a_file_that_ends_early_breaks_the_answer(door: Door) -> None:
    """Fewer bytes than the version has are never passed off as all of it."""
    committed = door.files.put("files", "large", b"x" * (WHOLE_ANSWER_BYTES + 1))
    door.files.contents["files", "large"] = (committed.version, b"x" * WHOLE_ANSWER_BYTES)
    answer = door.ask("GET", BASE + "large")
    assert answer.error is not None
    assert len(answer.body) < int(answer.headers["Content-Length"])


def test_a_failure_before_the_first_byte_is_a_refusal(door: Door) -> None:
    """A large file whose first block cannot be had answers 503 with a problem, not a broken body."""
    door.files.put("files", "large", b"x" * (WHOLE_ANSWER_BYTES + 1))
    door.files.read_error = Unavailable("every holder failed")
    answer = door.ask("GET", BASE + "large")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert door.files.opened[0].closed


def test_a_client_that_goes_away_closes_the_file(door: Door) -> None:
    """An answer that is closed before its end stops reading the file."""
    door.files.put("files", "large", b"x" * (2 * WHOLE_ANSWER_BYTES))
    environ = request_environ("GET", BASE + "large", headers={"Authorization": f"Bearer {TOKEN}"})
    body: Any = door.app.wsgi_app(environ, lambda *_: None)
    next(iter(body))
    body.close()
    assert door.files.opened[0].closed
    assert door.files.opened[0].given < 8


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-1", (206, b"01", "bytes 0-1/10")),
        ("bytes=8-", (206, b"89", "bytes 8-9/10")),
        ("bytes=-3", (206, b"789", "bytes 7-9/10")),
        ("bytes=5-500", (206, b"56789", "bytes 5-9/10")),
        ("bytes=0-1,4-5", (200, b"0123456789", None)),
        ("lines=0-1", (200, b"0123456789", None)),
        ("bytes=5-2", (200, b"0123456789", None)),
    ],
)
def test_ranges(door: Door, header: str, expected: tuple[int, bytes, str | None]) -> None:
    """One range is answered with 206 and exactly its bytes; what is not one range, with the whole file."""
    door.files.put("files", "ten", b"0123456789")
    answer = door.ask("GET", BASE + "ten", headers={"Range": header})
    assert (answer.status, answer.body, answer.headers.get("Content-Range")) == expected
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_outside_the_file_says_its_size(door: Door, header: str) -> None:
    """A range with no byte of the file is 416 with the file's size."""
    door.files.put("files", "ten", b"0123456789")
    answer = door.ask("GET", BASE + "ten", headers={"Range": header})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10")
    assert (answer.json["code"], answer.json["size"]) == ("range_not_satisfiable", 10)


def test_head_ignores_ranges(door: Door) -> None:
    """A HEAD with a Range is about the whole file."""
    door.files.put("files", "ten", b"0123456789")
    answer = door.ask("HEAD", BASE + "ten", headers={"Range": "bytes=0-1"})
    assert (answer.status, answer.headers["Content-Length"]) == (200, "10")


def test_conditional_reads(door: Door) -> None:
    """A current copy is 304 with its receipt and no body; a stale expectation is 412 and never the bytes."""
    tag = f'"{door.files.put("files", "a", b"now").version.digest.hex()}"'
    for method in ("GET", "HEAD"):
        fresh = door.ask(method, BASE + "a", headers={"If-None-Match": tag})
        assert (fresh.status, fresh.body, fresh.headers["ETag"]) == (304, b"", tag)
        assert fresh.headers["X-Lockstep-Cursor"] == "1"
        assert "Content-Length" not in fresh.headers
        assert door.ask(method, BASE + "a", headers={"If-Match": '"0000"'}).status == 412
    assert door.ask("GET", BASE + "a", headers={"If-None-Match": '"other"'}).body == b"now"
    assert door.ask("GET", BASE + "a", headers={"If-Match": tag}).body == b"now"
    assert all(opened.closed for opened in door.files.opened)


def test_if_range_keeps_parts_of_one_version(door: Door) -> None:
    """A range under an If-Range that no longer holds is answered with the whole new file."""
    tag = f'"{door.files.put("files", "a", b"0123").version.digest.hex()}"'
    assert door.ask("GET", BASE + "a", headers={"Range": "bytes=1-", "If-Range": tag}).body == b"123"
    assert door.ask("GET", BASE + "a", headers={"Range": "bytes=1-", "If-Range": '"old"'}).body == b"0123"


def test_a_version_can_be_named(door: Door) -> None:
    """?version= reaches the file store, for reading and for deleting."""
    door.files.put("files", "a", b"1")
    assert door.ask("GET", BASE + "a?version=v1").status == 200
    assert door.ask("GET", BASE + "a?version=v9").status == 404
    door.ask("DELETE", BASE + "a?version=v1")
    assert door.files.calls[-1].version == "v1"


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
        TOKEN,
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


def test_delete_says_whether_there_was_anything(door: Door) -> None:
    """DELETE passes its conditions on and answers what happened."""
    door.files.put("files", "a", b"1")
    first = door.ask("DELETE", BASE + "a", headers={"X-Lockstep-Lock": "3", "If-Match": '"aa"'})
    assert (first.status, first.json["existed"]) == (200, True)
    assert door.files.calls[-1].lock_number == 3
    assert door.files.calls[-1].preconditions == Preconditions(if_match=["aa"])
    assert door.ask("DELETE", BASE + "a").json["existed"] is False


def test_listing_passes_its_arguments(door: Door) -> None:
    """A listing's prefix, delimiter, limit and cursor reach the store as text."""
    answer = door.ask("GET", "/api/v1/files/files?prefix=a%20%C3%A9/&delimiter=/&limit=7&cursor=a%20b")
    assert answer.status == 200
    assert door.files.calls[-1] == ListRequest(TOKEN, "files", prefix="a é/", delimiter="/", limit=7, after="a b")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "prefix=%FF", "prefix=" + "x" * 1100, "x=" * 9000]
)
def test_listing_arguments_are_bounded(door: Door, query: str) -> None:
    """An argument out of bounds, given twice or not UTF-8 is 400."""
    answer = door.ask("GET", f"/api/v1/files/files?{query}" + ("&prefix=a" if query.startswith("x=") else ""))
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


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
        TOKEN,
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


def test_the_manifest_is_canonical(door: Door) -> None:
    """The manifest's bytes hash to the digest that its receipt states."""
    data = bytes(range(256)) * 4096 * 5
    door.files.put("files", "a/b", data)
    answer = door.ask("GET", "/api/v1/manifests/files/a/b")
    digest = Digest.parse(answer.headers["X-Lockstep-Digest"])
    assert Manifest.decode(answer.body, digest).size == len(data)
    assert answer.headers["Content-Type"] == "application/vnd.lockstep.manifest"


def test_versions_and_restore(door: Door) -> None:
    """Versions page by version id; restore copies the version onto its own path, whatever the path ends in."""
    door.files.put("files", "a", b"1")
    door.files.put("files", "a/restore", b"2")
    assert door.ask("GET", "/api/v1/versions/files/a?limit=5&cursor=v1").status == 200
    assert door.files.calls[-1] == VersionsRequest(TOKEN, "files", "a", limit=5, after=("a", "v1"))
    assert door.ask("GET", "/api/v1/versions/files/a/restore").status == 200
    assert door.files.calls[-1].path == "a/restore"
    answer = door.ask(
        "POST", "/api/v1/versions/files/a/restore", b'{"version": "v1"}', headers={"X-Lockstep-Lock": "6"}
    )
    assert answer.status == 200
    called = door.files.calls[-1]
    assert (called.path, called.source_version, called.lock_number) == ("a", "v1", 6)
    door.ask("POST", "/api/v1/versions/files/a/restore/restore", b'{"version": "v2"}')
    assert door.files.calls[-1].path == "a/restore"


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("a/page.html", "", 'attachment; filename="page.html"'),
        ("drawing.svg", "", 'attachment; filename="drawing.svg"'),
        ("photo.png", "", 'inline; filename="photo.png"'),
        ("x", "TEXT/HTML; charset=utf-8", 'attachment; filename="x"'),
        ('q"; x=\\.txt', "", "inline; filename=\"q__ x=_.txt\"; filename*=UTF-8''q%22%3B%20x%3D%5C.txt"),
        ("é😀", "", "attachment; filename=\"__\"; filename*=UTF-8''%C3%A9%F0%9F%98%80"),
        ("folder/", "", 'attachment; filename="folder"'),
    ],
)
def test_what_a_browser_may_do_with_a_file(door: Door, path: str, kind: str, expected: str) -> None:
    """Only types that cannot run scripts are shown in place, and the name to save under cannot break its header."""
    door.files.put("files", path, b"x", content_type=kind)
    answer = door.ask("GET", BASE + quote(path))
    assert answer.headers["Content-Disposition"] == expected


def test_a_stored_type_that_is_no_type_is_not_sent(door: Door) -> None:
    """A content type that could break the header is replaced by what the name suggests."""
    door.files.put("files", "a.json", b"{}", content_type="x\r\nSet-Cookie: a=b")
    assert door.ask("GET", BASE + "a.json").headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.tar.gz", "application/gzip"),
        ("a.unknown-kind", "application/octet-stream"),
        ("a.css", "text/css; charset=utf-8"),
    ],
)
def test_types_are_guessed_from_names(door: Door, path: str, expected: str) -> None:
    """Without a stated type the name decides, the same on every machine."""
    door.ask("PUT", BASE + path, b"x", headers={"Content-Type": "application/octet-stream"})
    assert door.files.contents["files", path][0].content_type == ""
    assert door.ask("GET", BASE + path).headers["Content-Type"] == expected
