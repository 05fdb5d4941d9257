"""Receives the browser that a provider sends back after a log-in, on this machine's own address (RFC 8252, 7.3)."""

from __future__ import annotations

import threading
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

from lockstep_store.wire.errors import SetupError

PATH = "/callback"
_SECONDS = 5.0
"""For one request: something that connects and says nothing must not keep the browser waiting."""
_PAGE = (
    "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Lockstep</title><body style='font-family: sans-serif'>"
    "<p>{}</p></body></html>"
)
_DONE = "Lockstep is finishing the log-in. You can close this page."
_OTHER = "This page belongs to another log-in. Begin again in Lockstep."


class BrowserAnswer:
    """Listens from `__enter__` to `__exit__`. Port 0 is any free one."""

    def __init__(self, port: int = 0) -> None:
        """SetupError if the port is taken."""
        self._state = ""
        self._answer = ""
        self._came = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _SECONDS

            def do_GET(self) -> None:
                accepted = owner._take(self.path)
                page = _PAGE.format(_DONE if accepted else _OTHER).encode()
                self.send_response(200 if accepted else 400)
                for name, value in (
                    ("Content-Type", "text/html; charset=utf-8"),
                    ("Content-Length", str(len(page))),
                    ("Cache-Control", "no-store"),
                    ("Referrer-Policy", "no-referrer"),
                    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
                    ("Connection", "close"),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing: the address has the code."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise SetupError(
                f"port {port} of this machine cannot be used for the browser's answer ({error.strerror}): name another "
                "with --redirect-port"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> BrowserAnswer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """What the provider sends the browser back to."""
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def expect(self, authorization_url: str) -> None:
        """Accept only the answer to this address. Any page in the browser can send the browser here."""
        self._state = dict(parse_qsl(urlsplit(authorization_url).query)).get("state", "")

    def wait(self, seconds: float) -> str:
        """Return the query of the address that the browser came with; empty if it has not come yet."""
        return self._answer if self._came.wait(seconds) else ""

    def _take(self, target: str) -> bool:
        parts = urlsplit(target)
        given = dict(parse_qsl(parts.query)).get("state", "")
        if parts.path != PATH or not self._state or not compare_digest(given.encode(), self._state.encode()):
            return False
        if not self._came.is_set():
            self._answer = parts.query
            self._came.set()
        return True
