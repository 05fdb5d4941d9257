"""ShareDoor: the WSGI application behind `/s/`. It finds the link, asks for its password, and answers in plain pages.

The directory judges every request anew: the link, its maker's rights, and the bucket. A link that never was, one that
has ended, and a file that its maker may not read (any more) all get the same page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from prometheus_client import Counter

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.shares.files import SharedFiles
from client_proxy.doors.shares.pages import STYLE_ADDRESS, Headers, message, page, style_sheet
from client_proxy.doors.shares.reading import ShareReading
from client_proxy.doors.shares.uploading import ShareUploads
from client_proxy.doors.shares.visit import COOKIE, ShareVisit
from client_proxy.metrics import RECEIVED_BYTES
from client_proxy.rate_limits.limiter import RateLimits, refusal_headers
from lockstep_store.runtime.http.admission import remote_address
from lockstep_store.runtime.http.api import Environ, RawReply, StartResponse
from lockstep_store.runtime.http.unread_body import DrainableRequest
from lockstep_store.runtime.tracing import OPERATION, log, request_id, start_request
from lockstep_store.wire.errors import (
    BadName,
    BadRequest,
    Forbidden,
    LockstepError,
    NotFound,
    NotLoggedIn,
    RangeNotSatisfiable,
    RateLimited,
    TooManyRequests,
)
from lockstep_store.wire.messages.shares import OPEN_SHARE, OpenShareReply, OpenShareRequest

REQUESTS = Counter("lockstep_client_proxy_share_requests_total", "Requests to share links answered", ["status"])
_METHODS = ("GET", "HEAD", "POST")
_WRONG = "wrong password"


class ShareDoor:
    """Thread-safe. `limits`: rate limits; none by default. `monotonic` paces the checks of long downloads."""

    def __init__(
        self,
        files: SharedFiles,
        directory: Directory,
        *,
        limits: RateLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._reading = ShareReading(files, directory, monotonic)
        self._uploads = ShareUploads(files, directory)
        self._limits = limits.of("share") if limits is not None else None
        self._password_limits = limits.of("login") if limits is not None else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        id = start_request(environ.get("HTTP_X_REQUEST_ID", ""))
        body = DrainableRequest(environ)
        environ[OPERATION] = "share link"
        try:
            if environ["PATH_INFO"] == STYLE_ADDRESS:
                reply = style_sheet()
            else:
                if self._limits is not None:
                    self._limits.at_address(remote_address(environ))
                body = visit = ShareVisit(environ)
                reply = self._answer(visit)
        except Exception as error:  # noqa: BLE001 - every failure becomes a page here
            reply = _refusal(error)
        body.drain()
        RECEIVED_BYTES.inc(body.received)
        REQUESTS.labels(str(reply.status)).inc()
        if environ["REQUEST_METHOD"] == "HEAD":
            close = getattr(reply.body, "close", None)
            if close is not None:
                close()
            reply = reply._replace(body=[])
        start_response(f"{reply.status} -", [*reply.headers, ("X-Request-Id", id)])
        return reply.body

    def _answer(self, visit: ShareVisit) -> RawReply:
        if visit.method not in _METHODS:
            allowed = [("Allow", ", ".join(_METHODS))]
            return message(405, "Not possible", "A link can be opened, and some take uploads.", allowed)
        if visit.method == "POST" and _is_plain_form(visit):
            return self._unlock(visit)
        link = self._directory.call(OPEN_SHARE, OpenShareRequest(visit.access(), address=visit.address))
        if link.locked:
            return _password_page(visit)
        if link.mode == "upload":
            return self._uploads.answer(visit, link)
        if visit.method == "POST":
            return message(405, "Not possible", "This link takes no uploads.", [("Allow", "GET, HEAD")])
        return self._reading.answer(visit, link)

    def _unlock(self, visit: ShareVisit) -> RawReply:
        if self._password_limits is not None:
            self._password_limits.at_address(visit.address)
        password = visit.password()
        if not password:
            return _password_page(visit, "Type the password.")
        try:
            link = self._directory.call(OPEN_SHARE, OpenShareRequest(visit.access(), password, visit.address))
        except NotLoggedIn as error:
            if error.facts.get("reason") != _WRONG:
                raise
            return _password_page(visit, "The password is wrong.")
        home = visit.link_to()
        return RawReply(303, [("Location", home), *_cookie(home, link), ("Content-Length", "0")], [])


def _is_plain_form(visit: ShareVisit) -> bool:
    kind: str = visit.environ.get("CONTENT_TYPE", "")
    return kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def _cookie(home: str, link: OpenShareReply) -> Headers:
    """Remember for this link alone that the password was right."""
    if not link.unlock:
        return []
    age = int(link.unlock_seconds)
    value = f"{COOKIE}={link.unlock}; Path={home}; Max-Age={age}; Secure; HttpOnly; SameSite=Lax"
    return [("Set-Cookie", value)]


def _password_page(visit: ShareVisit, problem: str = "") -> RawReply:
    status = 403 if problem or visit.action or visit.method == "POST" else 200
    return page("password", status, title="This link needs a password", home=visit.link_to(), problem=problem)


def _refusal(error: Exception) -> RawReply:
    if isinstance(error, RangeNotSatisfiable):
        size = error.facts.get("size", "*")
        return message(416, "Not possible", "The file is shorter.", [("Content-Range", f"bytes */{size}")])
    if isinstance(error, NotLoggedIn | NotFound | Forbidden | BadName):
        return message(
            404, "Nothing here", "This link does not exist, or it has ended. Ask the person who sent it for a new one."
        )
    if isinstance(error, TooManyRequests):
        seconds = error.facts.get("retry_after", 1)
        headers = [("Retry-After", str(seconds))]
        headers += refusal_headers(error) if isinstance(error, RateLimited) else []
        return message(429, "Too many requests", f"Try again in {seconds} s.", headers)
    if isinstance(error, BadRequest):
        return message(error.status, "Not possible", f"{error}.")
    if isinstance(error, LockstepError) and error.status != 500:
        log.warning("a share link's request: %s (%s)", error, error.code)
        return message(503, "Not available now", "Try again in a moment.", [("Retry-After", "5")])
    log.error("unexpected failure in the door of share links", exc_info=error)
    return message(500, "Something went wrong", f"Ask the person who sent the link; the log has {request_id()}.")
