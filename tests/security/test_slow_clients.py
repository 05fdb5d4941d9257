"""Clients that send nothing, or read nothing, cost the others nothing that can be felt. Figures are printed with -s."""

from __future__ import annotations

import http.client
import resource
import ssl
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import Counter

from lockstep_store.runtime.http.admission import AdmissionGate, gate_for_people
from lockstep_store.runtime.http.answer_bytes import CLIENT_BYTES, IN_FLIGHT, TOTAL_BYTES
from lockstep_store.runtime.http.api import RawRequest
from lockstep_store.runtime.http.content import ContentMetrics, content_body
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from tests.fakes.lasting_ports import lasting_ports
from tests.fakes.slow_client import slow_connection

THREADS = 128
ANSWER_BYTES = 4 * 1024 * 1024
METRICS = ContentMetrics(Counter("test_slow_aborted", "Test"), Counter("test_slow_abandoned", "Test"))


class _Zeros:
    """Content that is made while it is read."""

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        assert stop is not None
        yield from (bytes(256 * 1024) for _ in range((stop - start) // (256 * 1024)))

    def close(self) -> None:
        pass


def _app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    request = RawRequest(environ)
    if request.path == "/content":
        whole = request.may_send_whole(ANSWER_BYTES)
        start("200 -", [("Content-Length", str(ANSWER_BYTES))])
        return content_body(_Zeros(), 0, ANSWER_BYTES, METRICS, whole=whole)
    data = request.body(1 << 20)
    start("200 -", [("Content-Length", str(len(data)))])
    return [data]


class Running(NamedTuple):
    port: int
    context: ssl.SSLContext
    gate: AdmissionGate

    def connect(self, source: str) -> ssl.SSLSocket:
        return slow_connection(self.port, self.context, source)

    def seconds(self, size: int) -> float:
        """The time of an upload of `size` bytes by somebody else."""
        began = time.monotonic()
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context)
        connection.request("PUT", "/", bytes(size), {"Authorization": "mine"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(answer.read()) == size
        connection.close()
        return time.monotonic() - began


@contextmanager
def served(folder: Path) -> Iterator[Running]:
    ensure_authority(folder)
    identity = ensure_identity(folder, "client_proxy", "1")
    (port,) = lasting_ports(1)
    gate = gate_for_people(_app, THREADS)
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(gate, host="127.0.0.1", port=port, threads=THREADS, **files).start()
    yield Running(port, people_context(identity.ca_file), gate)
    service.stop(0.5)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with served(tmp_path) as running:
        yield running


@pytest.mark.parametrize("sent", [1, 60_000])
def test_stalled_bodies_do_not_hold_up_the_others(running: Running, tmp_path: Path, sent: int) -> None:
    """112 bodies that stall, after one byte or after enough of them to occupy a thread, from several addresses.

    Uploads beside them alternate with uploads to a server that nobody abuses, so other load slows both alike.
    """
    stalled = []
    for number in range(THREADS - THREADS // 8):
        connection = running.connect(f"127.0.1.{number % 4 + 1}")
        connection.sendall(
            b"PUT / HTTP/1.1\r\nHost: h\r\nAuthorization: x\r\nContent-Length: 900000\r\n\r\n" + bytes(sent)
        )
        stalled.append(connection)
    time.sleep(2.5)  # what has just begun is not cut off
    with served(tmp_path / "quiet") as calm:
        for size in (10, 100_000):
            pairs = [(calm.seconds(size), running.seconds(size)) for _ in range(9)]
            quiet, abused = (statistics.median(times) for times in zip(*pairs, strict=True))
            held = running.gate._admission.held
            print(f"{size} bytes, stalled after {sent}: quiet {quiet:.3f}, abused {abused:.3f} s, held {held}")
            assert abused < 2 * quiet + 0.25
    for connection in stalled:
        connection.close()


def test_answers_that_nobody_reads_fill_no_memory(running: Running) -> None:
    """80 unread answers of 4 MiB: what is kept of them is bounded, in all and for each address, and is let go."""
    running.seconds(10)
    before = _memory()
    unread = []
    for number in range(80):
        connection = running.connect(f"127.0.1.{number % 4 + 1}")
        connection.sendall(b"GET /content HTTP/1.1\r\nHost: h\r\nAuthorization: x\r\n\r\n")
        unread.append(connection)
    deadline = time.monotonic() + 60
    while running.gate._admission.held < 80 - TOTAL_BYTES // ANSWER_BYTES:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    grown = _memory() - before
    print(f"80 unread answers: {grown / 1e6:.0f} MB more, {_in_flight() / 1e6:.0f} MB of them counted")
    assert TOTAL_BYTES / 2 < _in_flight() <= TOTAL_BYTES
    assert grown < TOTAL_BYTES + 160 * 1024 * 1024, "without a bound it is twice as much"
    for connection in unread:
        connection.close()
    while _in_flight() or running.gate._admission.held:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_address_gets_half_of_the_room(running: Running) -> None:
    """An address whose answers wait to be read leaves room for the others' whole answers."""
    unread = []
    for _ in range(2 * CLIENT_BYTES // ANSWER_BYTES):
        connection = running.connect("127.0.1.1")
        connection.sendall(b"GET /content HTTP/1.1\r\nHost: h\r\n\r\n")
        unread.append(connection)
    deadline = time.monotonic() + 60
    while running.gate._admission.held < CLIENT_BYTES // ANSWER_BYTES:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert _in_flight() == CLIENT_BYTES
    for connection in unread:
        connection.close()


def _in_flight() -> float:
    return float(IN_FLIGHT._value.get())


def _memory() -> int:
    """What this process keeps in memory, in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()
