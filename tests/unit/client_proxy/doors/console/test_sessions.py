"""A browser's session: the cookie reaches the API as a credential, and nobody else's page can use it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from client_proxy.doors.console.sessions import COOKIE, SessionCookies, csrf_token
from lockstep_store.runtime.tracing import OPERATION
from lockstep_store.wire.errors import NotLoggedIn
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.people import LOGIN, LOGOUT, WHO_AM_I, AccountInfo, LoginReply
from lockstep_store.wire.messages.single_sign_on import CONTINUE_SIGN_ON, SignOn
from tests.fakes.wsgi import Answer, ask, request_environ
from tests.unit.rest_door import BASE, TOKEN, Door, clean_door

NOW = 1_000_000.0
WITH_COOKIE = {"Cookie": f"theme=dark; {COOKIE}={TOKEN}"}
CHANGES = {**WITH_COOKIE, "X-Lockstep-Csrf": csrf_token(TOKEN)}
LOGGED_IN = LoginReply(token=TOKEN, account="ann", expires_at=NOW + 3600)


@pytest.fixture
def door() -> Door:
    return clean_door()


def send(door: Door, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(SessionCookies(door.app.wsgi_app, lambda: NOW), method, target, body, headers=given)


def log_in(door: Door, target: str, message: dict[str, Any]) -> Answer:
    headers = {"Content_Type": "application/json", "X_Lockstep_Session": "begin"}
    return send(door, "POST", target, json.dumps(message).encode(), **headers)


def test_a_log_in_with_a_session_hides_the_token_in_a_cookie(door: Door) -> None:
    """The page gets the account and a CSRF token; the log-in's token is only in a cookie that no script reads."""
    door.directory.answers[LOGIN.path] = LOGGED_IN
    answer = log_in(door, "/api/v1/auth/login", {"username": "ann", "password": "correct horse"})
    assert answer.status == 200
    assert answer.json["account"] == "ann"
    assert TOKEN.encode() not in answer.body
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    cookie = answer.headers["Set-Cookie"]
    assert cookie == f"{COOKIE}={TOKEN}; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert answer.headers["X-Lockstep-Csrf"] == csrf_token(TOKEN)


def test_single_sign_on_begins_a_session_when_it_is_done(door: Door) -> None:
    """The token inside a finished sign-on moves to the cookie as well."""
    door.directory.answers[CONTINUE_SIGN_ON.path] = SignOn("s1", "done", login=LOGGED_IN)
    answer = log_in(door, "/api/v1/auth/sso/continue", {"id": "s1"})
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}={TOKEN};")
    assert TOKEN.encode() not in answer.body


@pytest.mark.parametrize("reply", [NotLoggedIn("wrong password"), LoginReply(must_enrol=True)])
def test_a_log_in_without_a_token_begins_no_session(door: Door, reply: Any) -> None:
    """A refusal, and an account that must first set up a second factor, get no cookie."""
    door.directory.answers[LOGIN.path] = reply
    answer = log_in(door, "/api/v1/auth/login", {"username": "ann", "password": "correct horse"})
    assert "Set-Cookie" not in answer.headers
    assert "X-Lockstep-Csrf" not in answer.headers


def test_a_program_still_gets_its_token_in_the_reply(door: Door) -> None:
    """Without the header nothing changes for anybody."""
    door.directory.answers[LOGIN.path] = LOGGED_IN
    body = json.dumps({"username": "ann", "password": "correct horse"}).encode()
    answer = send(door, "POST", "/api/v1/auth/login", body, Content_Type="application/json")
    assert answer.json["token"] == TOKEN
    assert "Set-Cookie" not in answer.headers


def test_the_cookie_is_the_credential(door: Door) -> None:
    """The API gets the token as if it had been sent as a bearer token, and the page its CSRF token again."""
    door.directory.answers[WHO_AM_I.path] = AccountInfo("ann", False, NOW)
    answer = send(door, "GET", "/api/v1/auth/me", **WITH_COOKIE)
    assert (answer.status, answer.json["name"]) == (200, "ann")
    assert door.directory.calls[-1][1].credential == TOKEN
    assert answer.headers["X-Lockstep-Csrf"] == csrf_token(TOKEN)


@pytest.mark.parametrize("headers", [WITH_COOKIE, {**WITH_COOKIE, "X-Lockstep-Csrf": csrf_token("another")}])
def test_a_change_needs_the_sessions_csrf_token(door: Door, headers: dict[str, str]) -> None:
    """Without it, or with another session's, nothing reaches the API."""
    answer = send(door, "PUT", BASE + "a.txt", b"data", **headers)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert door.files.contents == {}
    assert send(door, "PUT", BASE + "a.txt", b"data", **CHANGES).status == 201


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_sites_page_cannot_use_the_session(door: Door, site: str) -> None:
    """A browser says who made the request: also a page at another port of this host is refused."""
    refused = send(door, "PUT", BASE + "a.txt", b"data", **CHANGES, Sec_Fetch_Site=site)
    assert refused.status == 403
    door.files.put("files", "a.txt", b"data")
    read = send(door, "GET", BASE + "a.txt", **WITH_COOKIE, Sec_Fetch_Site=site)
    assert read.status == (200 if site == "none" else 403)  # none: the person typed the address


def test_a_credential_of_its_own_passes_unchanged(door: Door) -> None:
    """A program that also has the cookie needs no CSRF token, and no reply of its is changed."""
    headers = {**WITH_COOKIE, "Authorization": f"Bearer {TOKEN}"}
    answer = send(door, "PUT", BASE + "a.txt", b"data", **headers)
    assert answer.status == 201
    assert "Content-Security-Policy" not in answer.headers


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/json", ""])
def test_peoples_content_is_saved_and_never_run(door: Door, content_type: str) -> None:
    """Whatever a file says that it is, a browser with the session saves it, in an origin of its own."""
    door.files.put("files", "a", b"<script>", content_type=content_type)
    answer = send(door, "GET", BASE + "a", **WITH_COOKIE)
    assert answer.body == b"<script>"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_the_apis_own_page_still_works(door: Door) -> None:
    """The page that shows the API's description keeps its policy."""
    answer = send(door, "GET", "/api/v1/docs", **WITH_COOKIE)
    assert "sandbox" not in answer.headers["Content-Security-Policy"]
    assert "Content-Disposition" not in answer.headers


def test_the_cookie_ends_with_the_session(door: Door) -> None:
    """After a log-out, and when the token is no longer valid, the browser forgets it."""
    door.directory.answers[LOGOUT.path] = Nothing()
    door.directory.answers[WHO_AM_I.path] = NotLoggedIn("this token is wrong, expired or revoked: log in again")
    for answer in (
        send(door, "POST", "/api/v1/auth/logout", **CHANGES),
        send(door, "GET", "/api/v1/auth/me", **WITH_COOKIE),
    ):
        assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=; Max-Age=0; ")


@pytest.mark.parametrize("cookie", ["", COOKIE, f"{COOKIE}=", f"{COOKIE}={'x' * 600}", f'{COOKIE}="a\\011b"', "\x00=;"])
def test_a_cookie_that_cannot_be_a_token_is_none(door: Door, cookie: str) -> None:
    """The API asks for a log-in, as without any."""
    assert send(door, "GET", "/api/v1/auth/me", Cookie=cookie).status == 401
    assert door.directory.calls == []


def test_what_is_in_front_sees_the_operation(door: Door) -> None:
    """Traces name a browser's request like any other."""
    door.directory.answers[WHO_AM_I.path] = AccountInfo("ann", False, 0.0)
    environ = request_environ("GET", "/api/v1/auth/me", headers=WITH_COOKIE)
    SessionCookies(door.app.wsgi_app, lambda: NOW)(environ, lambda *_: None)
    assert environ[OPERATION] == "who_am_i"
