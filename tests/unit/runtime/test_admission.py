"""Admission: clients that stall take a bounded number of threads, and everyone else goes on."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.runtime.http import client_waits
from lockstep_store.runtime.http.admission import (
    Admission,
    AdmissionGate,
    Pass,
    calling_program,
    gate_for_people,
    gate_for_programs,
    has_body,
    remote_address,
)
from lockstep_store.runtime.http.client_waits import STALL_SECONDS, ClientWait, ClientWaits
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.tls.contexts import people_context
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import Overloaded
from tests.unit.runtime.http.test_service import free_port
from tests.waiting import wait_until


def test_one_client_never_gets_every_place_and_all_never_every_thread() -> None:
    """Each bound refuses with its own sentence, and a place given back is there for the next."""
    admission = Admission(total=3, per_client=2)
    first = admission.enter("a")
    admission.enter("a")
    with pytest.raises(Overloaded, match="from your address or program"):
        admission.enter("a")
    admission.enter("b")
    with pytest.raises(Overloaded, match="too many"):
        admission.enter("c")
    first.give_back()
    first.give_back()
    assert admission.held == 2
    admission.enter("c")


def test_a_place_is_given_back_once_whoever_does_it() -> None:
    """The thread of the request and the one that cuts its client off may do it at the same moment."""
    admission = Admission(total=100, per_client=100)
    staying = admission.enter("a")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            place = admission.enter("a")
            together = threading.Barrier(4)

            def give_back(place: Pass = place, together: threading.Barrier = together) -> None:
                together.wait()
                place.give_back()

            threads = [threading.Thread(target=give_back) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert admission.held == 1
    finally:
        sys.setswitchinterval(before)
    staying.give_back()
    assert admission.held == 0


def _gate(inner: Callable[[dict[str, Any], Any], Iterable[bytes]], total: int = 1) -> AdmissionGate:
    return AdmissionGate(inner, Admission(total, total), has_body, remote_address)


def _answered(gate: AdmissionGate, **environ: str) -> tuple[int, Iterable[bytes]]:
    said: list[str] = []
    body = gate({"PATH_INFO": "/", "REMOTE_ADDR": "1.2.3.4", **environ}, lambda status, headers: said.append(status))
    return int(said[-1].split()[0]), body


def test_a_place_is_held_exactly_as_long_as_the_request() -> None:
    """Whole answers, failures and streamed answers give their place back, the last when they are closed."""

    def inner(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 -", [])
        if environ["PATH_INFO"] == "/boom":
            raise RuntimeError
        return iter([b"a", b"b"]) if environ["PATH_INFO"] == "/stream" else [b"whole"]

    gate = _gate(inner)
    for _ in range(3):
        assert _answered(gate, CONTENT_LENGTH="5")[0] == 200
        with pytest.raises(RuntimeError):
            _answered(gate, CONTENT_LENGTH="5", PATH_INFO="/boom")
    status, stream = _answered(gate, PATH_INFO="/stream")
    assert (status, next(iter(stream))) == (200, b"a")
    assert _answered(gate, PATH_INFO="/stream")[0] == 503
    assert _answered(gate, CONTENT_LENGTH="5")[0] == 503
    assert _answered(gate)[0] == 200  # without a body it holds nothing
    stream.close()  # type: ignore[attr-defined]
    assert _answered(gate, CONTENT_LENGTH="5")[0] == 200
    status, stream = _answered(gate, PATH_INFO="/stream")
    assert list(stream) == [b"a", b"b"]
    assert _answered(gate, CONTENT_LENGTH="5")[0] == 200


def test_proxies_leave_a_file_server_room_for_the_other_halves_of_writes() -> None:
    """Two servers whose places were all held by proxies would each refuse the other's copies, and every write fail."""

    def inner(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 -", [])
        return iter([b"streamed"])

    gate = gate_for_programs(inner, 16, "/v1/write")
    held = []

    def admitted(program: str, hop: str) -> int:
        taken = 0
        while taken < 20:
            status, body = _answered(gate, PATH_INFO="/v1/write", HTTP_X_LOCKSTEP_PEER=program, HTTP_X_LOCKSTEP_HOP=hop)
            if status != 200:
                break
            held.append(body)
            taken += 1
        return taken

    assert admitted("client_proxy.1.mac", "master") == 5, "something is left to other proxies"
    assert admitted("client_proxy.2.mac", "master") == 2
    assert admitted("client_proxy.3.mac", "master") == 0
    assert admitted("file_server.2.mac", "replica") == 7
    assert gate._admission.held == 14
    for body in held:
        body.close()  # type: ignore[attr-defined]
    assert gate._admission.held == 0
    assert admitted("file_server.2.mac", "replica") == 8, "what nobody else needs goes up to half of the threads"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1.2.3.4", "1.2.3.4"), ("1.2.3.4:567", "1.2.3.4"), ("::1", "::1"), ("[::1]:567", "[::1]"), ("", "")],
)
def test_an_address_is_told_from_its_port(given: str, expected: str) -> None:
    """Connections of one machine count together."""
    assert remote_address({"REMOTE_ADDR": given}) == expected


def test_programs_are_told_apart_by_their_ids() -> None:
    """On one machine all programs have one address."""
    assert calling_program({"HTTP_X_LOCKSTEP_PEER": "client_proxy.2.mac"}) == "client_proxy.2"


@pytest.fixture
def stalling(tmp_path: Path) -> Iterator[tuple[int, Path, AdmissionGate]]:
    """A runner with 16 threads behind the gate for people; `/big` streams 64 MiB."""
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/big":
            start("200 -", [("Content-Length", str(64 << 20))])
            return (b"x" * (1 << 20) for _ in range(64))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("200 -", [("Content-Length", str(len(body)))])
        return [body]

    gate = gate_for_people(app, 16)
    port = free_port()
    service = Service(
        gate, host="127.0.0.1", port=port, cert_file=identity.cert_file, key_file=identity.key_file, threads=16
    ).start()
    yield port, identity.ca_file, gate
    service.stop(0.5)


def test_clients_that_stall_do_not_stop_the_others(stalling: tuple[int, Path, AdmissionGate]) -> None:
    """With more stalled uploads and downloads than threads, others are answered at once, and places come back."""
    port, ca, gate = stalling
    before = set(threading.enumerate())
    context = people_context(ca)
    sockets: list[socket.socket] = []
    for number in range(40):
        plain = socket.create_connection(("127.0.0.1", port), 60)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        secured = context.wrap_socket(plain, server_hostname="127.0.0.1")
        head = "PUT /small HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nContent-Length: 100000\r\n\r\n"
        request = head.encode() + bytes(60_000) if number % 2 else b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"
        secured.sendall(request)
        sockets.append(secured)
    admission = gate._admission
    wait_until(lambda: admission.held == admission.per_client)
    assert admission.held == 12
    for _ in range(5):
        assert _ask(port, ca, "GET", b"") == 200
        assert _ask(port, ca, "PUT", b"12345") == 200, "a small body occupies no place"
    wait_until(lambda: _ask(port, ca, "PUT", bytes(100_000)) == 200)  # a client that has stalled loses its place to it
    for each in sockets:
        each.close()
    wait_until(lambda: not admission.held)
    begun = set(threading.enumerate()) - before
    assert len(begun) < len(sockets), "a stalled client costs no thread of its own"


def test_bodies_that_stall_early_occupy_nothing(
    stalling: tuple[int, Path, AdmissionGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as many one-byte bodies as there are threads, and uploads of every size are answered at once."""
    port, ca, gate = stalling
    context = people_context(ca)
    sockets = []
    for _ in range(160):
        secured = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60), server_hostname="127.0.0.1")
        secured.sendall(b"PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
        sockets.append(secured)
    for size in (5, 100_000, 5):
        assert _ask(port, ca, "PUT", bytes(size)) == 200
    assert gate._admission.held == 0
    monkeypatch.setattr(client_waits, "ANONYMOUS_STALL_SECONDS", 0.5)
    # They are anonymous, so the runner waits less for them than for others.
    for each in sockets:
        assert each.recv(1) == b""
        each.close()


def test_a_slow_client_is_cut_off_by_its_average() -> None:
    """A byte now and then does not keep a place: after a while the average rate counts, and a fast client stays."""
    slow, fast = (ClientWait("1.2.3.4", ("1.2.3.4", 5), 443, anonymous=False) for _ in range(2))
    now = time.monotonic()
    for wait, moved in ((slow, 100), (fast, 1 << 20)):
        wait.since, wait.waited, wait.moved = now, 30.0, moved
    assert slow.is_too_slow(now)
    assert not fast.is_too_slow(now)
    assert fast.is_too_slow(now + STALL_SECONDS + 1), "whatever came before, silence ends it"


def test_speed_is_not_saved_up() -> None:
    """A client that sent a gigabyte at once is measured anew afterwards; one that stays fast is never cut off."""
    wait = ClientWait("1.2.3.4", ("1.2.3.4", 5), 443, anonymous=False)
    now = time.monotonic()
    wait.since, wait.waited, wait.moved = now, STALL_SECONDS + 1, 1 << 30
    wait.end()
    assert not wait.is_too_slow(wait.since + STALL_SECONDS - 1)
    wait.since, wait.waited, wait.moved = now, STALL_SECONDS + 1, 2
    wait.end()
    assert wait.is_too_slow(now + 1), "two bytes since then"


def test_only_those_who_hold_a_place_lose_it() -> None:
    """A request that has given its place back is not cut off for one."""
    waits = ClientWaits()
    wait = ClientWait("1.2.3.4", ("127.0.0.1", 1), 1, anonymous=False)
    wait.place, wait.since = Admission(1, 1).enter("a"), time.monotonic() - 60
    waits.answer_awaited(wait)
    wait.place.give_back()
    assert not waits.evict()


def test_those_without_a_credential_are_cut_off_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """When places are needed the anonymous go first, then whoever has stalled longest; nobody who just began."""
    monkeypatch.setattr(client_waits, "EVICT_SECONDS", 1000.0)
    monkeypatch.setattr(client_waits, "EVICTION_PAUSE_SECONDS", 1000.0)
    waits = ClientWaits()
    places = []
    now = time.monotonic()
    for since, anonymous in ((now - 5000, False), (now - 2000, True), (now, True)):
        wait = ClientWait("1.2.3.4", ("127.0.0.1", 1), 1, anonymous)
        admission = Admission(3, 3)
        wait.place, wait.since = admission.enter("a"), since
        waits.body_awaited(wait)
        places.append(admission)
    held = []
    while waits.evict("1.2.3.4"):
        held.append([admission.held for admission in places])
        assert not waits.evict(), "the next one a moment later"
        waits._next_eviction = 0.0
    assert held == [[1, 0, 1], [0, 0, 1]]
    assert not waits.evict("5.6.7.8")


def _ask(port: int, ca: Path, method: str, body: bytes) -> int:
    """The answer's status, soon; 0 when the connection was closed while the body was still being sent."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=15, context=people_context(ca))
    try:
        connection.request(method, "/small", body or None, {"Authorization": "a"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (ConnectionError, ssl.SSLEOFError):
        return 0
    finally:
        connection.close()
