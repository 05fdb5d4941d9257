"""Sends each request to its door: the API and its pages, the console, WebDAV, Git LFS, share links, or S3 for all
other addresses.

It also counts the bytes of the replies, because all doors' replies pass here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from client_proxy.doors.console.navigation import asks_for_console
from client_proxy.doors.s3.door import S3Door
from client_proxy.metrics import ANSWERED_BYTES
from lockstep_store.runtime.http.admission import turn_away_with_problem
from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.wire.errors import Overloaded
from lockstep_store.wire.messages.shares import SHARE_ADDRESS
from lockstep_store.wire.names import RESERVED_BUCKETS


class Doors:
    """The proxy's WSGI application. The API's own addresses cannot be bucket names.

    `s3_domain` is the domain of virtual-host addresses (`bucket.DOMAIN`), where every path is a key. Without a
    `console`, browsers get what programs get. `others` are doors by the first part of their addresses.
    """

    def __init__(
        self,
        api: Wsgi,
        s3: S3Door,
        shares: Wsgi,
        s3_domain: str = "",
        *,
        console: Wsgi | None = None,
        others: Mapping[str, Wsgi] | None = None,
    ) -> None:
        self._api = api
        self._shares = shares
        self._s3 = s3
        self._s3_hosts = f".{s3_domain}" if s3_domain else ""
        self._console = console
        self._others = others or {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        is_s3 = self._is_s3(environ)
        if self._console is not None and self._is_console(environ, is_s3):
            return _counted(self._console(environ, start_response))
        return _counted(self._door(environ, is_s3)(environ, start_response))

    def _door(self, environ: Environ, is_s3: bool) -> Wsgi:
        if is_s3:
            return self._s3
        if _is_share(environ):
            return self._shares
        return self._others.get(_first_part(environ), self._api)

    def turn_away(self, error: Overloaded, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Reject a request in the format of its door, because too many are under way."""
        if self._is_s3(environ):
            return _counted(self._s3.turn_away(error, environ, start_response))
        return _counted(turn_away_with_problem(error, environ, start_response))

    def _is_s3(self, environ: Environ) -> bool:
        is_reserved = _first_part(environ) in RESERVED_BUCKETS or _is_share(environ)
        return not is_reserved or self._is_s3_host(environ)

    def _is_s3_host(self, environ: Environ) -> bool:
        host: str = environ.get("HTTP_HOST", "").partition(":")[0].lower()
        return bool(self._s3_hosts) and host.endswith(self._s3_hosts)

    def _is_console(self, environ: Environ, is_s3: bool) -> bool:
        if is_s3:
            return asks_for_console(environ) and not self._is_s3_host(environ)
        path: str = environ["PATH_INFO"]
        return path == "/console" or path.startswith("/console/")


def _is_share(environ: Environ) -> bool:
    return bool(environ["PATH_INFO"].startswith(SHARE_ADDRESS))


def _first_part(environ: Environ) -> str:
    path: str = environ["PATH_INFO"]
    return path[1:].partition("/")[0]


def _counted(body: Iterable[bytes]) -> Iterable[bytes]:
    """Count the bytes of `body` as they are sent. A list stays a list, which the server sends without a thread."""
    if isinstance(body, list):
        ANSWERED_BYTES.inc(sum(map(len, body)))
        return body
    return _CountedBody(body)


class _CountedBody:
    """A streamed body that counts its pieces."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._pieces = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        ANSWERED_BYTES.inc(len(piece))
        return piece

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
