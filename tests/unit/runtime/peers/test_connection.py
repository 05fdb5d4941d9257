"""What a connection between programs sends, and what it takes for a reply."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from threading import Thread
from typing import NamedTuple

import pytest

from lockstep_store.runtime.peers.connection import MAX_HEAD_BYTES, MalformedReply, PeerConnection
from lockstep_store.runtime.peers.liveness import PeerState


class Pair(NamedTuple):
    """A connection without TLS, and the server's end of it."""

    connection: PeerConnection
    server: socket.socket

    def replies(self, *pieces: bytes) -> PeerConnection:
        """The connection, once it has sent a request and the server has sent `pieces`."""
        self.connection.send_head("GET", "/", {})
        assert self.server.recv(65536)
        for piece in pieces:
            self.server.sendall(piece)
        return self.connection


@pytest.fixture
def pair() -> Iterator[Pair]:
    connection = PeerConnection(PeerState(("server.test", 5050)), 5.0, ssl.create_default_context())
    connection.sock, server = socket.socketpair()
    connection.set_timeout(60.0)
    server.settimeout(60.0)
    yield Pair(connection, server)
    connection.close()
    server.close()


def test_a_small_request_is_sent_in_one_piece(pair: Pair) -> None:
    """Head and body together: two pieces would be two system calls and two TLS records."""
    pair.connection.send_head("POST", "/v1/lookup", {"Content-Length": "4", "X-Request-Id": "a1"}, b"body")
    assert pair.server.recv(65536) == (
        b"POST /v1/lookup HTTP/1.1\r\nHost: server.test:5050\r\nContent-Length: 4\r\nX-Request-Id: a1\r\n\r\nbody"
    )


def test_an_ipv6_address_is_bracketed() -> None:
    """Its colons would be taken for that of the port (RFC 9112, section 3.2)."""
    connection = PeerConnection(PeerState(("::1", 5050)), 5.0, ssl.create_default_context())
    connection.sock, server = socket.socketpair()
    connection.send_head("GET", "/", {})
    assert b"\r\nHost: [::1]:5050\r\n" in server.recv(65536)
    connection.close()
    server.close()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/a b", {}),
        ("/a\r\nX: y", {}),
        ("/", {"X-Request-Id": "a\r\nX-Lockstep-Peer: forged"}),
        ("/", {"X-Request-Id\r\nX": "a"}),
        ("/", {"X": "a\n"}),
    ],
)
def test_nothing_can_be_smuggled_into_a_head(pair: Pair, path: str, headers: dict[str, str]) -> None:
    """A line break in a value would be another header; nothing is sent then."""
    with pytest.raises(ValueError, match="not a request"):
        pair.connection.send_head("GET", path, headers)
    pair.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        pair.server.recv(1)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_reply_may_come_in_any_pieces(pair: Pair, size: int) -> None:
    """The kernel cuts where it likes, also within the empty line that ends the head."""
    body = bytes(range(256)) * 4
    reply = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-LENGTH:  %d \r\n\r\n" % len(body) + body
    connection = pair.replies()

    def send() -> None:
        for at in range(0, len(reply), size):
            pair.server.sendall(reply[at : at + size])

    sender = Thread(target=send)
    sender.start()
    connection.read_head()
    assert (connection.status, connection.left, connection.stays_open) == (200, len(body), True)
    first = connection.read(10)
    assert first + connection.read_rest() == body
    assert connection.left == 0
    assert connection.read(10) == b""
    sender.join()


def test_one_connection_carries_many_replies(pair: Pair) -> None:
    """Nothing of a reply is left for the next."""
    for number in range(3):
        text = str(number).encode()
        connection = pair.replies(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + text)
        connection.read_head()
        assert connection.read_rest() == text


def test_a_provisional_reply_is_skipped(pair: Pair) -> None:
    """Expect: 100-continue is answered before the reply."""
    connection = pair.replies(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    connection.read_head()
    assert (connection.status, connection.left) == (204, 0)


def test_a_server_that_closes_says_so(pair: Pair) -> None:
    connection = pair.replies(b"HTTP/1.1 503 -\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n")
    connection.read_head()
    assert (connection.status, connection.stays_open) == (503, False)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
    ],
)
def test_what_the_runner_never_sends_is_refused(pair: Pair, reply: bytes) -> None:
    """The end of such a reply would be unknown, and the next reply be taken from its middle."""
    connection = pair.replies(reply)
    with pytest.raises(MalformedReply):
        connection.read_head()


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_a_connection_that_ends_before_the_reply_is_an_error(pair: Pair, reply: bytes) -> None:
    connection = pair.replies(reply)
    pair.server.close()
    with pytest.raises(ConnectionResetError):
        connection.read_head()


@pytest.mark.parametrize("read", [PeerConnection.read_rest, lambda connection: connection.read(100)])
def test_a_body_that_is_cut_leaves_its_rest_counted(pair: Pair, read: Callable[[PeerConnection], bytes]) -> None:
    """The caller sees by `left` that the body is not whole."""
    connection = pair.replies(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    pair.server.close()
    connection.read_head()
    assert read(connection) == b"abc"
    assert connection.left == 7
    assert connection.read(1) == b""


def test_a_large_body_follows_its_head(pair: Pair) -> None:
    """It is not copied to be joined with it."""
    body = bytes(1 << 20)
    sender = Thread(target=lambda: pair.connection.send_head("PUT", "/", {}, body))
    sender.start()
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < len(body):
        received += pair.server.recv(1 << 20)
    sender.join()
    assert received.partition(b"\r\n\r\n")[2] == body
