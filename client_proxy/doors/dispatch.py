"""Which of a proxy's doors a request comes to: its own API and pages, or S3, which has the rest of the addresses."""

from __future__ import annotations

from collections.abc import Iterable

from client_proxy.doors.s3.door import S3Door
from lockstep_store.runtime.http.admission import turn_away_with_problem
from lockstep_store.runtime.http.api import Environ, StartResponse, Wsgi
from lockstep_store.wire.errors import Overloaded
from lockstep_store.wire.names import RESERVED_BUCKETS


class Doors:
    """The proxy's WSGI application. No bucket can have the name of one of the API's own addresses.

    `s3_domain` is that of virtual-host addresses: there every path is a key.
    """

    def __init__(self, api: Wsgi, s3: S3Door, s3_domain: str = "") -> None:
        self._api = api
        self._s3 = s3
        self._s3_hosts = f".{s3_domain}" if s3_domain else ""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        door: Wsgi = self._s3 if self._is_s3(environ) else self._api
        return door(environ, start_response)

    def turn_away(self, error: Overloaded, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse a request that there is no room for, in the words of the door it came to."""
        if self._is_s3(environ):
            return self._s3.turn_away(error, environ, start_response)
        return turn_away_with_problem(error, environ, start_response)

    def _is_s3(self, environ: Environ) -> bool:
        path: str = environ["PATH_INFO"]
        if path[1:].partition("/")[0] not in RESERVED_BUCKETS:
            return True
        host: str = environ.get("HTTP_HOST", "").partition(":")[0].lower()
        return bool(self._s3_hosts) and host.endswith(self._s3_hosts)
