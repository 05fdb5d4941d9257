"""Which of a proxy's doors a request comes to: its own API and pages, or S3, which has the rest of the addresses."""

from __future__ import annotations

from collections.abc import Iterable

from wire.names import RESERVED_BUCKETS
from wire.service import Environ, StartResponse, Wsgi


class Doors:
    """The proxy's WSGI application. No bucket can have the name of one of the API's own addresses."""

    def __init__(self, api: Wsgi, s3: Wsgi, s3_domain: str = "") -> None:
        self._api = api
        self._s3 = s3
        self._s3_hosts = f".{s3_domain}" if s3_domain else ""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        first = path[1:].partition("/")[0]
        if first in RESERVED_BUCKETS and not self._is_virtual_host(environ):
            return self._api(environ, start_response)
        return self._s3(environ, start_response)

    def _is_virtual_host(self, environ: Environ) -> bool:
        host: str = environ.get("HTTP_HOST", "").partition(":")[0].lower()
        return bool(self._s3_hosts) and host.endswith(self._s3_hosts)
