"""The one runner and the one caller, over real sockets and real TLS."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lockstep_store.runtime import tracing
from lockstep_store.runtime.http import exchanges
from lockstep_store.runtime.http.api import Api, RawReply, RawRequest
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.tls.contexts import handshake_info
from lockstep_store.runtime.tls.identity import Identity, ensure_authority, ensure_identity
from lockstep_store.runtime.tls.renewal import CertificateRenewal
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    BadRequest,
    IncompleteBody,
    InternalError,
    Locked,
    LockstepError,
    NotFound,
    PeerRefused,
    PeerUnreachable,
    SetupError,
    TicketRefused,
    Unavailable,
)
from lockstep_store.wire.messages.buckets import BUCKETS, BucketsReply, BucketsRequest
from lockstep_store.wire.messages.files import LOOKUP, LookupItem, LookupReply, LookupRequest
from tests.fakes.lasting_ports import lasting_ports


def free_port() -> int:
    """None that the system gives to clients, one of which could take it before it is listened on."""
    return lasting_ports(1)[0]


_let_go = threading.Event()
"""What a call to "slow" waits for."""


def _lookup(request: LookupRequest, peer: object) -> LookupReply:
    path = request.items[0].path
    if path == "locked":
        raise Locked("bob has it", holder="bob", seconds_left=3.5)
    if path == "boom":
        raise RuntimeError("secret detail")
    if path == "slow":
        assert _let_go.wait(60)
    return LookupReply(len(request.items), [])


def _count(request: RawRequest) -> RawReply:
    total = 0
    while block := request.read(1 << 20):
        total += len(block)
    return RawReply(200, [], [str(total).encode()])


def _digest(request: RawRequest) -> RawReply:
    body = b"".join(iter(lambda: request.read(1 << 20), b""))
    return RawReply(200, [], [str(chunk_digest(body)).encode()])


def _refuse(request: RawRequest) -> RawReply:
    raise TicketRefused("no such ticket")


def _broken(request: RawRequest) -> RawReply:
    def body() -> Iterator[bytes]:
        yield b"x" * 1000
        raise OSError("disk")

    return RawReply(200, [("Content-Length", "100000")], body())


class Running:
    def __init__(self, certs: Path) -> None:
        self.authority = ensure_authority(certs)
        self.server = ensure_identity(certs, "directory_server", "1")
        self.proxy = ensure_identity(certs, "client_proxy", "1")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        api = Api("directory_server", "1", self.authority.verify_peer_token)
        api.serve(LOOKUP, _lookup, roles=("client_proxy",))
        api.serve(BUCKETS, lambda request, peer: BucketsReply([]), roles=("file_server",))
        api.serve_raw("POST", "/v1/write", _count)
        api.serve_raw("POST", "/v1/digest", _digest)
        api.serve_raw("POST", "/v1/refuse", _refuse)
        api.serve_raw("GET", "/v1/broken", _broken)
        api.serve_raw("POST", "/v1/body/", lambda r: RawReply(200, [], [r.rest.encode() + r.body(10)]), prefix=True)
        self.service = Service(
            api,
            host="127.0.0.1",
            port=self.port,
            cert_file=self.server.cert_file,
            key_file=self.server.key_file,
            client_ca=self.server.ca_file,
        ).start()
        self.client = PeerClient(self.proxy, directory=self.url)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("certs"))
    yield running
    running.client.close()
    running.service.stop()


def _item(path: str) -> LookupRequest:
    return LookupRequest([LookupItem("lst_x", "files", path)])


def test_a_call_arrives_and_a_refusal_comes_back_as_its_own_class(running: Running) -> None:
    """The caller sees the class, the sentence and the facts that the server raised."""
    assert running.client.call(running.url, LOOKUP, _item("a")).cursor == 1
    with pytest.raises(Locked) as caught:
        running.client.call(running.url, LOOKUP, _item("locked"))
    assert caught.value.facts == {"holder": "bob", "seconds_left": 3.5}
    with pytest.raises(NotFound):
        running.client.open(running.url, "GET", "/nothing/here")


def test_an_unexpected_failure_tells_nothing_of_the_inside(running: Running) -> None:
    """A defect is answered with a request id, and its details stay in the log."""
    with pytest.raises(InternalError) as caught:
        running.client.call(running.url, LOOKUP, _item("boom"))
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("body", [b"", b"{}", b'{"cursor": "seven", "results": []}', b"<html>"])
def test_an_answer_that_cannot_be_read_is_no_refusal(body: bytes) -> None:
    """The request may have been carried out, so the error must not say that it was not."""
    with pytest.raises(Unavailable, match="invalid reply"):
        LOOKUP.decode_reply(body)


def test_a_role_that_may_not_call_is_refused(running: Running, tmp_path: Path) -> None:
    """A proxy cannot make a file server's calls; a token of another cluster's directory is nothing."""
    with pytest.raises(PeerRefused):
        running.client.call(running.url, BUCKETS, BucketsRequest("lst_x"))
    foreign = ensure_authority(tmp_path).peer_token("client_proxy", "1")
    forged = Identity(**{**_fields(running.proxy), "peer_token": foreign})
    client = PeerClient(forged, directory=running.url)
    with pytest.raises(PeerRefused):
        client.call(running.url, LOOKUP, _item("a"))
    client.close()


def _fields(identity: Identity) -> dict[str, object]:
    return {name: getattr(identity, name) for name in identity.__dataclass_fields__}


def test_nothing_is_answered_without_a_certificate_of_the_cluster(running: Running, tmp_path: Path) -> None:
    """No certificate, or another authority's: the handshake fails, in both directions."""
    plain = ssl.create_default_context(cafile=str(running.server.ca_file))
    with socket.create_connection(("127.0.0.1", running.port), 60) as raw, pytest.raises((ssl.SSLError, OSError)):
        with plain.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(100)
            raise AssertionError("an answer without a certificate")
    ensure_authority(tmp_path)
    stranger = ensure_identity(tmp_path, "client_proxy", "1")
    with pytest.raises(PeerUnreachable):
        PeerClient(stranger, directory=running.url).call(running.url, LOOKUP, _item("a"))


def test_tls_1_2_is_refused_between_programs(running: Running) -> None:
    """Programs speak TLS 1.3 or not at all."""
    old = ssl.create_default_context(cafile=str(running.server.ca_file))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(running.proxy.cert_file, running.proxy.key_file)
    with socket.create_connection(("127.0.0.1", running.port), 60) as raw, pytest.raises(ssl.SSLError):
        old.wrap_socket(raw, server_hostname="localhost")


def test_streams_go_out_whole_or_not_at_all(running: Running) -> None:
    """A long stream arrives to its last byte; a refusal is heard; the sender's own failure passes through."""
    blocks = (b"a" * 100_000 for _ in range(200))
    assert running.client.send_stream(running.url, "/v1/write", {}, blocks) == b"20000000"
    assert running.client.send_stream(running.url, "/v1/write", {}, []) == b"0"
    with pytest.raises(TicketRefused):
        running.client.send_stream(running.url, "/v1/refuse", {}, [b"small"])

    def failing() -> Iterator[bytes]:
        yield b"a" * 400_000
        raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        running.client.send_stream(running.url, "/v1/write", {}, failing())


def test_blocks_of_every_size_arrive_in_order(running: Running) -> None:
    """Small blocks are joined and large ones go as they are; what arrives is all of them, one after the other."""
    noise = random.Random(17)
    for _ in range(20):
        sizes = [noise.choice([0, 1, 37, 5000, 262_143, 262_144, 900_000]) for _ in range(noise.randint(0, 12))]
        blocks = [noise.randbytes(size) for size in sizes]
        digest = chunk_digest(b"".join(blocks))
        answer = running.client.send_stream(running.url, "/v1/digest", {}, map(memoryview, blocks))
        assert answer.decode() == str(digest), sizes


def test_an_answer_that_breaks_off_is_an_error(running: Running) -> None:
    """A server failing in mid-answer is seen as a cut answer, never as a short file."""
    with pytest.raises(PeerUnreachable), running.client.open(running.url, "GET", "/v1/broken") as response:
        while response.read(65536):
            pass


def test_a_body_is_bounded(running: Running) -> None:
    """More than the bound is refused before it is held."""
    with running.client.open(running.url, "POST", "/v1/body/x/y", b"123") as response:
        assert response.read_all(100) == b"x/y123"
    with pytest.raises(LockstepError) as caught:
        running.client.open(running.url, "POST", "/v1/body/x", b"1" * 11)
    assert caught.value.code == "too_large"
    with pytest.raises(BadRequest):
        running.client.open(running.url, "POST", LOOKUP.path, b"{}")


def test_a_body_shorter_than_declared_is_refused() -> None:
    """The runner ends a cut body without an error, so the length is what tells."""

    class Cut:
        def read(self, count: int) -> bytes:
            return b""

    request = RawRequest({"PATH_INFO": "/", "CONTENT_LENGTH": "5", "wsgi.input": Cut()})
    with pytest.raises(IncompleteBody):
        request.body(100)


def test_a_server_that_does_not_answer_in_time_or_at_all_is_unreachable(running: Running) -> None:
    """Time-outs and refused connections are one class, with a sentence that says which."""
    _let_go.clear()
    with pytest.raises(PeerUnreachable, match="in time"):
        running.client.call(running.url, LOOKUP, _item("slow"), timeout=0.1)
    _let_go.set()
    with pytest.raises(PeerUnreachable, match="refused"):
        running.client.call(f"https://127.0.0.1:{free_port()}", LOOKUP, _item("a"))


def test_a_taken_port_is_a_clear_refusal(running: Running) -> None:
    """A second program on the port does not start, and the sentence names the port."""
    with pytest.raises(SetupError, match=str(running.port)):
        Service(
            lambda environ, start: [],
            host="127.0.0.1",
            port=running.port,
            cert_file=running.server.cert_file,
            key_file=running.server.key_file,
        ).start()


def test_a_renewed_certificate_is_served_without_a_pause(running: Running) -> None:
    """While the listener changes its certificate, every call is answered, and new connections see the new one."""
    failures: list[Exception] = []
    stop = threading.Event()

    def caller() -> None:
        client = PeerClient(running.proxy, directory=running.url)
        while not stop.is_set():
            try:
                client.call(running.url, LOOKUP, _item("a"))
            except PeerUnreachable as error:
                failures.append(error)
        client.close()

    certificates = (running.proxy.ca_file, running.proxy.cert_file, running.proxy.key_file)
    before = handshake_info("127.0.0.1", running.port, *certificates, timeout_seconds=60)
    thread = threading.Thread(target=caller)
    thread.start()
    CertificateRenewal(running.server, ask=lambda request: pytest.fail("the authority is here")).renew_now()
    running.service.reload()
    after = handshake_info("127.0.0.1", running.port, *certificates, timeout_seconds=60)
    stop.set()
    thread.join()
    assert before.certificate.fingerprint != after.certificate.fingerprint
    # A kept connection may be closed by the old listener just as it is used: at most that one call per change.
    assert len(failures) <= 1


def test_the_port_is_served_from_the_moment_that_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the listener changes, and on a machine whose threads start late: somebody always listens."""
    begun, may_go_on = threading.Event(), threading.Event()

    def late(*arguments: object) -> object:
        begun.set()
        assert may_go_on.wait(60)
        return made(*arguments)

    made = exchanges._worker
    monkeypatch.setattr(exchanges, "_worker", late)
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")
    port = free_port()
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(Api("client_proxy", "1"), host="127.0.0.1", port=port, **files)

    def greet() -> None:
        handshake_info("127.0.0.1", port, identity.ca_file, timeout_seconds=60)

    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(service.start)
        assert begun.wait(60)
        assert not starting.done()
        may_go_on.set()
        starting.result(60)
        try:
            greet()
            begun.clear()
            may_go_on.clear()
            changing = pool.submit(service.reload)
            assert begun.wait(60)
            greet()
            may_go_on.set()
            changing.result(60)
            greet()
        finally:
            may_go_on.set()
            service.stop()


def test_a_certificate_whose_key_is_still_to_come_leaves_the_old_one_in_place(tmp_path: Path) -> None:
    """Two files cannot be replaced at once: what does not fit, or is gone for a moment, is looked at again later."""
    ensure_authority(tmp_path)
    old, new = (ensure_identity(tmp_path, "client_proxy", id) for id in ("1", "2"))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    port = free_port()

    def copy(of: Identity, *files: Path) -> None:
        for file in files:
            file.write_bytes((of.cert_file if file is cert else of.key_file).read_bytes())

    def shown() -> str:
        return handshake_info("127.0.0.1", port, old.ca_file, timeout_seconds=60).certificate.subject

    copy(old, cert, key)
    service = Service(Api("client_proxy", "1"), host="127.0.0.1", port=port, cert_file=cert, key_file=key).start()
    try:
        first = shown()
        cert.unlink()
        service.follow_certificate()
        copy(new, cert)
        service.follow_certificate()
        assert shown() == first
        copy(new, key)
        service.follow_certificate()
        assert shown() != first
    finally:
        service.stop()


def test_the_last_traces_are_sent_when_a_service_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever program it serves, with a menu or without."""
    sent: list[str] = []
    monkeypatch.setattr(tracing, "flush_traces", lambda: sent.append("flushed"))
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")
    files = {"cert_file": identity.cert_file, "key_file": identity.key_file}
    service = Service(Api("client_proxy", "1"), host="127.0.0.1", port=free_port(), **files).start()
    assert sent == []
    service.stop()
    assert sent == ["flushed"]


def test_many_idle_connections_lock_nobody_out(running: Running) -> None:
    """Six hundred people with a kept connection each, and the next one is answered all the same."""
    context = ssl.create_default_context(cafile=str(running.server.ca_file))
    context.load_cert_chain(running.proxy.cert_file, running.proxy.key_file)
    kept = []
    try:
        for _ in range(600):
            raw = socket.create_connection(("127.0.0.1", running.port), 60)
            tls = context.wrap_socket(raw, server_hostname="localhost")
            kept.append(tls)
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for tls in kept:
            tls.close()


def test_an_address_of_another_machine_is_not_called_a_busy_port(running: Running) -> None:
    """The sentence says what to change: the address, not the port."""
    own = running.server
    service = Service(
        Api("file_server", "9", lambda token: None),
        host="192.0.2.1",
        port=free_port(),
        cert_file=own.cert_file,
        key_file=own.key_file,
    )
    with pytest.raises(SetupError, match=r"cannot listen on 192\.0\.2\.1:.* with --host, or 0\.0\.0\.0"):
        service.start()
