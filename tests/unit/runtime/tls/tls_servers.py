"""Real TLS servers on real sockets, and handshakes with them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lockstep_store.runtime.tls.contexts import (
    HandshakeInfo,
    handshake_info,
)
from lockstep_store.runtime.tls.identity import (
    Identity,
)


@dataclass
class Server:
    port: int


def handshake(
    host: str,
    port: int,
    ca_file: Path,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    timeout_seconds: float = 60.0,
) -> HandshakeInfo:
    """A handshake with patience: what it proves is who refuses whom, however busy the machine is."""
    return handshake_info(host, port, ca_file, cert_file, key_file, timeout_seconds=timeout_seconds)


@contextlib.contextmanager
def tls_server(identity: Identity, demand_certificate: bool = False, tickets: int = 2) -> Iterator[Server]:
    """A real TLS server in a thread; with no `tickets` it says nothing until it is spoken to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    context.num_tickets = tickets
    if demand_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(identity.ca_file)
    with listening(lambda plain: _serve_tls(context, plain)) as server:
        yield server


def _serve_tls(context: ssl.SSLContext, plain: socket.socket) -> None:
    with contextlib.suppress(OSError):
        with context.wrap_socket(plain, server_side=True) as tls:
            data = tls.recv(100)
            if data:
                tls.sendall(data)


@contextlib.contextmanager
def listening(answer) -> Iterator[Server]:  # type: ignore[no-untyped-def]
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            plain, _ = listener.accept()
            with plain:
                if not stop.is_set():
                    plain.settimeout(60)
                    answer(plain)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Server(listener.getsockname()[1])
    finally:
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join(60)
        listener.close()
        assert not thread.is_alive()
