"""A flood of people's requests through a proxy occupies no thread that heartbeats, commits, locks or revocations need.

Real runners, real TLS, and handlers that stall until the test has seen what it waits for; no time is judged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from directory_server.api import thread_shares
from directory_server.components import PROXY
from file_server.api import CALLERS
from file_server.bootstrap import FileServer
from file_server.settings import Settings as FileServerSettings
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.runtime.http.admission import gate_for_programs
from lockstep_store.runtime.http.api import Api, RawReply, RawRequest
from lockstep_store.runtime.http.service import Service
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import Identity, ensure_authority, ensure_identity
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import LockstepError, Overloaded
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import journal as jm
from lockstep_store.wire.messages import locks as lm
from lockstep_store.wire.messages import people as am
from lockstep_store.wire.messages import programs as pm
from lockstep_store.wire.messages import servers as s
from lockstep_store.wire.messages import writes as wm
from lockstep_store.wire.messages.base import CredentialRequest
from tests.fakes.directory_rig import heartbeat
from tests.fakes.lasting_ports import lasting_ports
from tests.unit.directory_server.api.directory_calls import Directory
from tests.waiting import wait_until

THREADS = 3
SMALL_SHARE = 2
PATIENT = 600.0
"""Longer than the test waits for anything: no answer below comes late because a socket's time-out was short."""


class Stall:
    """Handlers that occupy their thread until the end of the flood."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.stalled = 0
        self._guard = threading.Lock()

    def handler(self, *_: Any) -> Any:
        with self._guard:
            self.stalled += 1
        self.over.wait()
        raise Overloaded("the flood is over")

    def raw(self, request: RawRequest) -> RawReply:
        reply: RawReply = self.handler(request)
        return reply


@contextmanager
def flood(stall: Stall, asks: list[Callable[[], Any]], running: int, refused_at_least: int) -> Iterator[None]:
    """Make all calls at once; hold them while as many stall as may, and the others wait or were refused."""
    refused: list[LockstepError] = []

    def call(ask: Callable[[], Any]) -> None:
        try:
            ask()
        except LockstepError as error:  # the flood's end too; who is refused before sending all may miss the reply
            refused.append(error)

    threads = [threading.Thread(target=call, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: stall.stalled >= running and len(refused) >= refused_at_least, what="the flood")
        assert stall.stalled == running
        yield
        assert stall.stalled == running, "the flood ended too early"
    finally:
        stall.over.set()
        for thread in threads:
            thread.join()


@contextmanager
def served(wsgi: Any, identity: Identity, port: int, threads: int) -> Iterator[None]:
    service = Service(
        wsgi,
        host="127.0.0.1",
        port=port,
        cert_file=identity.cert_file,
        key_file=identity.key_file,
        client_ca=identity.ca_file,
        threads=threads,
    ).start()
    try:
        yield
    finally:
        service.stop()


class Called:
    """A directory that listens, and the programs that call it."""

    def __init__(self, folder: Path, authority: CertificateAuthority) -> None:
        self.directory = Directory(folder, authority, threads=THREADS)
        self.api: Api = self.directory.server.wsgi
        self.shares = self.directory.server.shares
        (self.port,) = lasting_ports(1)
        self.url = f"https://127.0.0.1:{self.port}"
        self.proxy = self._program(folder, "client_proxy")
        self.file_server = self._program(folder, "file_server")

    def _program(self, folder: Path, role: str) -> PeerClient:
        identity = ensure_identity(folder / "certs", role, "1")
        return PeerClient(identity, PATIENT, directory=self.url)

    def ask(self, call: Call[Any, Any], request: Any) -> Any:
        return self.proxy.call(self.url, call, request)

    def close(self) -> None:
        self.proxy.close()
        self.file_server.close()
        self.directory.server.stop()


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Called]:
    for name in ("MAX_BLOCKED", "_LOCKING", "_ENDING", "PROGRAM_THREADS"):
        monkeypatch.setattr(thread_shares, name, SMALL_SHARE)
    authority = ensure_authority(tmp_path / "certs")
    called = Called(tmp_path, authority)
    identity = ensure_identity(tmp_path / "certs", "directory_server", "1")
    with served(called.api, identity, called.port, called.shares.pool):
        yield called
    called.close()


def _people(credential: str) -> list[tuple[Call[Any, Any], Any]]:
    """What a crowd asks for, one of each kind."""
    return [
        (am.LOGIN, am.PasswordRequest("eve", "a secret word")),
        (m.LIST, m.ListRequest(credential, "files")),
        (m.LOOKUP, m.LookupRequest([m.LookupItem(credential, "files", "a")])),
        (wm.BEGIN, wm.BeginRequest([wm.BeginItem(credential, "write-flood-00001", "files", "a")])),
        (jm.CHANGES, jm.ChangesRequest(credential, wait_seconds=30.0)),
    ]


def test_no_flood_keeps_the_directory_from_its_work(called: Called) -> None:
    """While every thread that people may occupy is occupied, and more requests than there are threads came: heartbeats,
    a commit, the end of a lock and of a log-in, and a revoked key are all answered."""
    directory, stall = called.directory, Stall()
    directory.file_servers_up("1", "2")
    ann, token = directory.person("ann"), directory.person("ann")
    path = lm.LockPath("files", "locked")
    lock = called.ask(lm.ACQUIRE, lm.AcquireRequest(ann, [path], "lock-request-one-1")).lock
    begun = (
        called.ask(wm.BEGIN, wm.BeginRequest([wm.BeginItem(ann, "write-begun-00001", "files", "b")]))
        .results[0]
        .unwrap()
    )
    key = called.ask(am.CREATE_API_KEY, am.CreateApiKeyRequest(ann, "stolen"))
    kinds = _people(ann)
    for call, _ in kinds:
        called.api.serve(call, stall.handler, PROXY)
    called.api.serve(lm.ACQUIRE, stall.handler, PROXY)
    crowd = [kinds[number % len(kinds)] for number in range(2 * called.shares.pool)]
    crowd += [
        (lm.ACQUIRE, lm.AcquireRequest(ann, [path], f"flood-request-{n:06}")) for n in range(2 * called.shares.pool)
    ]
    asks = [lambda call=call, request=request: called.ask(call, request) for call, request in crowd]
    shares = (called.shares.people, called.shares.locking)
    running = sum(share.free for share in shares)
    with flood(stall, asks, running, len(asks) - sum(share.threads for share in shares)):
        for _ in range(3):
            beat = heartbeat("https://server-1", "store-1")
            assert called.file_server.call(called.url, s.HEARTBEAT, beat).registered
        content = b"written meanwhile"
        commit = s.CommitItem(begun.ticket, chunk_digest(content), len(content), ["1", "2"])
        committed = called.file_server.call(called.url, s.COMMIT, s.CommitRequest([commit])).results[0].unwrap()
        assert committed.version.digest == chunk_digest(content)
        assert called.ask(pm.PROXY_HEARTBEAT, pm.ProxyHeartbeatRequest("https://proxy", "1")) is not None
        assert called.ask(lm.RENEW, lm.RenewRequest(ann, lock.id, 60.0)).number == lock.number
        called.ask(lm.RELEASE, lm.ReleaseRequest(ann, lock.id))
        called.ask(am.REVOKE_API_KEY, am.RevokeApiKeyRequest(ann, key.id))
        called.ask(am.LOGOUT, CredentialRequest(token))
    assert called.ask(am.API_KEYS, CredentialRequest(ann)).keys == []


def test_no_flood_keeps_a_file_server_from_its_work(tmp_path: Path) -> None:
    """While proxies read and write on every thread that they may occupy, other file servers reach it, and its health
    page answers."""
    ensure_authority(tmp_path / "certs")
    (port,) = lasting_ports(1)
    url, stall = f"https://127.0.0.1:{port}", Stall()
    identities = {role: ensure_identity(tmp_path / "certs", role, "2") for role in CALLERS}
    own = ensure_identity(tmp_path / "certs", "file_server", "1")
    settings = FileServerSettings(id="1", port=port, data=tmp_path / "data", certs=tmp_path / "certs", threads=THREADS)
    sealer = Sealer(KeyRing.load(own.storage_keys_file))
    nobody = SimpleNamespace(close=lambda: None)
    membership = KeptMembership(settings.certs, settings.url, own.cert_file)
    server = FileServer(settings, sealer, nobody, SystemClock(), membership)  # type: ignore[arg-type]
    server.wsgi.serve(s.SMALL_WRITES, stall.handler, CALLERS)
    server.wsgi.serve_raw("POST", s.READ_CHUNKS_PATH, stall.raw, roles=CALLERS)
    server.wsgi.serve_raw("POST", s.WRITE_PATH, stall.raw, roles=CALLERS)
    digest = chunk_digest(b"a chunk")
    proxy, peer = (PeerClient(identities[role], PATIENT) for role in CALLERS)
    asks = [
        lambda: proxy.call(url, s.SMALL_WRITES, s.SmallWritesRequest([s.SmallWrite("ticket", b"x")])),
        lambda: proxy.open(url, "POST", s.READ_CHUNKS_PATH, b"{}"),
        lambda: proxy.send_stream(url, s.WRITE_PATH, {s.HOP_HEADER: "master"}, [b"bytes"]),
    ] * server.pool
    gate = gate_for_programs(server.wsgi, 8 * THREADS, s.WRITE_PATH)  # writes are bounded by the share alone here
    with served(gate, own, port, server.pool), flood(stall, asks, THREADS, len(asks) - 2 * THREADS):
        missing = peer.call(url, s.MISSING_CHUNKS, s.MissingChunksRequest([digest]))
        assert missing.missing == [digest]
        with peer.open(url, "GET", "/health") as page:
            assert b'"healthy"' in page.read_all(4096)
    proxy.close()
    peer.close()
    server.stop()
