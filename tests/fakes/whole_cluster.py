"""A whole cluster in one process: the real directory, file servers and proxies, joined without sockets.

Only three things are made up: the network (`LocalPeers` calls each program's WSGI application, with the caller's real
peer token), the clock (moved by hand) and the background jobs (a test takes their steps itself). Everything else,
disks included, is what runs in production.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from client_proxy.core.blob_reader import BlobReader
from client_proxy.core.blob_writer import BlobWriter
from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.cache import Cache
from client_proxy.core.chunk_upload import Upload
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.read_leases import ReadLeases
from client_proxy.doors.rest import create_app
from client_proxy.file_store import FileStore
from client_proxy.rate_limits.limiter import RateLimits
from directory_server.bootstrap import DirectoryServer
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.settings import Settings as DirectorySettings
from file_server.bootstrap import FileServer
from file_server.settings import Settings as FileServerSettings
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.peers.caller import PEER_HEADER
from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.runtime.peers.proofs import ProofMaker
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.identity import Identity, LatestToken, ensure_authority, ensure_identity
from lockstep_store.wire.errors import PeerUnreachable
from lockstep_store.wire.messages.cluster import Health
from lockstep_store.wire.messages.read_leases import READ_LEASES
from tests.fakes.clock import ManualClock
from tests.fakes.documented import check_statuses
from tests.fakes.local_calls import LocalCalls, SentBody, Wsgi, exchange
from tests.fakes.wsgi import Answer, ask

DIRECTORY_URL = "https://directory:5050"
MEMORY_BYTES = 256 * 1024


class LocalPeers(LocalCalls):
    """One program's calls; `programs` maps URLs to applications."""

    def __init__(self, programs: dict[str, Wsgi], shown_to: Callable[[str], str]) -> None:
        self._programs = programs
        self.shown_to = shown_to
        """What the program shows to a URL in its peer header."""

    @classmethod
    def of(cls, programs: dict[str, Wsgi], identity: Identity) -> LocalPeers:
        """Calls of a program, which shows what `PeerClient` does."""
        proofs, token = ProofMaker(identity), LatestToken(identity)
        return cls(programs, lambda url: token.text() if url == DIRECTORY_URL else proofs.proof_for(url))

    @classmethod
    def with_token(cls, programs: dict[str, Wsgi], token: str) -> LocalPeers:
        """Calls that show everybody the same."""
        return cls(programs, lambda _: token)

    def close(self) -> None:
        """There are no connections."""

    def ask(
        self, url: str, method: str, path: str, headers: dict[str, str], blocks: Iterator[bytes | memoryview]
    ) -> bytes:
        program = self._programs.get(url)
        if program is None:
            raise PeerUnreachable(f"{url} refused the connection", url=url) from ConnectionRefusedError()
        return exchange(program, method, path, {PEER_HEADER: self.shown_to(url)} | headers, SentBody(blocks))


class LocalProxy:
    """A proxy: its whole core and its API."""

    def __init__(
        self,
        folder: Path,
        id: str,
        peers: LocalPeers,
        clock: ManualClock,
        limits: RateLimits | None = None,
        *,
        read_leases: bool = False,
    ) -> None:
        self.folder = folder
        self.leases = ReadLeases(
            lambda request, seconds: peers.call(DIRECTORY_URL, READ_LEASES, request, timeout=seconds),
            elapsed=clock.monotonic,
        )
        self._leasing = BackgroundJob("read leases", self.leases.step)
        self.leases.wake = self._leasing.wake
        self.directory = DirectoryClient(
            peers,
            DIRECTORY_URL,
            clock=clock,
            sleep=clock.advance,
            jitter=lambda: 0.5,
            leases=self.leases if read_leases else None,
        )
        if read_leases:
            self._leasing.start()
        budget = BufferBudget()
        sealer = Sealer(KeyRing.load_or_create(folder / "cache-keys.json"))
        self.cache = Cache(folder / "cache", sealer, memory_bytes=MEMORY_BYTES, clock=clock)
        self.reader = BlobReader(peers, self.cache, self.directory.report_damaged, budget=budget, clock=clock)
        writer = BlobWriter(
            self.directory, Upload(peers), self.cache, budget=budget, sleep=clock.advance, monotonic=clock.monotonic
        )
        self.files = FileStore(self.directory, self.reader, writer)
        self.app = create_app(
            self.files,
            self.directory,
            program_id=id,
            version="0",
            health=lambda: Health(True, "client_proxy", id, "0"),
            limits=limits,
        )
        check_statuses(self.app)

    def close(self) -> None:
        self._leasing.stop()
        self.reader.close()


class WholeCluster:
    """Programs by id ("1", "2", …), each with its data below `folder`, each to be stopped and started again.

    `certs` is the authority's folder, which many clusters of one test run may share: keys take time to make. With
    `read_leases`, proxies hold their sessions open in real threads.
    """

    def __init__(
        self,
        folder: Path,
        certs: Path,
        *,
        file_servers: int = 3,
        proxies: int = 1,
        copies: int = 2,
        limits: RateLimits | None = None,
        read_leases: bool = False,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self._read_leases = read_leases
        self.clock = ManualClock(start=1000.0)
        self.programs: dict[str, Wsgi] = {}
        self.servers: dict[str, FileServer] = {}
        self.proxies: dict[str, LocalProxy] = {}
        self._certs = certs
        self._limits = limits
        ensure_authority(certs)
        self._sealer = Sealer(KeyRing.load_or_create(certs / "storage-keys.json"))
        self.settings = DirectorySettings(data=folder / "directory", certs=certs, copies=copies, **settings)
        self.start_directory()
        for number in range(1, file_servers + 1):
            self.start_server(str(number))
        for number in range(1, proxies + 1):
            self.start_proxy(str(number))
        self.admin_key: str = json.loads(self.settings.credentials_file.read_bytes())["api_key"]

    def __enter__(self) -> WholeCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything. Safe to repeat."""
        for id in list(self.proxies):
            self.stop_proxy(id)
        for id in list(self.servers):
            self.stop_server(id)
        self.stop_directory()

    # ------------------------------------------------------------ programs

    def start_directory(self) -> None:
        self.authority = ensure_authority(self._certs)
        store = SqliteStore(self.settings.metadata_file)
        try:
            keys = self._certs / "storage-keys.json"
            self.directory = DirectoryServer(self.settings, store, self.authority, keys, self.clock)
        except BaseException:
            store.close()
            raise
        self.programs[DIRECTORY_URL] = self.directory.wsgi

    def stop_directory(self) -> None:
        if self.programs.pop(DIRECTORY_URL, None) is not None:
            self.directory.stop()

    def start_server(self, id: str) -> FileServer:
        """Start a file server and register it with the directory."""
        settings = FileServerSettings(
            id=id, data=self.server_folder(id), directory=DIRECTORY_URL, advertise=server_url(id), reserve_bytes=0
        )
        cert_file = ensure_identity(self._certs, "file_server", id).cert_file
        membership = KeptMembership(self._certs, server_url(id), cert_file)
        server = FileServer(settings, self._sealer, self.peers("file_server", id), self.clock, membership)
        self.servers[id] = server
        self.programs[server_url(id)] = server.wsgi
        server.link.step()
        server.redo_records.step()
        return server

    def stop_server(self, id: str) -> None:
        del self.programs[server_url(id)]
        self.servers.pop(id).stop()

    def start_proxy(self, id: str) -> LocalProxy:
        folder = self.folder / f"proxy-{id}"
        folder.mkdir(exist_ok=True)
        peers = self.peers("client_proxy", id)
        self.proxies[id] = LocalProxy(folder, id, peers, self.clock, self._limits, read_leases=self._read_leases)
        return self.proxies[id]

    def stop_proxy(self, id: str) -> None:
        self.proxies.pop(id).close()

    def server_folder(self, id: str) -> Path:
        return self.folder / f"file_server-{id}"

    def peers(self, role: str, id: str) -> LocalPeers:
        """Calls as a program of the cluster makes them."""
        return LocalPeers.of(self.programs, ensure_identity(self._certs, role, id))

    # ------------------------------------------------------------ people

    def ask(self, method: str, target: str, body: bytes = b"", proxy: str = "1", **headers: str) -> Answer:
        """One request to a proxy as the administrator. `target` begins after /api/v1; headers are given as
        `X_Lockstep_Lock="3"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask_with({"X-Api-Key": self.admin_key, **named}, method, target, body, proxy)

    def ask_with(
        self, headers: dict[str, str], method: str, target: str, body: bytes = b"", proxy: str = "1"
    ) -> Answer:
        """One request with exactly these headers."""
        return ask(self.proxies[proxy].app, method, "/api/v1" + target, body, headers=headers)

    def log_in(self, name: str, password: str = "correct horse") -> dict[str, str]:
        """Log in, making the account if need be; return the header for requests."""
        body = json.dumps({"username": name, "password": password}).encode()
        answer = self.ask_with({}, "POST", "/auth/login", body)
        assert answer.status == 200, answer.body
        return {"Authorization": f"Bearer {answer.json['token']}"}

    # ------------------------------------------------------------ time and background work

    def pass_time(self, seconds: float) -> None:
        """Move the clock; heartbeats and the ends of leases follow."""
        self.clock.advance(seconds)
        for server in self.servers.values():
            server.link.step()
            server.redo_records.step()
        self.directory.locks.step()

    def settle(self, rounds: int = 200) -> bool:
        """Take the steps of heartbeats, inventories, repair and copiers, a second apart, until there is nothing left
        to copy or to give up; whether that was reached."""
        quiet = 0
        for _ in range(rounds):
            self.pass_time(1.0)
            self.directory.repair.step()
            for server in list(self.servers.values()):
                server.inventory.step()
                server.copier.step()
                server.surplus.step()
            info = self.directory.repair.info()
            quiet = 0 if info.ordered or info.under_copied or info.surplus else quiet + 1
            if quiet > 2:
                return True
        return False


def server_url(id: str) -> str:
    """Return the address of a file server of this cluster."""
    return f"https://file-server-{id}:5060"
