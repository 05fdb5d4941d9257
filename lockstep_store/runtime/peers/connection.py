"""One persistent connection to another program: TLS, HTTP/1.1, and waits that another thread can see and cut.

It speaks what the runner speaks: a request in one piece or in chunks, and a reply with a declared length. The standard
library's client, which allows for much more, takes twice the processor time for a small call.

`lockstep_store.runtime.peers.caller` pools connections, watches them, and sends requests over them.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Mapping

from lockstep_store.runtime.peers.liveness import PeerState
from lockstep_store.wire.errors import LockstepError, PeerUnreachable

CONNECT_SECONDS = 2.0
"""The other machine's kernel accepts TCP connections, however busy its programs are."""
MAX_HEAD_BYTES = 65_536
RECEIVE_BYTES = 65_536
SMALL_BODY_BYTES = 65_536
"""A body up to this size is copied behind its head, so that both leave in one system call."""


_ROTATED = "; if the cluster's certificate authority was rotated while this program was away, invite it again"
_UNKNOWN_AUTHORITY = "TLSV1_ALERT_UNKNOWN_CA"
"""How the runner refuses a certificate of an authority that it does not trust."""


class MalformedReply(Exception):
    """A reply that the runner would not send."""


TRANSPORT_ERRORS = (OSError, MalformedReply)
"""What a connection raises; `unreachable` puts it into words."""


class PeerConnection:
    """A connection that another thread can cut; nothing else in it is thread-safe.

    `waiting_since` is the monotonic time at which the present wait began, 0.0 without one. The user of the connection
    sets it. After `read_head`, `status` is the reply's, and `left` counts the bytes of its body that were not read yet.
    """

    def __init__(self, state: PeerState, timeout: float, context: ssl.SSLContext) -> None:
        self.state = state
        self.sock: socket.socket | None = None
        self.waiting_since = 0.0
        self.cut_because = ""
        self.status = 0
        self.left = 0
        self.stays_open = True
        """Whether the server keeps the connection after this reply."""
        self._timeout = timeout
        self._tls = context
        host, port = state.address
        self._host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._received = b""

    def connect(self) -> None:
        # Each step sets `sock` before it can hang, so that `cut` can reach it.
        seconds = self._timeout or CONNECT_SECONDS
        plain = self.sock = socket.create_connection(self.state.address, min(seconds, CONNECT_SECONDS))
        plain.settimeout(seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = self._tls.wrap_socket(plain, server_hostname=self.state.address[0], do_handshake_on_connect=False)
        self.sock = tls
        if self.cut_because:
            raise ConnectionAbortedError(self.cut_because)
        tls.do_handshake()

    def set_timeout(self, seconds: float) -> None:
        """Set the seconds that each socket operation may take from now on."""
        self._open.settimeout(seconds)

    def cut(self, reason: str) -> None:
        """Make the present operation fail. It does not close the socket, because its number could then be reused."""
        self.cut_because = reason
        if self.sock is not None:
            with contextlib.suppress(OSError):
                # SSLSocket's own shutdown would let a write in progress continue unencrypted.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket. Safe to repeat."""
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()

    # ------------------------------------------------------------ sending

    def send_head(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a request's head, and its body if it is sent in one piece. ValueError for a head that is not one."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", *map(": ".join, headers.items()), "", ""]
        head = "\r\n".join(lines)
        # A line break or a space in a value would begin another header, or another request.
        if head.count("\n") != len(lines) - 1 or head.count(" ", 0, head.index("\r")) != 2:
            raise ValueError(f"not a request: {lines[:-2]}")
        self._received, self.status, self.left, self.stays_open = b"", 0, 0, True
        if len(body) <= SMALL_BODY_BYTES:
            self.send(head.encode("ascii") + body)
        else:
            self.send(head.encode("ascii"))
            self.send(body)

    def send(self, data: bytes | memoryview) -> None:
        self._open.sendall(data)

    # ------------------------------------------------------------ receiving

    def read_head(self) -> None:
        """Read a reply up to its body."""
        received = self._received
        while True:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                if len(received) > MAX_HEAD_BYTES:
                    raise MalformedReply("the reply's headers are too long")
                block = self._open.recv(RECEIVE_BYTES)
                if not block:
                    raise ConnectionResetError("it closed the connection without a reply")
                received += block
                continue
            head, received = received[:end], received[end + 4 :]
            if not head.startswith(b"HTTP/1.1 100 "):
                break
        self._received = received
        self._parse(head.decode("latin-1"))

    def _parse(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest.partition(" ")[0]
        if not version.startswith("HTTP/1.") or len(status) != 3 or not (status.isascii() and status.isdigit()):
            raise MalformedReply(f"the reply begins with {first[:80]!r}")
        self.status = int(status)
        declared = "0" if status in ("204", "304") else ""
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            if name == "content-length":
                declared = value.strip()
            elif name == "connection" and value.strip().lower() == "close":
                self.stays_open = False
        if not (declared.isascii() and declared.isdigit()):
            raise MalformedReply("the reply does not declare its length")
        self.left = int(declared)
        if len(self._received) > self.left:
            raise MalformedReply("the reply is longer than it declares")

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes of the body; none at its end, or when the connection ends before."""
        wanted = min(count, self.left)
        if self._received:
            data, self._received = self._received[:wanted], self._received[wanted:]
        elif wanted:
            data = self._open.recv(min(wanted, RECEIVE_BYTES))
        else:
            return b""
        self.left -= len(data)
        return data

    def read_rest(self) -> bytes:
        """Return the rest of the body, which is short when the connection ends before."""
        data = self.read(self.left)
        if not self.left:
            return data
        parts = [data]
        while self.left and (data := self.read(self.left)):
            parts.append(data)
        return b"".join(parts)

    @property
    def _open(self) -> socket.socket:
        if self.sock is None:
            raise ConnectionAbortedError(self.cut_because or "the connection is closed")
        return self.sock


def is_readable(connection: PeerConnection) -> bool:
    """Whether an idle connection is readable, which means that the server has closed it."""
    try:
        poll = select.poll()
        poll.register(connection.sock or -1, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))
    except (OSError, ValueError, TypeError):
        return True


def unreachable(url: str, error: BaseException, connection: PeerConnection) -> LockstepError:
    """Return the PeerUnreachable for a transport error on the way to `url`."""
    if connection.cut_because:
        what = connection.cut_because
    elif isinstance(error, TimeoutError | socket.timeout):
        what = "did not answer in time"
    elif isinstance(error, ConnectionRefusedError):
        what = "refused the connection; it is probably not running"
    elif isinstance(error, ssl.SSLCertVerificationError):
        what = f"presented a certificate that is not trusted ({error.verify_message}){_ROTATED}"
    elif isinstance(error, ssl.SSLError) and error.reason == _UNKNOWN_AUTHORITY:
        what = f"does not trust our certificate{_ROTATED}"
    elif isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        what = f"refused our certificate ({error.reason.lower().replace('_', ' ')})"
    else:
        what = f"cut the connection ({type(error).__name__})"
    return PeerUnreachable(f"{url} {what}", url=url)
