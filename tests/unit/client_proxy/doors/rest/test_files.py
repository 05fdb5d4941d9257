"""Files over the API: reading, writing, ranges and receipts, by the thin layer and by Flask alike."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from lockstep_store.runtime.http.content import WHOLE_ANSWER_BYTES
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Unavailable
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import ListRequest, Preconditions, VersionsRequest
from tests.fakes.rest_core import ACCESS
from tests.fakes.wsgi import request_environ
from tests.unit.rest_door import BASE, TOKEN, Door


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
    assert door.files.calls[-1] == ListRequest(ACCESS, "files", prefix="a é/", delimiter="/", limit=7, after="a b")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "prefix=%FF", "prefix=" + "x" * 1100, "x=" * 9000]
)
def test_listing_arguments_are_bounded(door: Door, query: str) -> None:
    """An argument out of bounds, given twice or not UTF-8 is 400."""
    answer = door.ask("GET", f"/api/v1/files/files?{query}" + ("&prefix=a" if query.startswith("x=") else ""))
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


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
    assert door.files.calls[-1] == VersionsRequest(ACCESS, "files", "a", limit=5, after=("a", "v1"))
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
