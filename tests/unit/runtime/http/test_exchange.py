"""The runner for people, over real sockets: what it shows of a request as it came, and what it refuses itself."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.runtime.http.request_head import MAX_HEADER_BYTES, RAW_HEADERS, RAW_PATH
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import IncompleteBody
from tests.fakes.lasting_ports import lasting_ports


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """Shows the request; some addresses fail in their own ways."""
    path = environ["PATH_INFO"]
    if path == "/late":
        return _late(start)
    if path == "/nothing":
        start("200 -", [("Content-Length", "0")])
        return iter(())
    if path == "/broken-late":
        start("200 -", [("Content-Length", "300000")])
        return (piece for piece in (b"x" * 200_000, 1 / 0))  # type: ignore[return-value, list-item]
    if path == "/broken-early":
        start("200 -", [("Content-Length", "3")])
        return (piece for piece in [1 / 0])  # type: ignore[return-value]
    if path == "/raises":
        raise RuntimeError("secret detail")
    try:
        body = environ["wsgi.input"].read().decode("latin-1")
    except IncompleteBody as error:
        body = repr(error)
    seen = {
        "path": path,
        "raw_path": environ[RAW_PATH].decode(),
        "headers": [[name.decode("latin-1"), value.hex()] for name, value in environ[RAW_HEADERS]],
        "keys": {key: value for key, value in environ.items() if key.startswith("HTTP_X")},
        "body": body,
    }
    answer = json.dumps(seen).encode()
    start("200 -", [("Content-Length", str(len(answer)))])
    return [answer]


def _late(start: Any) -> Iterator[bytes]:
    start("404 Not Found", [("X-From", "the application"), ("Content-Length", "4")])
    yield b"gone"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext]]:
    certs = tmp_path_factory.mktemp("certs")
    ensure_authority(certs)
    identity = ensure_identity(certs, "client_proxy", "1")
    (port,) = lasting_ports(1)
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(_app, host="127.0.0.1", port=port, threads=4, **files).start()
    yield port, people_context(Path(identity.ca_file))
    service.stop(0.5)


@pytest.fixture
def ask(served: tuple[int, ssl.SSLContext]) -> Any:
    port, context = served

    def ask(request: bytes, *, then_close: bool = False) -> tuple[int, bytes]:
        """The answer's status and its body; status 0 when the connection was closed without one."""
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), 60), server_hostname="127.0.0.1", suppress_ragged_eofs=True
        ) as connection:
            connection.sendall(request)
            data = b""
            while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
                more = connection.recv(65536)
                if not more:
                    break
                data += more
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, body

    return ask


def _length(data: bytes) -> int:
    for line in data.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 1 << 60


def test_headers_and_addresses_are_shown_as_they_came(ask: Any) -> None:
    """Bytes beyond ASCII and encoded slashes arrive; a name with an underscore has no key of its twin's."""
    status, body = ask(
        b"GET /a%2Fb/c HTTP/1.1\r\nHost: h\r\nX-City: Z\xc3\xbcrich\r\nx_key: 1\r\nX-Two: a\r\nX-Two: b\r\n\r\n"
    )
    seen = json.loads(body)
    assert status == 200
    assert (seen["path"], seen["raw_path"]) == ("/a/b/c", "/a%2Fb/c")
    assert ["x-city", "Zürich".encode().hex()] in seen["headers"]
    assert ["x_key", b"1".hex()] in seen["headers"]
    assert seen["keys"] == {"HTTP_X_CITY": "Zürich".encode().decode("latin-1"), "HTTP_X_TWO": "a,b"}


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        (b"GET / HTTP/1.1", b"Host: h:443\r\n", 200),
        (b"GET / HTTP/1.1", b"Host: [::1]:443\r\n", 200),
        (b"GET / HTTP/1.0", b"", 200),
        (b"GET https://other/ HTTP/1.1", b"Host: h\r\n", 200),
        (b"GET / HTTP/1.1", b"", 400),
        (b"GET / HTTP/1.1", b"Host:\r\n", 400),
        (b"GET / HTTP/1.1", b"Host: a\r\nHost: a\r\n", 400),
        (b"GET / HTTP/1.1", b"Host: a b\r\n", 400),
        (b"GET / HTTP/1.1", b"Host: a/b\r\n", 400),
        (b"GET / HTTP/1.1", b"Host: a@b\r\n", 400),
        (b"GET * HTTP/1.1", b"Host: h\r\n", 400),
        (b"OPTIONS * HTTP/1.1", b"Host: h\r\n", 501),
        (b"CONNECT h:443 HTTP/1.1", b"Host: h\r\n", 400),
        (b"POST / HTTP/1.1", b"Host: h\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        (b"POST / HTTP/1.1", b"Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        (b"A" * 33 + b" / HTTP/1.1", b"Host: h\r\n", 400),
        (b"GET / HTTP/1.1", b"Host: h\r\nX: " + b"a" * MAX_HEADER_BYTES + b"\r\n", 431),
        (b"GET / HTTP/1.1", b"Host: h\r\n" + b"X-A: a\r\n" * 50 + b"X: " + b"a" * 40_000 + b"\r\n", 431),
    ],
)
def test_heads_that_nobody_may_answer_are_refused(ask: Any, request_line: bytes, headers: bytes, expected: int) -> None:
    """Missing, doubled, empty and malformed hosts, other forms of address, and what is too long (RFC 9112)."""
    status, body = ask(request_line + b"\r\n" + headers + b"Connection: close\r\n\r\n")
    assert status == expected
    if expected != 200:
        problem = json.loads(body)
        assert problem["status"] == expected
        assert problem["request_id"]


CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_broken_chunked_body_is_never_a_whole_one(ask: Any) -> None:
    """Framing that breaks from the start or in the middle is IncompleteBody; a whole body of many chunks is itself."""
    status, body = ask(CHUNKED + b"".join(b"1\r\n%c\r\n" % letter for letter in b"abc" * 20) + b"0\r\n\r\n")
    assert (status, json.loads(body)["body"]) == (200, "abc" * 20)
    for framing in (b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\nzz\r\n", b"3\r\nabcd\r\n0\r\n\r\n"):
        status, body = ask(CHUNKED + framing)
        assert status in (200, 400)
        assert status == 400 or json.loads(body)["body"].startswith("IncompleteBody")


def test_large_bodies_arrive_whole(ask: Any) -> None:
    """Bodies around every bound between what is collected, and what a thread reads."""
    for size in (1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 300_000):
        data = bytes(range(65, 91)) * (size // 26 + 1)
        status, body = ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + data[:size])
        assert (status, json.loads(body)["body"]) == (200, data[:size].decode())


def test_a_status_may_come_late(ask: Any) -> None:
    """PEP 3333 lets an application name its status with its first piece."""
    assert ask(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n") == (404, b"gone")


def test_a_streamed_reply_may_have_no_bytes(ask: Any) -> None:
    """It has reached its declared length before the first piece, and is sent all the same."""
    assert ask(b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n") == (200, b"")


def test_a_failure_is_never_a_200(ask: Any) -> None:
    """Before the first byte it is a 500 without its details; after it, the declared length is not reached."""
    for address in (b"/raises", b"/broken-early"):
        status, body = ask(b"GET " + address + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert status == 500
        assert b"secret" not in body
    status, body = ask(b"GET /broken-late HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(body) < 300_000
