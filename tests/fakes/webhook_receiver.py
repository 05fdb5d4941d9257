"""A webhook receiver on a real socket, with switches to refuse, stall, stop and return."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from tests.fakes.lasting_ports import lasting_ports


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, receiver: WebhookReceiver, port: int) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore failed handshakes: tests send clients without trust, and kill some."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if receiver.stalls:
            time.sleep(receiver.stalls)
        if receiver.cuts or not receiver.is_up(self.server):
            self.close_connection = True
            receiver.cuts = max(0, receiver.cuts - 1)
            return
        with receiver.guard:
            if receiver.status < 300:
                receiver.taken.append(Received(self.path, dict(self.headers), body))
            receiver.asked += 1
        self.send_response(receiver.status)
        if 300 <= receiver.status < 400:
            self.send_header("Location", f"{receiver.url}/elsewhere")
        body = b"" if receiver.status == 204 else b"ok"
        if body:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep standard error clean."""


class WebhookReceiver:
    """A receiver with TLS; `certs` is where its authority and certificate are kept.

    `status` is what it answers; `stalls` so many seconds before that; `cuts` so many connections are cut instead.
    """

    def __init__(self, certs: Path) -> None:
        ensure_authority(certs)
        identity = ensure_identity(certs, "client_proxy", "receiver", ["127.0.0.1"])
        self.ca_file = identity.ca_file
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(identity.cert_file, identity.key_file)
        self.guard = threading.Lock()
        self.taken: list[Received] = []
        self.asked = 0
        self.status = 204
        self.stalls = 0.0
        self.cuts = 0
        (self.port,) = lasting_ports(1)
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Server(self, self.port)
        self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, so that connections are refused. Safe to repeat."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def is_up(self, server: object) -> bool:
        """Tell whether `server` is the current one: connections from before a stop get no reply."""
        return server is self._server

    def records(self) -> list[dict[str, Any]]:
        """Return the event records received so far."""
        with self.guard:
            return [record for one in self.taken for record in one.json.get("Records", ())]
