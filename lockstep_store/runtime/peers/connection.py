"""One persistent connection to another program: TLS, HTTP replies, and waits that another thread can see and cut.

`lockstep_store.runtime.peers.caller` pools connections, watches them, and sends requests over them.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl

from lockstep_store.runtime.peers.liveness import PeerState
from lockstep_store.wire.errors import LockstepError, PeerUnreachable

CONNECT_SECONDS = 2.0
"""The other machine's kernel accepts TCP connections, however busy its programs are."""
MAX_HEADERS = 100
MAX_HEADER_BYTES = 65_536
TRANSPORT_ERRORS = (OSError, http.client.HTTPException)
"""What a connection raises; `unreachable` puts it into words."""


class _Answer(http.client.HTTPResponse):
    """A reply of the runner, parsed without the email package, which took a sixth of the time of a small call.

    The runner declares the length of every reply. One without it is rejected, because its end would be unknown.
    """

    def begin(self) -> None:
        if self.headers is not None:
            return
        status = http.client.CONTINUE
        while status == http.client.CONTINUE:
            _, status, reason = self._read_status()
            headers = self._read_headers()
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 11
        self.headers = self.msg = headers
        self.chunked = False
        self.will_close = headers.get("connection", "").lower() == "close"
        declared = headers.get("content-length", "0" if status in (204, 304) else "")
        if not declared.isdigit():
            raise http.client.HTTPException("the reply does not declare its length")
        self.length = int(declared)

    def _read_headers(self) -> http.client.HTTPMessage:
        headers = http.client.HTTPMessage()
        for _ in range(MAX_HEADERS):
            line = self.fp.readline(MAX_HEADER_BYTES + 1)
            if line in (b"\r\n", b"\n", b""):
                return headers
            if len(line) > MAX_HEADER_BYTES:
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers.set_raw(name, value.strip())
        raise http.client.HTTPException("the reply's headers are too long")


class PeerConnection(http.client.HTTPSConnection):
    """A connection that another thread can cut; nothing else in it is thread-safe.

    `waiting_since` is the monotonic time at which the present wait began, 0.0 without one. The user of the connection
    sets it.
    """

    response_class = _Answer

    def __init__(self, state: PeerState, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(*state.address, timeout=timeout, context=context)
        self._tls = context
        self.state = state
        self.waiting_since = 0.0
        self.cut_because = ""

    def connect(self) -> None:
        # Each step sets `sock` before it can hang, so that `cut` can reach it.
        seconds = self.timeout or CONNECT_SECONDS
        self.sock = socket.create_connection(self.state.address, min(seconds, CONNECT_SECONDS))
        self.sock.settimeout(seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        if self.cut_because:
            raise ConnectionAbortedError(self.cut_because)
        self.sock.do_handshake()

    def cut(self, reason: str) -> None:
        """Make the present operation fail. It does not close the socket, because its number could then be reused."""
        self.cut_because = reason
        if self.sock is not None:
            with contextlib.suppress(OSError):
                # SSLSocket's own shutdown would let a write in progress continue unencrypted.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def is_readable(connection: PeerConnection) -> bool:
    """Whether an idle connection is readable, which means that the server has closed it."""
    try:
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN | select.POLLHUP | select.POLLERR)
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
        what = f"presented a certificate that is not trusted ({error.verify_message})"
    else:
        what = f"cut the connection ({type(error).__name__})"
    return PeerUnreachable(f"{url} {what}", url=url)
