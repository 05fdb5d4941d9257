"""The listener for load balancers, in front of the real runner over real sockets and TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
import struct
from collections.abc import Iterable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lockstep_store.runtime.http import proxy_protocol
from lockstep_store.runtime.http.proxy_protocol import (
    RELAYED,
    BadHeader,
    ProxyProtocolListener,
    read_client,
)
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import SetupError
from tests.fakes.lasting_ports import lasting_ports
from tests.waiting import wait_until

BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def header(client: str, more: bytes = b"") -> bytes:
    """Version 2, as HAProxy's `send-proxy-v2` sends it."""
    address = ipaddress.ip_address(client)
    own = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    body = address.packed + own.packed + struct.pack("!HH", 40000, 443) + more
    return SIGNATURE + bytes([0x21, 0x11 if address.version == 4 else 0x21]) + len(body).to_bytes(2) + body


LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def client_in(text: bytes) -> str | None:
    """What `read_client` finds in `text`; the connection ends with it."""

    async def read() -> str | None:
        reader = asyncio.StreamReader()
        reader.feed_data(text)
        reader.feed_eof()
        return await read_client(reader)

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("text", "client"),
    [
        (header("203.0.113.9"), "203.0.113.9"),
        (header("2001:db8::7"), "2001:db8::7"),
        (header("::ffff:203.0.113.9"), "203.0.113.9"),
        (header("203.0.113.9", more=b"\x02\x00\x0bexample.org"), "203.0.113.9"),
        (LOCAL, None),
        (SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), None),
        (b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 443\r\n", "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 443\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN 1 2 3 4\r\n", None),
    ],
)
def test_both_versions_name_the_client(text: bytes, client: str | None) -> None:
    """None stands for a connection of the balancer's own; additions are skipped, and nothing behind is consumed."""
    assert client_in(text) == client


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(0xFFFF),
        b"PROXY TCP4 2001:db8::7 ::1 40000 443\r\n",
        b"PROXY TCP4 nobody 127.0.0.1 40000 443\r\n",
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY TCP4 " + b"1" * 200,
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    """TLS without a header, other versions, commands and families, and what is cut short or too long."""
    with pytest.raises(BadHeader):
        client_in(text)


class Balanced(NamedTuple):
    port: int
    inner: int
    context: ssl.SSLContext
    listener: ProxyProtocolListener

    def connect(self, start: bytes, port: int = 0, source: tuple[str, int] = (BALANCER, 0)) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", port or self.port), 60, source)
        raw.sendall(start)
        return self.context.wrap_socket(raw, server_hostname="localhost")

    def closes(self, start: bytes, source: str) -> bool:
        """Whether a connection that begins so ends without an answer."""
        with socket.create_connection(("127.0.0.1", self.port), 60, (source, 0)) as raw:
            try:
                raw.sendall(start)
                return raw.recv(1) == b""
            except ConnectionError:
                return True


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/large":
        start("200 -", [("Content-Length", str(64 << 20))])
        return (bytes(1 << 20) for _ in range(64))
    if environ["PATH_INFO"] == "/forwarded":
        text = environ.get("HTTP_X_FORWARDED_FOR", "").encode()
        start("200 -", [("Content-Length", str(len(text)))])
        return [text]
    text = f"{environ['REMOTE_ADDR']} {environ['SERVER_PORT']} {bool(environ.get(RELAYED))} {len(body)}".encode()
    start("200 -", [("Content-Length", str(len(text)))])
    return [text]


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")
    own, port = lasting_ports(2)
    listener = ProxyProtocolListener("127.0.0.1", port, [ipaddress.ip_network(BALANCER)])
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(_app, host="127.0.0.1", port=own, threads=16, balancers=listener, **files).start()
    yield Balanced(port, listener.inner[1], people_context(identity.ca_file), listener)
    service.stop(0.5)


def ask(connection: ssl.SSLSocket, line: str = "GET /", *headers: str, body: bytes = b"") -> tuple[int, bytes]:
    lines = [f"{line} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def test_requests_count_for_the_client_that_the_balancer_names(balanced: Balanced) -> None:
    """Each one of the connection, with bodies in both directions of any size."""
    with balanced.connect(header("203.0.113.9")) as connection:
        told = f"203.0.113.9 {balanced.port} True".encode()
        assert ask(connection) == (200, told + b" 0")
        assert ask(connection, "PUT /", body=bytes(5_000_000)) == (200, told + b" 5000000")
        assert ask(connection, "GET /large") == (200, bytes(64 << 20))
    with balanced.connect(LOCAL) as connection:
        assert ask(connection)[1].startswith(b"127.0.0.1 ")
    wait_until(lambda: not balanced.listener._clients, what="the end of both")


def test_nobody_else_names_a_client(balanced: Balanced, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger's connection is closed, and the log says why, once for its address; so is one without a header."""
    caplog.set_level(logging.WARNING, logger="lockstep")
    for _ in range(3):
        assert balanced.closes(header("203.0.113.9"), STRANGER)
    assert balanced.closes(b"GET / HTTP/1.1\r\n\r\n", BALANCER)
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "not a --trusted-proxy" in message] == [
        f"closed a connection of {STRANGER} to the port for load balancers: it is not a --trusted-proxy"
    ]
    assert len([message for message in messages if "no PROXY header" in message]) == 1


def test_the_port_behind_it_answers_nobody_else(balanced: Balanced) -> None:
    """Whoever finds the runner's own port for it has no client's address there, not even from a port of the relay's."""
    with balanced.connect(header("203.0.113.9")) as relayed:
        assert ask(relayed)[0] == 200
        ((_, relays),) = balanced.listener._clients
        for source in ((BALANCER, 0), (STRANGER, relays)):
            with balanced.connect(b"", balanced.inner, source) as connection:
                status, body = ask(connection)
            assert (status, b"this port is the proxy's own" in body) == (400, True)


@pytest.mark.parametrize(("start", "kept"), [(header("203.0.113.9"), True), (LOCAL, False)])
def test_a_client_without_a_name_gives_itself_none(balanced: Balanced, start: bytes, kept: bool) -> None:
    """Its address is the balancer's, from which the proxy believes an X-Forwarded-For."""
    with balanced.connect(start) as connection:
        told = ask(connection, "GET /forwarded", "X-Forwarded-For: 198.51.100.7")[1]
    assert (told == b"198.51.100.7") == kept


def test_a_header_that_does_not_come_ends_the_connection(balanced: Balanced, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer that connects and sends half a header holds its place for a few seconds only."""
    monkeypatch.setattr(proxy_protocol, "HEADER_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", balanced.port), 60) as raw:
        raw.sendall(header("203.0.113.9")[:20])
        assert raw.recv(1) == b""


def test_a_client_that_stops_reading_is_cut_off(balanced: Balanced, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds is given back, as for clients that connect themselves."""
    monkeypatch.setattr(proxy_protocol, "STALL_SECONDS", 0.5)
    with balanced.connect(header("203.0.113.9")) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.recv(1) == b"H"
        wait_until(lambda: not balanced.listener._clients, what="the end of the connection")


def test_a_client_that_leaves_is_forgotten(balanced: Balanced) -> None:
    """In the middle of a download, with a reset."""
    connection = balanced.connect(header("203.0.113.9"))
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
    assert connection.recv(1) == b"H"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    wait_until(lambda: not balanced.listener._clients, what="the end of the connection")


def test_a_port_in_use_stops_the_start(balanced: Balanced) -> None:
    """In one sentence that names the option."""
    second = ProxyProtocolListener("127.0.0.1", balanced.port, [])
    with pytest.raises(SetupError, match="--proxy-protocol-port"):
        second.start()
    second.stop()
