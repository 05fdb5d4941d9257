"""Refusals: who one is, what is wrong, and the one shape that every error takes."""

from __future__ import annotations

import logging

import pytest

from lockstep_store.wire.codec import decode_problem
from lockstep_store.wire.errors import (
    BY_CODE,
    Locked,
    LockstepError,
    NotModified,
    Overloaded,
    StorageFull,
    from_problem,
)
from tests.fakes.rest_core import FakeOpenFile
from tests.fakes.wsgi import ask
from tests.unit.rest_door import TOKEN, Door, clean_door, make_door

FILE = "/api/v1/files/files/a"


@pytest.mark.parametrize("code", sorted(set(BY_CODE) - {"not_modified", "error"}))
def test_every_refusal_has_the_problem_shape(code: str) -> None:
    """Each error class is answered with its status and decodes to the same class, sentence and facts."""
    door = clean_door()
    door.files.error = BY_CODE[code]("what, why, and what to do", holder="bob", seconds_left=2.5, digests=["x"])
    answer = door.ask("GET", FILE)
    problem = answer.json
    assert answer.status == problem["status"] == BY_CODE[code].status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (problem["code"], problem["title"]) == (code, BY_CODE[code].title)
    assert problem["detail"] == "what, why, and what to do"
    assert problem["type"] == BY_CODE[code].type
    assert problem["retry"] is BY_CODE[code].can_retry
    assert problem["request_id"] == answer.headers["X-Request-Id"] != ""
    assert (problem["holder"], problem["seconds_left"], problem["digests"]) == ("bob", 2.5, ["x"])
    again = from_problem(decode_problem(answer.body, answer.status))
    assert type(again) is BY_CODE[code]
    assert again.facts == {"holder": "bob", "seconds_left": 2.5, "digests": ["x"]}
    assert ("Retry-After" in answer.headers) is (answer.status in (429, 503) and BY_CODE[code].can_retry)
    assert ("WWW-Authenticate" in answer.headers) is (answer.status == 401)


def test_not_modified_has_no_body(door: Door) -> None:
    """A 304 from below is an empty answer, not a problem."""
    door.files.error = NotModified("same")
    answer = door.ask("GET", FILE)
    assert (answer.status, answer.body) == (304, b"")


def test_a_lock_says_who_and_until_when(door: Door) -> None:
    """A 423 carries the holder, the end and the number at its top level, and the holder in a header."""
    door.files.error = Locked("bob has it", holder="bøb", until_at=5.0, seconds_left=2.0, lock_number=9)
    answer = door.ask("PUT", FILE, b"x")
    assert answer.status == 423
    assert {key: answer.json[key] for key in ("holder", "until", "seconds_left", "lock_number")} == {
        "holder": "bøb",
        "until": 5.0,
        "seconds_left": 2.0,
        "lock_number": 9,
    }
    assert answer.headers["X-Lockstep-Lock-Holder"] == "b%C3%B8b"


def test_facts_never_replace_the_standard_members(door: Door) -> None:
    """A fact named like a standard member stays under facts only."""
    door.files.error = Overloaded("busy", status=200, code="fine", retry_after=7.4)
    answer = door.ask("GET", FILE)
    assert (answer.json["status"], answer.json["code"]) == (503, "overloaded")
    assert answer.json["facts"]["code"] == "fine"
    assert answer.headers["Retry-After"] == "7"


def test_a_full_disk_is_507_without_a_promise(door: Door) -> None:
    """A full disk is no 503: nothing says that waiting helps."""
    door.files.error = StorageFull("the disk is full")
    answer = door.ask("PUT", FILE, b"x")
    assert (answer.status, "Retry-After" in answer.headers) == (507, False)


def test_a_defect_tells_nothing_of_the_inside(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected failure is 500 with the request id; its trace is in the log, not in the answer."""
    door.files.error = RuntimeError("secret detail")
    with caplog.at_level(logging.ERROR, "lockstep"):
        answer = door.ask("GET", FILE, headers={"X-Request-Id": "my-own-id"})
    assert (answer.status, answer.json["code"], answer.json["request_id"]) == (500, "internal", "my-own-id")
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text
    assert "Traceback" in caplog.text


def test_a_short_read_is_never_answered_as_a_file(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the core ever give a small file too few bytes, the answer is 500, not a short file."""
    door.files.put("files", "a", b"four")
    monkeypatch.setattr(FakeOpenFile, "blocks", lambda self, start, stop: iter([b"one"]))
    assert door.ask("GET", FILE).status == 500
    assert door.files.opened[0].closed


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer lst_wrong"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": TOKEN},
        {"X-Api-Key": ""},
        {"X-Api-Key": "lsk_wrong"},
        {"Authorization": "Bearer " + "x" * 513},
        {"Authorization": "Bearer lst_wrong", "X-Api-Key": TOKEN},
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_without_a_good_credential_nothing_happens(door: Door, method: str, headers: dict[str, str]) -> None:
    """A missing, malformed or wrong credential is 401 with WWW-Authenticate, and changes nothing."""
    door.files.put("files", "a", b"kept")
    answer = ask(door.app, method, FILE, b"new" if method == "PUT" else b"", headers=headers)
    assert (answer.status, answer.json["code"]) == (401, "not_logged_in")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert door.files.contents["files", "a"][1] == b"kept"


@pytest.mark.parametrize("headers", [{"X-Api-Key": TOKEN}, {"Authorization": f"bearer {TOKEN}"}])
def test_both_ways_to_send_a_credential(door: Door, headers: dict[str, str]) -> None:
    """An API key as X-Api-Key and a token as Bearer, in any case, are the same to the store."""
    door.files.put("files", "a", b"1")
    assert ask(door.app, "GET", FILE, headers=headers).status == 200


def test_unknown_addresses_and_methods(door: Door) -> None:
    """404 and 405 have the problem shape and a request id; 405 says what is allowed."""
    for target in ("/nothing", "/api/v1/nothing", "/api/v2/files/files/a", "/api/v1/locks/a/b"):
        answer = door.ask("GET", target)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert answer.headers["X-Request-Id"] == answer.json["request_id"]
    answer = door.ask("POST", FILE, b"x")
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, PUT"
    assert door.ask("OPTIONS", "/api/v1/locks").status == 405
    assert door.ask("BREW", FILE).status == 405


def test_request_ids(door: Door) -> None:
    """A well-formed X-Request-Id is kept, anything else replaced."""
    door.files.put("files", "a", b"1")
    assert door.ask("GET", FILE, headers={"X-Request-Id": "abc-123456"}).headers["X-Request-Id"] == "abc-123456"
    assert door.ask("GET", FILE, headers={"X-Request-Id": "no good!"}).headers["X-Request-Id"] != "no good!"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"username": 5}',
        b'{"username": "a"}',
        b"\xff",
        b"null",
        b'{"username": "\xe4"}',
        b'{"username": "\xed\xa0\x80"}',
        b'{"x": ' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_json_bodies_must_fit(door: Door, body: bytes) -> None:
    """A body that is not the declared shape is 400 and never reaches the directory."""
    answer = door.ask("POST", "/api/v1/auth/login", body)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert door.directory.calls == []


def test_json_bodies_are_bounded(door: Door) -> None:
    """A JSON body over 256 KiB is 413."""
    body = b'{"username": "a", "password": "' + b"x" * 262_144 + b'"}'
    answer = door.ask("POST", "/api/v1/auth/login", body)
    assert (answer.status, answer.json["code"]) == (413, "too_large")


def test_json_bodies_cut_short_are_refused(door: Door) -> None:
    """A JSON body shorter than declared is 400 incomplete_body, even when what came is valid."""
    answer = door.ask("POST", "/api/v1/locks", b'{"paths": ["files/a"]}', length=100)
    assert (answer.status, answer.json["code"]) == (400, "incomplete_body")
    assert door.directory.calls == []


def test_a_bad_digest_is_refused(door: Door) -> None:
    """An announced digest that is none is 400."""
    headers = {"Content-Type": "application/vnd.lockstep.chunk-stream", "X-Lockstep-Digest": "zz"}
    answer = door.ask("PUT", FILE, b"", headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_figures_are_counted_by_route_and_not_by_name(door: Door) -> None:
    """/metrics counts requests by template, method and status, and no file's name appears in it."""
    door.files.put("files", "very-secret-name", b"12345")
    door.ask("GET", "/api/v1/files/files/very-secret-name")
    text = door.ask("GET", "/metrics").body.decode()
    line = 'requests_total{method="GET",route="/api/v1/files/{bucket}/{path}",status="200"}'
    assert f"lockstep_client_proxy_{line}" in text
    assert "lockstep_client_proxy_request_seconds_bucket" in text
    assert "lockstep_client_proxy_answered_bytes_total" in text
    assert "very-secret-name" not in text
    door.ask("BREW", "/api/v1/files/files/a")
    assert "BREW" not in door.ask("GET", "/metrics").body.decode()


def test_the_base_class_is_an_answer_too(door: Door) -> None:
    """Even a bare LockstepError is a problem with status 500."""
    door.files.error = LockstepError("odd")
    assert door.ask("GET", FILE).json["code"] == "error"


@pytest.mark.parametrize("thin", [True, False], ids=["thin", "flask"])
@pytest.mark.parametrize(
    ("method", "target", "known"),
    [
        ("GET", "/api/v1/files/files/a?verson=1", ["version"]),
        ("PUT", "/api/v1/files/files/a?version=1", []),
        ("DELETE", "/api/v1/files/files/a?version=1&force=true", ["version"]),
        ("GET", "/api/v1/files/files?Limit=1", ["cursor", "delimiter", "limit", "prefix"]),
        ("DELETE", "/api/v1/locks/l1?brake=true", ["break", "reason"]),
        ("GET", "/api/v1/health?x", []),
    ],
)
def test_an_unknown_argument_is_refused(thin: bool, method: str, target: str, known: list[str]) -> None:
    """400 names the argument that was not understood and those that would be, and nothing is done."""
    door = make_door(thin=thin)
    answer = door.ask(method, target)
    assert (answer.status, answer.json["code"], answer.json["known"]) == (400, "bad_request", known)
    assert answer.json["unknown"][0] in answer.json["detail"]
    assert door.files.calls == []
    assert door.directory.calls == []


def test_an_expectation_that_cannot_be_met_is_417() -> None:
    """`Expect` with anything but 100-continue is refused before the body is read; 100-continue is not."""
    door = clean_door()
    answer = door.ask("PUT", "/api/v1/files/files/a", b"x", headers={"Expect": "fireworks"})
    assert (answer.status, answer.json["code"]) == (417, "expectation_failed")
    assert door.files.calls == []
    assert door.ask("PUT", "/api/v1/files/files/a", b"x", headers={"Expect": "100-Continue"}).status == 201


def test_a_lock_clients_name_steers_no_terminal() -> None:
    """Control characters in a lock's client are 400: others see that name in their terminals."""
    door = clean_door()
    for client in ("a\x1b[31mred", "a\nb", "\x7f", "\x9b1m"):
        answer = door.post("/api/v1/locks", {"paths": ["files/a"], "client": client})
        assert (answer.status, "U+" in answer.json["detail"]) == (400, True)
    assert door.directory.calls == []
