"""A browser's session: the log-in's token in a cookie that no script can read.

It is a translation in front of the API, so the API has no second set of routes. A request with the cookie reaches the
API with the token as its bearer credential. A log-in that asks for a session gets the token as a cookie instead of in
the reply. Requests with a credential of their own pass unchanged.

A browser sends the cookie whoever made the page. So a request that changes something also needs the session's CSRF
token in a header, which only the console's own page can read.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any

import msgspec

from client_proxy.doors.whole_replies import Headers, whole_reply, with_length_of
from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.tracing import request_id, start_request
from lockstep_store.wire.codec import encode
from lockstep_store.wire.errors import Forbidden, to_problem

COOKIE = "__Host-lockstep-session"
CSRF_HEADER = "X-Lockstep-Csrf"
SESSION_HEADER = "X-Lockstep-Session"
MAX_COOKIE_BYTES = 512

_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_ENDED = ("Set-Cookie", f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}")
_WHO_AM_I = "/api/v1/auth/me"
_LOGOUT = "/api/v1/auth/logout"
_CONTENT = "/api/v1/files/"
_OUR_PAGES = "/api/v1/docs"
_CONTENT_POLICY = "sandbox; default-src 'none'"


class SessionCookies:
    """The API for browsers, too. `inner` is the API; `wall` is the time in seconds since 1970."""

    def __init__(self, inner: Wsgi, wall: Callable[[], float] = time.time) -> None:
        self._inner = inner
        self._wall = wall

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_AUTHORIZATION" in environ or "HTTP_X_API_KEY" in environ:
            return self._inner(environ, start_response)
        if environ.get("HTTP_X_LOCKSTEP_SESSION") == "begin" and environ["REQUEST_METHOD"] == "POST":
            return self._begin(environ, start_response)
        token = _token(environ)
        return self._inner(environ, start_response) if not token else self._go_on(token, environ, start_response)

    def _go_on(self, token: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request of a session."""
        fault = _fault(token, environ)
        if fault:
            return _refuse(fault, environ, start_response)
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]

        def start(status: str, headers: Headers, *rest: Any) -> Any:
            code = status[:3]
            headers = _kept_apart(path, headers)
            if code == "401" or (path == _LOGOUT and code == "204"):
                headers.append(_ENDED)
            elif method == "GET" and path == _WHO_AM_I:
                headers.append((CSRF_HEADER, csrf_token(token)))
            return start_response(status, headers, *rest)

        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"  # not in a copy: the API names the operation in `environ`
        return self._inner(environ, start)

    def _begin(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a log-in, whose token becomes a cookie."""
        status, headers, body = whole_reply(self._inner, environ)
        if status.startswith("2"):
            body, more = self._without_token(body)
            headers = [*with_length_of(body, headers), *more]
        start_response(status, headers)
        return [body]

    def _without_token(self, body: bytes) -> tuple[bytes, Headers]:
        reply = msgspec.json.decode(body) if body else None
        login = reply.get("login") or reply if isinstance(reply, dict) else None
        token = login.get("token") if isinstance(login, dict) else None
        if not isinstance(login, dict) or not isinstance(token, str) or not token:
            return body, []
        login["token"] = ""
        seconds = max(1, int(login.get("expires_at", 0) - self._wall()))
        cookie = f"{COOKIE}={token}; Max-Age={seconds}; {_ATTRIBUTES}"
        return encode(reply), [("Set-Cookie", cookie), (CSRF_HEADER, csrf_token(token))]


def csrf_token(token: str) -> str:
    """The CSRF token of a session, in hex. It is made from the log-in's token, so every proxy knows it."""
    return hmac.new(token.encode(), b"lockstep console csrf", hashlib.sha256).hexdigest()


def _token(environ: Environ) -> str:
    """The session's token; empty without a cookie, or if it cannot be a token."""
    cookies: str = environ.get("HTTP_COOKIE", "")
    if COOKIE not in cookies:
        return ""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    token: str = found.value if found is not None else ""
    return token if token.isascii() and token.isprintable() and len(token) <= MAX_COOKIE_BYTES else ""


def _fault(token: str, environ: Environ) -> str:
    """Why the request is not the console's own; empty if it is."""
    reads = environ["REQUEST_METHOD"] in _CHANGES_NOTHING
    site = environ.get("HTTP_SEC_FETCH_SITE", "same-origin")
    if site != "same-origin" and not (site == "none" and reads):  # none: a person typed the address
        return "this request was made by a page of another site: use the web console's own page"
    given: str = environ.get("HTTP_X_LOCKSTEP_CSRF", "")
    if not reads and not hmac.compare_digest(given.encode(), csrf_token(token).encode()):
        return (
            f"a request with a session's cookie that changes something needs the session's token in the header "
            f"{CSRF_HEADER}: reload the page"
        )
    return ""


def _refuse(fault: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_request(environ.get("HTTP_X_REQUEST_ID", ""))
    body = encode(to_problem(Forbidden(fault), request_id()))
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
    start_response("403 -", [*headers, ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")])
    DrainableRequest(environ).drain()
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _kept_apart(path: str, headers: Headers) -> Headers:
    """The headers with which a browser saves people's content and never runs it."""
    if path.startswith(_OUR_PAGES):
        return list(headers)
    replaced = {"content-security-policy", "x-content-type-options", "content-disposition"}
    kept = [(name, value) for name, value in headers if name.lower() not in replaced]
    kept += [("Content-Security-Policy", _CONTENT_POLICY), ("X-Content-Type-Options", "nosniff")]
    given = {name.lower(): value for name, value in headers}
    is_json = given.get("content-type", "application/json").startswith(("application/json", "application/problem+json"))
    if path.startswith(_CONTENT) or not is_json:
        _, semicolon, file_name = given.get("content-disposition", "").partition(";")
        kept.append(("Content-Disposition", f"attachment{semicolon}{file_name}"))
    return kept
