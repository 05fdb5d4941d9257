"""The proxy's real routes over a cluster in memory, served over HTTPS on a free port, with switches to harm it.

A `Fault` waits for a request and then loses its answer, cuts it, cuts the upload or refuses. It is the routes' own
code that answers otherwise, so a client that passes here speaks the real API.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from client_proxy.doors.rest import create_app
from lockstep_store.runtime.http.api import Wsgi
from lockstep_store.runtime.tls.identity import Identity, ensure_authority, ensure_identity
from lockstep_store.wire.messages.cluster import Health
from tests.fakes.documented import check_statuses
from tests.fakes.lasting_ports import lasting_ports
from tests.fakes.people_core import PeopleCore


@dataclass
class Fault:
    """What to do to the next `times` requests of `method` whose path contains `path`.

    `lose_answer`: do the work, then cut the connection. `cut_answer`: after `after` bytes of it. `cut_upload`: after
    `after` bytes of the request's body. `refuse`: 503 with Retry-After 0. `corrupt`: flip one bit of the answer's byte
    number `after`.
    """

    kind: Literal["lose_answer", "cut_answer", "cut_upload", "refuse", "corrupt"]
    method: str
    path: str = ""
    after: int = 0
    times: int = 1


class _Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing: tests have their own output."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True


class _Bounded:
    """The first `left` bytes of a stream."""

    def __init__(self, stream: Any, left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, count: int = -1) -> bytes:
        data: bytes = self._stream.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(data)
        return data


class RestServer:
    """A proxy on `url`, trusted through `ca_file`, until it is closed. `app`: another cluster's routes."""

    def __init__(self, identity: Identity, app: Wsgi | None = None) -> None:
        self.identity = identity
        self.core = PeopleCore()
        self.core.ca_pem = identity.ca_file.read_text()
        self.ca_file = identity.ca_file
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.healthy = True
        if app is None:
            app = create_app(self.core, self.core, program_id="1", version="0.1.0", health=self._health, max_waiting=16)
            check_statuses(app)
        self._app = app
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.cert_file, identity.key_file)
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", lasting_ports(1)[0], self._wsgi, threaded=True, request_handler=_Handler, ssl_context=context
        )
        self.port = self._server.server_port
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; safe to repeat."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def harm(self, kind: Any, method: str, path: str = "", **details: Any) -> None:
        """Add a fault."""
        self.faults.append(Fault(kind, method, path, **details))

    def _health(self) -> Health:
        return Health(self.healthy, "client_proxy", "1", "0.1.0")

    def _fault(self, environ: dict[str, Any]) -> Fault | None:
        for fault in self.faults:
            if fault.method == environ["REQUEST_METHOD"] and fault.path in environ["PATH_INFO"]:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                return fault
        return None

    def _wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if not environ.get("wsgi.input_terminated"):
            # The real runner ends a body at its declared length; the socket does not.
            environ["wsgi.input"] = _Bounded(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input_terminated"] = True
        fault = self._fault(environ)
        if fault is None:
            return self._app(environ, start_response)
        if fault.kind == "refuse":
            start_response("503 Service Unavailable", [("Retry-After", "0"), ("Content-Length", "0")])
            return [b""]
        if fault.kind == "cut_upload":
            environ["wsgi.input"].read(fault.after)
            _cut(environ)
        if fault.kind == "lose_answer":
            answer = self._app(environ, _unheard)
            b"".join(answer)
            _cut(environ)
        return self._harmed(fault, environ, start_response)

    def _harmed(self, fault: Fault, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        given = 0
        for block in self._app(environ, start_response):
            if fault.kind == "corrupt" and given <= fault.after < given + len(block):
                spot = fault.after - given
                block = block[:spot] + bytes([block[spot] ^ 1]) + block[spot + 1 :]
            if fault.kind == "cut_answer" and given + len(block) >= fault.after:
                yield block[: fault.after - given]
                _cut(environ)
            given += len(block)
            yield block


def _unheard(*_: Any) -> Any:
    """The head of a reply that nobody receives."""


def _cut(environ: dict[str, Any]) -> None:
    """Close the connection without a reply, as a killed program does."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("the test cut this connection")


def make_identity(folder: Path) -> Identity:
    """Make a proxy's certificate with a new authority."""
    certs = folder / "certs"
    ensure_authority(certs)
    return ensure_identity(certs, "client_proxy", "1")
