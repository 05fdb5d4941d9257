"""The failure detector: its rules on a clock moved by hand, and its effect on real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lockstep_store.runtime.http.api import Api, RawReply
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.peers.liveness import (
    FORGET_SECONDS,
    LONGEST_AGAIN_SECONDS,
    PROBE_SECONDS,
    REVIVE_SECONDS,
    SUSPECT_SECONDS,
    Address,
    Liveness,
    ProbeResult,
    handshake_probe,
)
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import PeerUnreachable
from tests.unit.runtime.http.test_service import free_port
from tests.waiting import wait_until

HERE = ("127.0.0.1", 1)
THERE = ("127.0.0.1", 2)
DEAD_AFTER = SUSPECT_SECONDS + sum(PROBE_SECONDS)


class Waiting:
    """A call under way that only waits."""

    def __init__(self, since: float) -> None:
        self.waiting_since = since
        self.why = ""

    def cut(self, reason: str) -> None:
        self.why = reason


def _at_once(work: Callable[[], None]) -> None:
    work()


class Rig:
    """A detector whose clock and network are the test's. A probe of a silent address takes all its time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.answers: dict[Address, ProbeResult] = {}
        self.probed: list[Address] = []
        self.dead: list[Address] = []
        self.during_probe: Callable[[], object] = lambda: None
        self.liveness = Liveness(self.probe, self.dead.append, lambda: self.now, _at_once)
        self.liveness._watching = True  # the test looks itself

    def probe(self, address: Address, seconds: float) -> ProbeResult:
        self.probed.append(address)
        answer = self.answers.get(address, ProbeResult.ALIVE)
        self.now += seconds if answer is ProbeResult.SILENT else 0.01
        self.during_probe()
        return answer

    def call(self, address: Address = HERE) -> Waiting:
        call = Waiting(self.now)
        self.liveness.enter(self.liveness.state(address), call)
        return call

    def pass_time(self, seconds: float) -> None:
        """Look as often as the detector wants, for so long."""
        until = self.now + seconds
        while (pause := self.liveness.look()) is not None and self.now + pause < until:
            self.now += pause
        self.now = max(self.now, until)


def test_a_silent_address_is_found_dead_within_about_two_seconds_and_all_its_calls_are_cut() -> None:
    """Two handshakes fail, then every call to the address is cut; a call to another one is not."""
    rig = Rig()
    rig.answers[HERE] = ProbeResult.SILENT
    first, second, other = rig.call(), rig.call(), rig.call(THERE)
    began = rig.now
    rig.pass_time(DEAD_AFTER + 0.1)
    assert first.why
    assert second.why
    assert not other.why
    assert rig.dead == [HERE]
    assert rig.liveness.state(HERE).dead_since - began <= 2.5


def test_a_dead_address_is_refused_at_once_and_used_again_as_soon_as_it_answers() -> None:
    """No second caller waits for a hung server, and one that wakes up is asked again within a second."""
    rig = Rig()
    rig.answers[HERE] = ProbeResult.SILENT
    state = rig.liveness.state(HERE)
    call = rig.call()
    rig.pass_time(DEAD_AFTER + 0.1)
    rig.liveness.leave(state, call)
    assert "has not answered a handshake" in rig.liveness.why_dead(state)
    rig.answers[HERE] = ProbeResult.ALIVE
    rig.pass_time(REVIVE_SECONDS + PROBE_SECONDS[0] + 0.1)
    assert rig.liveness.why_dead(state) == ""


def test_a_dead_address_that_nobody_asks_for_is_forgotten() -> None:
    """Nothing is probed for ever on behalf of nobody."""
    rig = Rig()
    rig.answers[HERE] = ProbeResult.SILENT
    state = rig.liveness.state(HERE)
    call = rig.call()
    rig.pass_time(DEAD_AFTER + 0.1)
    rig.liveness.leave(state, call)
    rig.pass_time(FORGET_SECONDS + 5)
    assert rig.liveness.look() is None
    assert rig.liveness.why_dead(state) == ""


def test_a_refused_connection_cuts_at_once_and_is_not_held_against_the_address() -> None:
    """A program that ended is known by one refusal; a call to it finds out by itself whether it is back."""
    rig = Rig()
    rig.answers[HERE] = ProbeResult.REFUSED
    call = rig.call()
    rig.pass_time(SUSPECT_SECONDS + 0.1)
    assert "refuses" in call.why
    assert len(rig.probed) == 1
    assert not rig.liveness.state(HERE).dead_since


def test_a_busy_program_is_never_cut_however_long_a_call_takes() -> None:
    """Its handshakes work, so a call may wait for its own time-out; the looks at it become rare."""
    rig = Rig()
    call = rig.call()
    rig.pass_time(30)
    assert not call.why
    assert 30 / LONGEST_AGAIN_SECONDS - 3 < len(rig.probed) < 30


def test_one_lost_handshake_cuts_nobody() -> None:
    """A packet lost, or a processor that was busy for a second, is no failure."""
    rig = Rig()
    rig.answers[HERE] = ProbeResult.SILENT
    call = rig.call()
    rig.during_probe = lambda: rig.answers.update({HERE: ProbeResult.ALIVE})
    rig.pass_time(5)
    assert not call.why


def test_an_address_that_answers_calls_is_alive_even_when_it_takes_no_connections() -> None:
    """Whatever came from it while it was probed counts for more than the probe."""
    rig = Rig()
    rig.answers[HERE] = ProbeResult.SILENT
    call = rig.call()

    def heard() -> None:
        rig.liveness.state(HERE).answered_at = rig.now

    rig.during_probe = heard
    rig.pass_time(10)
    assert not call.why


def test_calls_that_get_on_are_never_probed_for() -> None:
    """Nothing is probed as long as every wait is short, or the caller itself is the slow one."""
    rig = Rig()
    call = rig.call()
    for _ in range(50):
        call.waiting_since = rig.now
        rig.pass_time(SUSPECT_SECONDS / 2)
    call.waiting_since = 0.0
    rig.pass_time(20)
    assert rig.probed == []


def test_two_servers_that_die_together_are_found_as_fast_as_one() -> None:
    """Addresses are examined beside each other, not one after the other."""
    rig = Rig()
    rig.answers = {HERE: ProbeResult.SILENT, THERE: ProbeResult.SILENT}
    examinations: list[object] = []
    rig.liveness._start = examinations.append
    rig.call(HERE), rig.call(THERE)
    rig.now += SUSPECT_SECONDS
    rig.liveness.look()
    rig.liveness.look()
    assert len(examinations) == 2


# ---------------------------------------------------------------- real sockets


class Half:
    """A server that does what is needed for one failure, on a port of its own."""

    def __init__(self, certs: Path, handshakes: int, answer: bytes = b"") -> None:
        server = ensure_identity(certs, "file_server", "1")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server.cert_file, server.key_file)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listening.getsockname()[:2]
        self.url = f"https://127.0.0.1:{self.address[1]}"
        self._answer = answer
        self._open: list[ssl.SSLSocket] = []
        self._thread = threading.Thread(target=self._serve, args=(handshakes,), daemon=True)
        self._thread.start()

    def _serve(self, handshakes: int) -> None:
        """After so many connections the kernel takes them, and nobody answers: what a stopped process looks like."""
        for _ in range(handshakes):
            with contextlib.suppress(OSError):
                plain, _ = self._listening.accept()
                secured = self._context.wrap_socket(plain, server_side=True)
                self._open.append(secured)
                if self._answer:
                    secured.recv(65536)
                    secured.sendall(self._answer)

    def close(self) -> None:
        self._listening.close()
        for each in self._open:
            each.close()


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    ensure_authority(folder)
    return folder


@pytest.fixture
def client(certs: Path) -> Iterator[PeerClient]:
    made = PeerClient(ensure_identity(certs, "client_proxy", "1"), timeout=30.0)
    yield made
    made.close()


def test_every_kind_of_wait_for_a_hung_program_ends_within_seconds(certs: Path, client: PeerClient) -> None:
    """Connecting, sending a stream, awaiting an answer and reading one: each is cut long before its time-out."""
    started = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome"
    servers = {
        "connect": Half(certs, 0),
        "send": Half(certs, 1),
        "await": Half(certs, 1),
        "read": Half(certs, 1, started),
    }

    def wait(kind: str) -> tuple[str, float]:
        url = servers[kind].url
        began = time.monotonic()
        with pytest.raises(PeerUnreachable) as caught:
            if kind == "send":
                client.send_stream(url, "/v1/write", {}, iter(lambda: b"x" * 1_000_000, b""))
            else:
                with client.open(url, "GET", "/x") as answer:
                    while answer.read(100):
                        pass
        return str(caught.value), time.monotonic() - began

    with ThreadPoolExecutor(len(servers)) as pool:
        results = dict(zip(servers, pool.map(wait, servers), strict=True))
    for kind, server in servers.items():
        again = time.monotonic()
        with pytest.raises(PeerUnreachable, match="has not answered a handshake"):
            client.open(server.url, "GET", "/x")
        assert time.monotonic() - again < 15.0
        server.close()
        why, seconds = results[kind]
        assert seconds < 20.0, f"{kind} took {seconds:.1f} s"
        assert "handshake" in why, (kind, why)
    print({kind: round(seconds, 2) for kind, (_, seconds) in results.items()})


def test_a_program_that_wakes_up_is_called_again_within_seconds(certs: Path, client: PeerClient) -> None:
    """A dead address is tried in the background, so nobody has to wait for its time-out to be used again."""
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PeerUnreachable):
        client.open(url, "GET", "/hello")
    server = ensure_identity(certs, "file_server", "1")
    api = Api("file_server", "1")
    api.serve_raw("GET", "/hello", lambda request: RawReply(200, [("Content-Length", "2")], [b"hi"]))
    service = Service(
        api,
        host="127.0.0.1",
        port=port,
        cert_file=server.cert_file,
        key_file=server.key_file,
        client_ca=server.ca_file,
    ).start()
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with client.open(url, "GET", "/hello") as answer:
                    assert answer.read_all(10) == b"hi"
                    break
            except PeerUnreachable:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        service.stop()


def test_a_slow_call_to_a_busy_program_is_left_alone(certs: Path) -> None:
    """A handler that takes its time is no failure: the runtime answers handshakes beside it."""
    server = ensure_identity(certs, "file_server", "1")
    proxy = ensure_identity(certs, "client_proxy", "1")
    probed = threading.Event()
    real = handshake_probe(proxy)
    answers: list[ProbeResult] = []

    def probe(address: Address, seconds: float) -> ProbeResult:
        answers.append(real(address, 60.0))  # with all patience: the test's machine may be the one that is busy
        if len(answers) == 2:
            probed.set()
        return answers[-1]

    def slow(_: object) -> RawReply:
        assert probed.wait(60)
        return RawReply(200, [("Content-Length", "4")], [b"done"])

    api = Api("file_server", "1")
    api.serve_raw("GET", "/slow", slow)
    port = free_port()
    service = Service(
        api,
        host="127.0.0.1",
        port=port,
        cert_file=server.cert_file,
        key_file=server.key_file,
        client_ca=server.ca_file,
        threads=1,
    ).start()
    client = PeerClient(proxy, timeout=120.0, probe=probe)
    try:
        with client.open(f"https://127.0.0.1:{port}", "GET", "/slow") as answer:
            assert answer.read_all(10) == b"done"
        assert set(answers) == {ProbeResult.ALIVE}
    finally:
        client.close()
        service.stop()


def test_calls_to_the_directory_keep_their_own_time_out(certs: Path) -> None:
    """Nothing is gained by cutting a call to the directory: there is no other to ask."""
    probed: list[Address] = []

    def probe(address: Address, seconds: float) -> ProbeResult:
        probed.append(address)
        return ProbeResult.SILENT

    hung = Half(certs, 0)
    client = PeerClient(ensure_identity(certs, "client_proxy", "1"), timeout=1.2, directory=hung.url, probe=probe)
    with pytest.raises(PeerUnreachable, match="in time"):
        client.open(hung.url, "GET", "/x")
    assert probed == []
    client.close()
    hung.close()


def test_the_watching_thread_ends_when_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle client costs no thread."""
    monkeypatch.setattr("lockstep_store.runtime.peers.liveness.IDLE_SECONDS", 0.1)
    monkeypatch.setattr("lockstep_store.runtime.peers.liveness.SUSPECT_SECONDS", 0.05)
    liveness = Liveness(lambda address, seconds: ProbeResult.ALIVE)
    state = liveness.state(HERE)
    call = Waiting(0.0)
    liveness.enter(state, call)
    assert liveness._watching
    liveness.leave(state, call)
    wait_until(lambda: not liveness._watching, what="the end of the watching thread")
