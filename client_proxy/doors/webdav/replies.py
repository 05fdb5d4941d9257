"""Replies in WebDAV's form: errors as `DAV:error` with the reason in words, and `DAV:multistatus`."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from client_proxy.doors.refusals import error_headers, shown_error
from client_proxy.doors.webdav.addresses import read_address
from client_proxy.doors.webdav.xml import document, escape
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.wire.errors import (
    Locked,
    LockStale,
    LockstepError,
    MethodNotAllowed,
    NotModified,
)

Headers = list[tuple[str, str]]

METHODS = (
    *("OPTIONS", "GET", "HEAD", "PUT", "DELETE", "PROPFIND", "PROPPATCH"),
    *("MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"),
)
ALLOW = ", ".join(METHODS)
XML_TYPE = ("Content-Type", 'application/xml; charset="utf-8"')
_MESSAGE_SPACE = "urn:lockstep:webdav"


class DavRefusal(LockstepError):
    """A refusal that only WebDAV has a status for; `condition` is the element of `DAV:` that names the reason."""

    code = "webdav_refusal"

    def __init__(self, status: int, detail: str, condition: str = "", **facts: Any) -> None:
        super().__init__(detail, **facts)
        self.http_status = status
        self.condition = condition


def empty_reply(status: int, headers: Iterable[tuple[str, str]] = ()) -> RawReply:
    """A reply without a body."""
    return RawReply(status, [*headers, *([("Content-Length", "0")] if status != 204 else [])], [])


def xml_reply(status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> RawReply:
    """A reply in XML."""
    return RawReply(status, [XML_TYPE, *UNTRUSTED_CONTENT, ("Content-Length", str(len(body))), *headers], [body])


def status_line(status: int) -> str:
    """A status in a multistatus."""
    return f"<D:status>HTTP/1.1 {status} {HTTPStatus(status).phrase}</D:status>"


def problems_reply(problems: Iterable[tuple[str, LockstepError]]) -> RawReply:
    """A multistatus that says what could not be done, by address."""
    parts = (
        f"<D:response><D:href>{address}</D:href>{status_line(status_of(error))}"
        f"<D:responsedescription>{escape(str(error))}</D:responsedescription></D:response>"
        for address, error in problems
    )
    return xml_reply(207, document("multistatus", parts))


def status_of(error: LockstepError) -> int:
    """The status of an error. A stale lock is a condition that failed: the client said that it had the lock."""
    if isinstance(error, DavRefusal):
        return error.http_status
    return 412 if isinstance(error, LockStale) else error.status


def error_reply(error: Exception, path: str) -> RawReply:
    """The reply to an error of a request for `path`, as it is in PATH_INFO."""
    if not isinstance(error, DavRefusal):
        error = shown_error(error, "the WebDAV door")
    if isinstance(error, NotModified):
        return RawReply(304, [], [])
    condition = error.condition if isinstance(error, DavRefusal) else ""
    named = f"<D:{condition}/>" if condition else ""
    if isinstance(error, Locked):
        address = read_address(path)
        href = address.href(folder=address.as_folder)
        named = f"<D:lock-token-submitted><D:href>{href}</D:href></D:lock-token-submitted>"
    words = f'<L:message xmlns:L="{_MESSAGE_SPACE}">{escape(str(error))}</L:message>'
    return xml_reply(status_of(error), document("error", (named, words)), _error_headers(error))


def _error_headers(error: LockstepError) -> Headers:
    headers = error_headers(error, 'Basic realm="lockstep", charset="UTF-8"')
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", ALLOW))
    return headers
