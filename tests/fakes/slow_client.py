"""A client that reads little: TLS over a socket with a small receive buffer, from any loopback address."""

from __future__ import annotations

import socket
import ssl

TIMEOUT_SECONDS = 60


def slow_connection(port: int, context: ssl.SSLContext, source: str = "127.0.0.1") -> ssl.SSLSocket:
    """Connect to a service on this machine; the server's replies soon fill what the kernel holds for this client."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(TIMEOUT_SECONDS)
    plain.bind((source, 0))
    plain.connect(("127.0.0.1", port))
    return context.wrap_socket(plain, server_hostname="127.0.0.1")
