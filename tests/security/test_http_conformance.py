"""HTTP/1.1 messages, right and wrong, over real sockets to the runner that serves people (RFC 9110 and 9112).

Every case has the statuses that the RFCs allow. After each comes a second request: where a request's end is in doubt,
it must never be answered, because it could be a stranger's, smuggled in the body of the first.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.runtime.http.request_head import RAW_HEADERS
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import IncompleteBody
from tests.fakes.lasting_ports import lasting_ports

CLOSED = 0
"""No answer: the connection was closed."""
OK, BAD, EITHER = (200,), (400, CLOSED), (200, 400, CLOSED)
SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """A request. `body` is what an application must have read of it, where it is answered with 200."""

    name: str
    request: bytes
    allowed: tuple[int, ...]
    body: str | None = None
    second: bool = False
    """Whether the second request must be answered: the end of the first is beyond doubt."""
    header: tuple[str, str] | None = None
    """A header as the application must see it."""


def get(name: str, allowed: tuple[int, ...], *lines: bytes, target: bytes = b"/", **more: Any) -> Case:
    """A GET with a Host and these header lines."""
    return Case(name, b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: x", *lines, b"", b""]), allowed, **more)


def line(name: str, allowed: tuple[int, ...], first: bytes, **more: Any) -> Case:
    """Any request line, with a Host."""
    return Case(name, first + b"\r\nHost: x\r\n\r\n", allowed, **more)


def host(name: str, allowed: tuple[int, ...], *hosts: bytes) -> Case:
    return Case(name, b"\r\n".join([b"GET / HTTP/1.1", *(b"Host: " + one for one in hosts), b"", b""]), allowed)


def post(name: str, allowed: tuple[int, ...], *lines: bytes, content: bytes = b"", **more: Any) -> Case:
    head = b"\r\n".join([b"POST / HTTP/1.1", b"Host: x", *lines, b"", b""])
    return Case(name, head + content, allowed, **more)


def chunks(name: str, allowed: tuple[int, ...], content: bytes, *lines: bytes, **more: Any) -> Case:
    return post(name, allowed, b"Transfer-Encoding: chunked", *lines, content=content, **more)


HOSTS = (
    host("a host", OK, b"x"),
    host("a host and a port", OK, b"x:5000"),
    host("an IPv6 address", OK, b"[::1]:5000"),
    host("no host", BAD),
    host("two hosts", BAD, b"x", b"y"),
    host("one host twice", BAD, b"x", b"x"),
    host("an empty host", BAD, b""),
    host("a host with a space", BAD, b"x y"),
    host("a host with a path", BAD, b"x/y"),
    host("a host with a user", BAD, b"u@x"),
    host("a port that is no number", BAD, b"x:y"),
    host("half an IPv6 address", BAD, b"[::1"),
    Case("no host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", OK),
)
TARGETS = (
    get("origin form", OK, target=b"/a?b"),
    get("origin form, percent-encoded", OK, target=b"/%41%2f?%20"),
    get("absolute form", OK, target=b"https://x/a"),
    get("absolute form of another host", OK, target=b"https://y/a"),
    line("asterisk form", (200, 204, 405, 501), b"OPTIONS * HTTP/1.1"),
    get("asterisk form in a GET", BAD, target=b"*"),
    get("authority form in a GET", BAD, target=b"x:443"),
    line("authority form", (400, 405, 501, CLOSED), b"CONNECT x:443 HTTP/1.1"),
    get("no slash", BAD, target=b"a"),
    get("an empty target", BAD, target=b""),
    get("a fragment", BAD, target=b"/a#b"),
    get("a space", BAD, target=b"/a b"),
    get("a byte beyond ASCII", BAD, target=b"/\xe9"),
    get("a control character", BAD, target=b"/\x01"),
    get("a NUL", BAD, target=b"/\x00"),
    get("a double quote", BAD, target=b'/"'),
    get("a long target", (414, 400, 431, CLOSED), target=b"/" + b"a" * 70_000),
)
LINES = (
    line("a method in small letters", OK, b"get / HTTP/1.1"),
    line("an unknown method", OK, b"BREW / HTTP/1.1"),
    line("a method with a bracket", BAD, b"G(T / HTTP/1.1"),
    line("no method", BAD, b" / HTTP/1.1"),
    line("a long method", (400, 501, CLOSED), b"A" * 200 + b" / HTTP/1.1"),
    line("HTTP/1.2", (200, 400, 505, CLOSED), b"GET / HTTP/1.2"),
    line("HTTP/2.0", (400, 505, CLOSED), b"GET / HTTP/2.0"),
    line("HTTP/0.9", (400, 505, CLOSED), b"GET /"),
    line("a version of two digits", (400, 505, CLOSED), b"GET / HTTP/1.10"),
    line("a version in small letters", BAD, b"GET / http/1.1"),
    line("no version number", BAD, b"GET / HTTP/"),
    line("another protocol", BAD, b"GET / ICAP/1.1"),
    line("two spaces", EITHER, b"GET  / HTTP/1.1"),
    line("a tab", EITHER, b"GET\t/ HTTP/1.1"),
    line("a space at the end", EITHER, b"GET / HTTP/1.1 "),
    line("an empty line before", OK, b"\r\nGET / HTTP/1.1"),
    Case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505, CLOSED)),
    Case("lines that end in LF", b"GET / HTTP/1.1\nHost: x\n\n", EITHER),
)
HEADERS = (
    get("an empty value", OK, b"X-A:", header=("x-a", "")),
    get("space around a value", OK, b"X-A: \t b \t ", header=("x-a", "b")),
    get("bytes beyond ASCII in a value", OK, b"X-A: \xe9\xff"),
    get("two lines of one name", OK, b"X-A: b", b"X-A: c"),
    get("a space before the colon", BAD, b"X-A : b"),
    get("a tab before the colon", BAD, b"X-A\t: b"),
    get("a folded line", EITHER, b"X-A: b", b" c"),
    get("a line that begins with a space", BAD, b" X-A: b"),
    Case("a space before the first header", b"GET / HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n", BAD),
    get("no name", BAD, b": b"),
    get("no colon", BAD, b"X-A"),
    get("a name with a bracket", BAD, b"X(A: b"),
    get("a name with a byte beyond ASCII", BAD, b"X-\xe9: b"),
    get("a NUL in a value", BAD, b"X-A: a\x00b"),
    get("a CR in a value", BAD, b"X-A: a\rb"),
    get("a control character in a value", EITHER, b"X-A: a\x01b"),
    get("a value of 40 kB", (431, 400, CLOSED), b"X-A: " + b"a" * 40_000),
    get("a name of 40 kB", (431, 400, CLOSED), b"X-" + b"a" * 40_000 + b": b"),
    get("40 kB of headers", (431, 400, CLOSED), *(b"X-%d: %s" % (number, b"a" * 1000) for number in range(40))),
    get("300 headers", (200, 431, 400, CLOSED), *(b"X-%d: a" % number for number in range(300))),
)
LENGTHS = (
    post("a length", OK, b"Content-Length: 3", content=b"abc", body="abc", second=True),
    post("a length of 0", OK, b"Content-Length: 0", body="", second=True),
    post("neither length nor coding", OK, body="", second=True),
    post("a length with zeros before", EITHER, b"Content-Length: 003", content=b"abc", body="abc"),
    post("a length that is no number", BAD, b"Content-Length: abc", content=b"abc"),
    post("a negative length", BAD, b"Content-Length: -3", content=b"abc"),
    post("a length with a sign", BAD, b"Content-Length: +3", content=b"abc"),
    post("a length in hex", BAD, b"Content-Length: 0x3", content=b"abc"),
    post("a length with a space inside", BAD, b"Content-Length: 1 1", content=b"abc"),
    post("a length with a point", BAD, b"Content-Length: 3.0", content=b"abc"),
    post("an empty length", BAD, b"Content-Length:", content=b"abc"),
    post("a length beyond 64 bits", (400, 413, CLOSED), b"Content-Length: 99999999999999999999999"),
    post("a list of equal lengths", EITHER, b"Content-Length: 3, 3", content=b"abc", body="abc"),
    post("a list of lengths", BAD, b"Content-Length: 3, 4", content=b"abc"),
    post("two equal lengths", EITHER, b"Content-Length: 3", b"Content-Length: 3", content=b"abc", body="abc"),
    post("two lengths", BAD, b"Content-Length: 3", b"Content-Length: 4", content=b"abc"),
    Case("a GET with a body", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", OK, "abc", True),
)
CODINGS = (
    post("a length and a coding", EITHER, b"Content-Length: 3", b"Transfer-Encoding: chunked", content=b"0\r\n\r\n"),
    post("a coding and a length", EITHER, b"Transfer-Encoding: chunked", b"Content-Length: 3", content=b"0\r\n\r\n"),
    post("a coding in capitals", OK, b"Transfer-Encoding: CHUNKED", content=b"0\r\n\r\n", body="", second=True),
    post("a coding that does not exist", (400, 501, CLOSED), b"Transfer-Encoding: xchunked", content=b"0\r\n\r\n"),
    post("a coding beside it", (400, 501, CLOSED), b"Transfer-Encoding: gzip, chunked", content=b"0\r\n\r\n"),
    post("chunked twice", (400, 501, CLOSED), b"Transfer-Encoding: chunked, chunked", content=b"0\r\n\r\n"),
    post("chunked in two lines", (400, 501, CLOSED), *(b"Transfer-Encoding: chunked",) * 2, content=b"0\r\n\r\n"),
    post("chunked not at the end", (400, 501, CLOSED), b"Transfer-Encoding: chunked, gzip", content=b"0\r\n\r\n"),
    post("identity", (400, 501, CLOSED), b"Transfer-Encoding: identity", content=b"0\r\n\r\n"),
    post("an empty coding", (400, 501, CLOSED), b"Transfer-Encoding:", content=b"0\r\n\r\n"),
    post("a coding after a vertical tab", (400, 501, CLOSED), b"Transfer-Encoding: \x0bchunked", content=b"0\r\n\r\n"),
    post("a coding in quotes", (400, 501, CLOSED), b'Transfer-Encoding: "chunked"', content=b"0\r\n\r\n"),
    Case(
        "a coding in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        EITHER,
    ),
)
CHUNKS = (
    chunks("a chunk", OK, b"3\r\nabc\r\n0\r\n\r\n", body="abc", second=True),
    chunks("several chunks", OK, b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", body="abc", second=True),
    chunks("no chunk", OK, b"0\r\n\r\n", body="", second=True),
    chunks("hex in capitals", OK, b"A\r\n0123456789\r\n0\r\n\r\n", body="0123456789", second=True),
    chunks("zeros before a size", OK, b"0003\r\nabc\r\n000\r\n\r\n", body="abc", second=True),
    chunks("an extension", OK, b"3;a=b\r\nabc\r\n0\r\n\r\n", body="abc", second=True),
    chunks("an extension in quotes", OK, b'3;a="b;c"\r\nabc\r\n0\r\n\r\n', body="abc", second=True),
    chunks("trailers", OK, b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n", body="abc", second=True),
    chunks("a trailer about framing", OK, b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n", body="abc", second=True),
    chunks("a size that is no number", BAD, b"g\r\nabc\r\n0\r\n\r\n"),
    chunks("an empty size", BAD, b"\r\nabc\r\n0\r\n\r\n"),
    chunks("a size with a prefix", BAD, b"0x3\r\nabc\r\n0\r\n\r\n"),
    chunks("a negative size", BAD, b"-3\r\nabc\r\n0\r\n\r\n"),
    chunks("a size with a sign", BAD, b"+3\r\nabc\r\n0\r\n\r\n"),
    chunks("a space before a size", BAD, b" 3\r\nabc\r\n0\r\n\r\n"),
    chunks("a size with an underscore", BAD, b"1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n"),
    chunks("a size beyond 64 bits", BAD, b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    chunks("a size that ends in LF", BAD, b"3\nabc\r\n0\r\n\r\n"),
    chunks("a size that ends in CR", BAD, b"3\rabc\r\n0\r\n\r\n"),
    chunks("an extension with LF", BAD, b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    chunks("a chunk without an end", BAD, b"3\r\nabc0\r\n\r\n"),
    chunks("a chunk that ends in LF", BAD, b"3\r\nabc\n0\r\n\r\n"),
    chunks("a chunk longer than its size", BAD, b"3\r\nabcd\r\n0\r\n\r\n"),
    chunks("an extension of 100 kB", BAD, b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n"),
    chunks("100 kB of trailers", BAD, b"3\r\nabc\r\n0\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n"),
    chunks("a trailer without a colon", EITHER, b"3\r\nabc\r\n0\r\nX-A\r\n\r\n", body="abc"),
)
OTHERS = (
    get("an upgrade to HTTP/2", OK, b"Connection: upgrade", b"Upgrade: h2c", second=True),
    get("an upgrade to a web socket", (200, 400, 426), b"Connection: upgrade", b"Upgrade: websocket"),
    get("options of the connection", OK, b"Connection: x-a, keep-alive", b"X-A: b", second=True),
    line("HEAD", OK, b"HEAD / HTTP/1.1", second=True),
    post("100-continue", OK, b"Expect: 100-continue", b"Content-Length: 3", content=b"abc", body="abc", second=True),
    get("100-continue without a body", OK, b"Expect: 100-continue"),
)
CASES = (*HOSTS, *TARGETS, *LINES, *HEADERS, *LENGTHS, *CODINGS, *CHUNKS, *OTHERS)
KNOWN: dict[str, tuple[int, str]] = {
    "a fragment": (200, "the runner drops it, and nobody sees it"),
    "a double quote": (200, "some clients do not encode it; the address is taken as it is"),
}
"""What is answered otherwise, with the status and the reason."""


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    status = "200 -"
    try:
        body = environ["wsgi.input"].read().decode("latin-1")
    except IncompleteBody as error:
        status, body = "400 -", str(error)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in environ[RAW_HEADERS]}
    seen = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], "body": body, "headers": headers}
    answer = json.dumps(seen).encode()
    start(status, [("Content-Length", str(len(answer)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer]


@dataclass
class Server:
    """The runner, with an application that shows what it got."""

    port: int
    context: ssl.SSLContext

    def exchange(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes, after which the client sends nothing more."""
        with self.context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), 60), server_hostname="127.0.0.1"
        ) as connection:
            got = b""
            try:
                connection.sendall(data)
                connection.settimeout(20)
                while more := connection.recv(65536):
                    got += more
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
            return got


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    certs = tmp_path_factory.mktemp("certs")
    ensure_authority(certs)
    identity = ensure_identity(certs, "client_proxy", "1")
    (port,) = lasting_ports(1)
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(_app, host="127.0.0.1", port=port, threads=4, **files).start()
    yield Server(port, people_context(Path(identity.ca_file)))
    service.stop(0.5)


def final_head(answer: bytes) -> tuple[int, bytes]:
    """The status of the first answer that is not 100 (Continue), and what follows its head; CLOSED for none."""
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status != 100:
            return status, answer
    return CLOSED, b""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_message_is_taken_as_the_standard_says(server: Server, case: Case) -> None:
    """Its status, its body, and whether the request after it is one of its own."""
    answer = server.exchange(case.request + SECOND)
    status, rest = final_head(answer)
    allowed = (KNOWN[case.name][0],) if case.name in KNOWN else case.allowed
    assert status in allowed, answer[:300]
    if status >= 400:
        assert b"/second" not in answer, "after a refusal the connection is closed"
    if case.second and case.name not in KNOWN:
        assert b'"path": "/second"' in answer
    if status == 200 and not case.request.startswith(b"HEAD"):
        seen, _ = json.JSONDecoder().raw_decode(rest.decode())
        assert case.body is None or seen["body"] == case.body
        assert case.header is None or seen["headers"][case.header[0]] == case.header[1]


def test_names_are_unique_and_what_is_known_is_tried() -> None:
    """A known deviation that is mended must leave the list."""
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert set(KNOWN) <= set(names)
    print(f"{len(names) - len(KNOWN)} of {len(names)} messages are taken as the standard says")
