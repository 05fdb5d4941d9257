"""CORS for the API: which other sites' pages may call it, by a setting of the proxy. None by default.

It grants nothing: such a page needs a token or an API key like any program. Replies never allow credentials that a
browser adds by itself, so the console's sessions stay its own. (Buckets have rules of their own at S3.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.runtime.http.header_text import HEADER_NAME

ANY_ORIGIN = "*"
_METHODS = "GET, HEAD, PUT, POST, PATCH, DELETE"
_EXPOSED = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, RateLimit, RateLimit-Policy, Retry-After, "
    "X-Lockstep-Cache, X-Lockstep-Copies, X-Lockstep-Cursor, X-Lockstep-Digest, X-Lockstep-File-Server, "
    "X-Lockstep-Lock-Holder, X-Lockstep-Metadata, X-Lockstep-Validated, X-Lockstep-Version, X-Request-Id"
)
_MAX_AGE = "600"
MAX_ASKED_HEADERS = 50
_VARY = ("Vary", "Origin")

Headers = list[tuple[str, str]]


class CrossOrigin:
    """The WSGI application in front of the API, which is `inner`. `origins`: `https://app.example`, or ANY_ORIGIN."""

    def __init__(self, inner: Wsgi, origins: Collection[str]) -> None:
        self._inner = inner
        self._origins = frozenset(origins)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin: str = environ.get("HTTP_ORIGIN", "")
        if not origin or not environ["PATH_INFO"].startswith("/api/"):
            return self._inner(environ, start_response)
        allowed = self._allowed(origin)
        if allowed and environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            headers = [*allowed, *_preflight(environ), ("Content-Length", "0")]
            start_response("204 -", headers)
            return []

        def start(status: str, headers: Headers, *more: Any) -> Any:
            exposed = [("Access-Control-Expose-Headers", _EXPOSED)] if allowed else []
            return start_response(status, [*headers, *(allowed or [_VARY]), *exposed], *more)

        return self._inner(environ, start)

    def _allowed(self, origin: str) -> Headers:
        """The headers that let the origin's pages read the reply; empty if they may not."""
        if ANY_ORIGIN in self._origins:
            return [("Access-Control-Allow-Origin", ANY_ORIGIN)]
        return [("Access-Control-Allow-Origin", origin), _VARY] if origin in self._origins else []


def _preflight(environ: Environ) -> Headers:
    """What a page may send. Every header may be sent: none of them proves anything but the credentials."""
    headers = [("Access-Control-Allow-Methods", _METHODS), ("Access-Control-Max-Age", _MAX_AGE)]
    asked = [name.strip().lower() for name in environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",")]
    names = [name for name in asked[:MAX_ASKED_HEADERS] if HEADER_NAME.fullmatch(name)]
    return [*headers, ("Access-Control-Allow-Headers", ", ".join(names))] if names else headers
