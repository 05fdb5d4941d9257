"""Names at the API's border: what is refused, and what arrives exactly as it was sent."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from lockstep_store.wire.messages.buckets import BucketInfo
from tests.fakes.wsgi import ask
from tests.unit.rest_door import BASE, TOKEN, Door, clean_door

NFC, NFD = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("plain.txt", "plain.txt"),
        ("a%20b/c%20d", "a b/c d"),
        ("a%2Fb", "a/b"),
        ("a%2fb%2Fc", "a/b/c"),
        ("folder/", "folder/"),
        ("a//b", "a//b"),
        ("%F0%9F%98%80.txt", "😀.txt"),
        ("%C3%A9", NFC),
        ("e%CC%81", NFD),
        ("100%25", "100%"),
        ("a+b", "a+b"),
        ("a%3Fb%23c", "a?b#c"),
        ("%252F", "%2F"),
        ("..a/b..", "..a/b.."),
        ("restore", "restore"),
        ("x" * 1024, "x" * 1024),
    ],
)
def test_names_are_kept_as_they_are(door: Door, sent: str, stored: str) -> None:
    """A name arrives percent-decoded once and otherwise untouched, and reads back under the same address."""
    assert door.ask("PUT", BASE + sent, b"data").status == 201
    assert list(door.files.contents) == [("files", stored)]
    assert door.ask("GET", BASE + sent).body == b"data"
    assert door.ask("HEAD", BASE + sent).status == 200
    assert door.ask("GET", "/api/v1/versions/files/" + sent).status == 200
    assert door.files.calls[-1].path == stored
    assert door.ask("DELETE", BASE + sent).json["existed"] is True


def test_two_spellings_are_two_files(door: Door) -> None:
    """A composed and a decomposed é do not overwrite each other."""
    assert door.ask("PUT", BASE + "%C3%A9", b"nfc").status == 201
    assert door.ask("PUT", BASE + "e%CC%81", b"nfd").status == 201
    assert door.ask("GET", BASE + "%C3%A9").body == b"nfc"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../up",
        "a/../b",
        "a/..",
        "a/./b",
        ".",
        "%2e%2e/up",
        "a%2f..%2fb",
        "/absolute",
        "%2Fabsolute",
        "nul%00byte",
        "line%0Aend",
        "tab%09",
        "del%7F",
        "c1%C2%85",
        "x" * 1025,
        "%C3%A9" * 513,
        "not-utf8-%FF",
        "cut-%E2%82",
        "surrogate-%ED%A0%80",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_names_that_are_refused(door: Door, method: str, name: str) -> None:
    """A bad name is 400 bad_name from every method, and the core is never asked."""
    answer = door.ask(method, BASE + name, b"data" if method == "PUT" else b"")
    assert answer.status == 400
    assert answer.body == b"" if method == "HEAD" else answer.json["code"] == "bad_name"
    assert door.files.calls == []


@pytest.mark.parametrize("address", ["manifests", "versions"])
@pytest.mark.parametrize("name", ["", "..", "/absolute", "line%0Aend", "not-utf8-%FF"])
def test_other_routes_check_names_alike(door: Door, address: str, name: str) -> None:
    """Manifests and versions refuse the same names as files."""
    answer = door.ask("GET", f"/api/v1/{address}/files/{name}")
    assert (answer.status, answer.json["code"]) == (400, "bad_name")
    assert door.files.calls == []


@pytest.mark.parametrize("bucket", ["", "ab", "Upper", "api", "metrics", "a..b", "1.2.3.4", "%C3%A9-bucket", "x" * 64])
def test_bucket_names_are_checked(door: Door, bucket: str) -> None:
    """A bucket name outside S3's rules, or one of the proxy's own addresses, is 400 bad_name."""
    for target in (f"/api/v1/files/{bucket}/a", f"/api/v1/files/{bucket}", f"/api/v1/buckets/{bucket}"):
        answer = door.ask("GET", target)
        assert (answer.status, answer.json["code"]) == (400, "bad_name"), target
    assert door.files.calls == []
    assert door.directory.calls == []


def test_text_paths_of_other_servers_mean_the_same() -> None:
    """A server that hands over decoded text instead of bytes as characters reaches the same file."""
    door = clean_door()
    door.files.put("files", "a 😀", b"data")
    environ_path = BASE + "a 😀"
    answer = ask(door.app, "GET", "/", headers={"Authorization": f"Bearer {TOKEN}", "Path-Info": environ_path})
    assert (answer.status, answer.body) == (200, b"data")


def test_the_address_is_never_redirected(door: Door) -> None:
    """Double and trailing slashes are part of the name, or lead nowhere; no answer is a redirect."""
    for target in ("/api//v1/files/files/a", "//api/v1/files/files/a", "/api/v1/files/files/a/", "/api/v1/buckets/"):
        answer = door.ask("GET", target)
        assert answer.status in (400, 404), target


def test_lock_paths_are_checked_names() -> None:
    """The paths of a lock pass the same check, whichever way they are written."""
    door = clean_door()
    bodies: list[dict[str, Any]] = [
        {"paths": ["files/../x"]},
        {"paths": ["files/"]},
        {"paths": ["NoBucket/a"]},
        {"paths": [{"bucket": "files", "path": "/a"}]},
        {"paths": ["/a"], "bucket": "files"},
    ]
    for body in bodies:
        answer = door.post("/api/v1/locks", body)
        assert (answer.status, answer.json["code"]) == (400, "bad_name"), body
    assert door.post("/api/v1/locks", {"paths": ["nobucket"]}).json["code"] == "bad_request"
    assert door.directory.calls == []


def test_a_bucket_is_created_by_its_checked_name() -> None:
    """A new bucket's name is checked before the directory is asked."""
    door = clean_door()
    assert door.post("/api/v1/buckets", {"name": "Bad Name"}).json["code"] == "bad_name"
    assert door.directory.calls == []
    door.directory.answers["/v1/buckets/create"] = BucketInfo("good-name", "ann", "off", False, 0.0)
    assert door.post("/api/v1/buckets", {"name": "good-name"}).status == 201


@pytest.mark.parametrize("name", ["%20", "a%20b", ".a", "x" * 65, "%C3%A4"])
@pytest.mark.parametrize(
    ("method", "action"), [("PUT", ""), ("DELETE", ""), ("POST", "/test")], ids=["add", "remove", "test"]
)
def test_a_targets_name_is_checked_at_the_door(door: Door, name: str, method: str, action: str) -> None:
    """Who misspells it is told which names there can be, not what programs say to one another."""
    answer = door.ask(method, f"/api/v1/cluster/targets/{name}{action}", b'{"url": "https://hooks.test/"}')
    assert (answer.status, answer.json["code"]) == (400, "bad_name")
    assert "target name" in answer.json["detail"] or "printable" in answer.json["detail"]
    assert door.directory.calls == []
