"""Whatever a request takes is given back, wherever its client leaves: threads, places, counted bytes and memory."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import Counter

from lockstep_store.runtime.http import exchanges
from lockstep_store.runtime.http.admission import AdmissionGate, gate_for_people
from lockstep_store.runtime.http.api import RawRequest
from lockstep_store.runtime.http.content import ContentMetrics, content_body
from lockstep_store.runtime.http.exchange import Exchange
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import IncompleteBody, Overloaded
from tests.fakes.lasting_ports import lasting_ports
from tests.fakes.slow_client import slow_connection
from tests.waiting import wait_until

METRICS = ContentMetrics(Counter("test_ends_aborted", "Test"), Counter("test_ends_abandoned", "Test"))
MEBIBYTE = 1 << 20
BLOCK = 256 * 1024
HEAD_BYTES = 60
"""A reply's head has at least this many."""


class _Zeros:
    """Content that counts how much of it was read."""

    blocks_read = 0

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        assert stop is not None
        for _ in range((stop - start) // BLOCK):
            _Zeros.blocks_read += 1
            yield bytes(BLOCK)

    def close(self) -> None:
        pass


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    request = RawRequest(environ)
    _, kind, size = request.path.split("/")
    if kind == "content":
        whole = request.may_send_whole(int(size))
        start("200 -", [("Content-Length", size)])
        return content_body(_Zeros(), 0, int(size), METRICS, whole=whole)
    if kind == "breaks":
        start("200 -", [("Content-Length", size)])
        return (bytes(BLOCK) if number == 0 else bytes(1 // 0) for number in range(2))
    if kind == "overloaded":
        raise Overloaded("the application has its own bounds")
    if kind == "slow":
        time.sleep(float(size))
    try:
        data = request.body(MEBIBYTE)
    except IncompleteBody as error:
        data = repr(error).encode()
    start("200 -", [("Content-Length", str(len(data)))])
    return [data]


class _CountedExchange(Exchange):
    alive: weakref.WeakSet[Exchange] = weakref.WeakSet()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.alive.add(self)


class Running(NamedTuple):
    port: int
    context: ssl.SSLContext
    service: Service
    gate: AdmissionGate
    exchanges: exchanges.Exchanges

    def connect(self, source: str = "127.0.0.1") -> ssl.SSLSocket:
        return slow_connection(self.port, self.context, source)

    def held(self) -> dict[str, object]:
        """What requests hold now."""
        waits = self.exchanges._waits
        return {
            "places": self.gate._admission.held,
            "bytes": self.exchanges._answers.taken,
            "bodies": waits.bodies,
            "answers": len(waits._answers),
            "threads": self.exchanges._running,
            "exchanges": len(_CountedExchange.alive),
        }

    def is_idle(self) -> bool:
        """Whether requests hold nothing, and nothing remembers them."""
        return not any(self.held().values())


@pytest.fixture
def running(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(exchanges, "Exchange", _CountedExchange)
    _CountedExchange.alive.clear()
    caplog.set_level(logging.CRITICAL + 1, logger="lockstep")  # captured tracebacks would keep requests alive
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")
    (port,) = lasting_ports(1)
    gate = gate_for_people(_app, 16)
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(gate, host="127.0.0.1", port=port, threads=16, **files).start()
    assert service._exchanges is not None
    yield Running(port, people_context(identity.ca_file), service, gate, service._exchanges)
    service.stop(0.5)


def _head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: h", b"Authorization: x", *headers, b"", b""])


CHUNKED = b"Transfer-Encoding: chunked"
EXPECT = b"Expect: 100-continue"
STEPS: dict[str, tuple[bytes, int]] = {
    "in the head": (b"GET / HTTP/1.1\r\nHost", 0),
    "before the body": (_head(b"PUT /echo/0", b"Content-Length: 10"), 0),
    "in a collected body": (_head(b"PUT /echo/0", b"Content-Length: 10") + b"abc", 0),
    "in a body that a thread reads": (_head(b"PUT /echo/0", b"Content-Length: 100000") + bytes(60_000), 0),
    "in a chunked body": (_head(b"PUT /echo/0", CHUNKED) + b"3\r\nabc\r\n", 0),
    "while it is asked for the body": (_head(b"PUT /echo/0", b"Content-Length: 10", EXPECT), 0),
    "before the reply": (_head(b"GET /slow/0.3"), 0),
    "before it reads a whole reply": (_head(b"GET /content/4194304"), 0),
    "in a whole reply": (_head(b"GET /content/4194304"), MEBIBYTE),
    "after the head of a whole reply": (_head(b"HEAD /content/4194304"), 1),
    "after the head of a streamed reply": (_head(b"HEAD /content/8388608"), 1),
    "before it reads a streamed reply": (_head(b"GET /content/1073741824"), 0),
    "in a streamed reply": (_head(b"GET /content/1073741824"), 6 * MEBIBYTE),
    "in the tail of a streamed reply": (_head(b"GET /content/8388608"), 7 * MEBIBYTE),
    "in a reply that breaks": (_head(b"GET /breaks/1000000"), 0),
    "in a streamed reply to an unread body": (
        _head(b"GET /content/1073741824", b"Content-Length: 80000") + bytes(40_000),
        1,
    ),
    "in a streamed reply to an awaited body": (_head(b"GET /content/1073741824", b"Content-Length: 10", EXPECT), 1),
    "in the second of several replies": (_head(b"GET /content/4194304") * 3, 5 * MEBIBYTE),
}


def _reset(connection: ssl.SSLSocket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("leave", [_reset, ssl.SSLSocket.close], ids=["reset", "close"])
@pytest.mark.parametrize("step", STEPS)
def test_a_client_may_leave_at_every_step(running: Running, step: str, leave: Callable[[ssl.SSLSocket], None]) -> None:
    """Three clients leave at the step; then nothing is held, and no reply was made for those who left."""
    sent, read = STEPS[step]
    _Zeros.blocks_read = 0
    for _ in range(3):
        connection = running.connect()
        connection.sendall(sent)
        left = read
        while left > 0:
            left -= len(connection.recv(65536))
        leave(connection)
    wait_until(running.is_idle)
    assert _Zeros.blocks_read * BLOCK < 3 * 256 * MEBIBYTE


def test_uploads_leave_nothing_behind(running: Running) -> None:
    """Bodies that come after their heads, small and large, on one connection."""
    with running.connect() as connection:
        for size in (10, 40_000, 10, 300_000):
            connection.sendall(_head(b"PUT /echo/0", b"Content-Length: %d" % size))
            wait_until(lambda: bool(running.exchanges._waits.bodies))
            connection.sendall(bytes(size))
            received = b""
            while len(received.partition(b"\r\n\r\n")[2]) < size:
                received += connection.recv(65536)
        wait_until(running.is_idle)


def test_the_unread_tail_of_a_streamed_reply_keeps_its_place(running: Running) -> None:
    """The thread goes on when all is sent; the place is given back when the client has read it."""
    for reads_the_rest in (True, False):
        with running.connect() as connection:
            connection.sendall(_head(b"GET /content/8388608"))
            left = 8 * MEBIBYTE - len(connection.recv(65536))
            while running.held()["threads"]:
                left -= len(connection.recv(65536))
                time.sleep(0.002)
            assert running.held()["places"] == 1
            while reads_the_rest and left > -HEAD_BYTES:
                left -= len(connection.recv(65536))
            if reads_the_rest:
                wait_until(running.is_idle)
        wait_until(running.is_idle)


def test_a_body_of_tiny_chunks_takes_its_size(running: Running) -> None:
    """Each chunk as an object of its own would take many times as much."""
    with running.connect() as connection:
        connection.sendall(_head(b"PUT /echo/0", CHUNKED) + b"2\r\nab\r\n" * 10_000)

        def frames() -> list[list[bytes]]:
            found = [each.body for each in _CountedExchange.alive]
            return [list(body._frames) for body in found if body._have == 20_000]

        wait_until(lambda: bool(frames()))
        assert len(frames()[0]) < 10
        connection.sendall(b"0\r\n\r\n")
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < 20_000:
            received += connection.recv(65536)
        assert received.endswith(b"ab" * 10_000)


def test_requests_in_progress_end_before_a_stop(running: Running) -> None:
    """Those that wait in line for a thread, too; the replies are whole."""
    replies: list[bytes] = []

    def ask() -> None:
        with running.connect() as connection:
            connection.sendall(_head(b"GET /slow/0.5"))
            replies.append(connection.recv(65536))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(running.exchanges._line) == 4)
    running.service.stop(10)
    for thread in threads:
        thread.join()
    assert [reply.split()[1] for reply in replies] == [b"200"] * 20


def test_an_application_that_is_overloaded_holds_no_place(running: Running) -> None:
    """Its own refusal is answered like the gate's."""
    with running.connect() as connection:
        connection.sendall(_head(b"PUT /overloaded/0", b"Content-Length: 100000") + bytes(40_000))
        assert connection.recv(65536).split()[1] == b"503"
    wait_until(running.is_idle)
