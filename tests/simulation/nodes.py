"""The machines of a simulated cluster, and the real programs that run on them.

Each start is a new process on the machine's old disk. How a program is put together is copied from the bootstraps; only
TLS, the listener and the certificates are missing.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

from client_proxy.core.blob_reader import BlobReader
from client_proxy.core.blob_writer import BlobWriter
from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.cache import Cache
from client_proxy.core.chunk_upload import Upload
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.read_leases import ReadLeases
from client_proxy.file_store import FileStore
from directory_server.bootstrap import DirectoryServer
from directory_server.maintenance.restore import accept_older
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.people.accounts import API_KEY_PREFIX, insert_account, insert_api_key
from directory_server.people.passwords import NOBODY
from directory_server.settings import Settings as DirectorySettings
from file_server.bootstrap import FileServer
from file_server.settings import Settings as FileServerSettings
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.authority_keys import AuthorityKeys
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.runtime.tls.program_registry import Program
from lockstep_store.runtime.tls.revocation import RevocationList
from lockstep_store.wire.errors import PeerRefused, PeerUnreachable
from lockstep_store.wire.messages.people import ApiKeyInfo
from lockstep_store.wire.messages.read_leases import READ_LEASES
from tests.fakes.file_servers import AnyProgram
from tests.simulation.disk import ForgetfulDisk
from tests.simulation.hung_servers import FACT
from tests.simulation.network import Conditions, Exchange, Machine, Network, SimulatedPeer
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.threads import process_now

DIRECTORY = "directory"
PEOPLE = ("ann", "ben", "cleo", "dan", "eve")
GUEST = "guest"
"""An account that is disabled and enabled while people read with its key."""
CLOCK_RATES = (0.93, 1.0, 1.05)
"""How fast the clocks of proxies run, by which they measure leases."""
GRACE_MARGIN_SECONDS = 12.0
"""How much longer a file server keeps a blob that nothing refers to than a ticket lives."""


def credential(person: str) -> str:
    return f"{API_KEY_PREFIX}{person}-made-up-key"


class Authority:
    """Trusts the name that a program gives; the real check is TLS's."""

    ca_pem = ""
    keys = AuthorityKeys(())

    def issuer_for(self, role: str) -> SimpleNamespace:
        return SimpleNamespace(id="")

    @property
    def programs(self) -> Authority:
        """Its list of programs, which is empty."""
        return self

    def all(self) -> list[Program]:
        return []

    def find(self, role: str, id: str) -> Program | None:
        return None

    def revocations(self) -> RevocationList:
        return RevocationList(0, frozenset(), "")

    def derive_keys(self, context: str) -> dict[str, bytes]:
        return {"": context.encode()[:32].ljust(32)}

    def verify_peer_token(self, token: str) -> PeerIdentity:
        role, _, id = token.partition(".")
        if role not in ("file_server", "client_proxy"):
            raise PeerRefused("no token")
        return PeerIdentity(role, id)  # type: ignore[arg-type]


class Accepted(NamedTuple):
    """Older metadata that the directory was made to go on from."""

    lost_at: float
    """When the newest metadata was lost."""
    gone_on_at: float
    newest: int
    """The newest change in what was lost."""
    noticed: bool


def disk_now() -> ForgetfulDisk:
    """The running task's disk; replaces file_server.store.local.disk.Disk."""
    disk: ForgetfulDisk = process_now().facts["disk"]
    return disk


class World:
    """One cluster: `servers` file servers and `proxies` proxies around one directory, in `folder`."""

    def __init__(
        self, folder: Path, template: Path, keys: KeyRing, scheduler: Scheduler, conditions: Conditions,
        servers: int, proxies: int, copies: int = 2,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.keys = keys
        self.scheduler = scheduler
        self.network = Network(scheduler, conditions)
        self.copies = copies
        self.disks: dict[str, ForgetfulDisk] = {}
        self.starts = 0
        self.ticket_seconds, self.suspect_seconds = 60.0, 3.0
        self.template = template
        self.forgetting = False
        self.accepted: list[Accepted] = []
        self._copies = 0
        shutil.copytree(template, folder / DIRECTORY)
        self.administrator: str = json.loads((template / "admin.json").read_text())["api_key"]
        self.directory = self.network.machine(DIRECTORY)
        self.servers = [self.network.machine(f"server-{number}") for number in range(1, servers + 1)]
        self.proxies = [self.network.machine(f"proxy-{number}") for number in range(1, proxies + 1)]
        for machine in self.servers:
            self.disks[machine.name] = ForgetfulDisk(folder / machine.name, Random(scheduler.random.random()))

    @property
    def machines(self) -> list[Machine]:
        return [self.directory, *self.servers, *self.proxies]

    # ------------------------------------------------------------ starting and ending programs

    def start(self, machine: Machine) -> None:
        """Begin a new process on `machine`; it serves when it is ready."""
        if machine.process is not None and machine.process.alive:
            return
        process = Process(machine.name)
        self.starts += 1
        offset = machine.process.facts.get("wall_offset", 0.0) if machine.process is not None else 0.0
        process.facts["wall_offset"] = offset
        self.network.ends_with(process)
        machine.process, machine.app, machine.powered = process, None, True
        if machine is self.directory:
            build: Callable[[Machine, Process], Any] = self._build_directory
        elif machine in self.servers:
            process.facts["disk"] = self.disks[machine.name]
            build = self._build_file_server
        else:
            build = self._build_proxy

        def boot() -> None:
            try:
                machine.app = build(machine, process)
            except Exception as error:  # a program that cannot start ends; the watcher starts it again
                self.scheduler.note(f"{machine.name} did not start: {error}")
                process.facts["failed"] = error
                self.scheduler.die(process)
            self.scheduler.note(f"{machine.name} serves")

        self.scheduler.note(f"{machine.name} starts")
        self.scheduler.spawn(process, "boot", boot)

    def kill(self, machine: Machine, power: bool = False) -> None:
        """kill -9; with `power` the machine goes off, and its disk keeps only what was synced."""
        if machine.process is None:
            return
        machine.powered = machine.powered and not power
        self.scheduler.note(f"{machine.name} {'loses power' if power else 'is killed'}")
        self.scheduler.kill(machine.process)
        machine.app = None
        if power and machine.name in self.disks:
            self.disks[machine.name].power_cut()

    def empty_disk(self, machine: Machine) -> None:
        """Put a new disk into a stopped machine."""
        shutil.rmtree(self.folder / machine.name, ignore_errors=True)
        self.disks[machine.name] = ForgetfulDisk(self.folder / machine.name, Random(self.scheduler.random.random()))
        self.scheduler.note(f"{machine.name} has a new disk")

    def save_metadata(self, name: str) -> Path:
        """A copy of the folder of a directory that does not run."""
        self._copies += 1
        copy = self.folder / f".{name}-{self._copies}"
        shutil.copytree(self.folder / DIRECTORY, copy)
        return copy

    def put_metadata(self, copy: Path) -> None:
        """Let a directory that does not run have the metadata of this copy."""
        shutil.rmtree(self.folder / DIRECTORY)
        shutil.copytree(copy, self.folder / DIRECTORY)

    def accept_older(self) -> None:
        """Let a directory that does not run go on from its metadata, although that is older."""
        accept_older(self.folder / DIRECTORY / "metadata.db")

    def newest_change(self) -> int:
        """The cursor of the directory's newest change."""
        return int(self._from_metadata("SELECT coalesce(max(cursor), 0) FROM journal"))

    def redo_is_kept(self) -> bool:
        """Whether a file server whose disk stays has every redo record of the directory on it."""
        newest = self._from_metadata("SELECT max(sequence) FROM redo_record")
        for machine in self.servers[1:]:
            if machine.process is not None and machine.process.alive and "server" in machine.process.facts:
                appender = machine.process.facts["server"].redo_records._appender
                if appender is not None and appender.place is not None and appender.place.sequence == newest:
                    return True
        return False

    def _from_metadata(self, query: str) -> Any:
        with closing(sqlite3.connect(self.folder / DIRECTORY / "metadata.db")) as connection:
            return connection.execute(query).fetchone()[0]

    def directory_refuses(self) -> bool:
        """Whether the directory has noticed that its metadata is not the newest."""
        process = self.directory.process
        server = None if process is None or not process.alive else process.facts.get("server")
        return server is not None and bool(server.epochs.problem)

    def start_is_known(self) -> bool:
        """Whether every file server remembers this start of the directory."""
        process = self.directory.process
        server = None if process is None or not process.alive else process.facts.get("server")
        if server is None:
            return False
        begun = server.epochs._record.epochs[-1]
        running = [machine.process for machine in self.servers if machine.process is not None and machine.process.alive]
        seen = [process.facts["server"].link._marks.seen for process in running if "server" in process.facts]
        known = [each for each in seen if (each.epoch, each.mark) == (begun.number, begun.mark)]
        return len(known) == len(self.servers)

    def save_disk(self, machine: Machine) -> None:
        """Keep a copy of the disk of a machine that does not run."""
        shutil.rmtree(self.folder / f".disk-{machine.name}", ignore_errors=True)
        if (self.folder / machine.name).exists():
            shutil.copytree(self.folder / machine.name, self.folder / f".disk-{machine.name}")

    def put_older_disk(self, machine: Machine) -> None:
        """Put the kept copy in the disk's place."""
        copy = self.folder / f".disk-{machine.name}"
        self.empty_disk(machine)
        if copy.exists():
            shutil.copytree(copy, self.folder / machine.name)
        self.scheduler.note(f"{machine.name} has an older disk")

    def _build_directory(self, machine: Machine, process: Process) -> Any:
        store = SqliteStore(self.folder / DIRECTORY / "metadata.db", checked=False)
        settings = directory_settings(
            self.folder / DIRECTORY, self.copies, self.ticket_seconds, suspect_seconds=self.suspect_seconds
        )
        keys = keys_beside(self.template)
        server = DirectoryServer(settings, store, Authority(), keys, SystemClock())  # type: ignore[arg-type]
        process.facts["server"], process.facts[FACT] = server, self.network.hung
        self.network.hung.forget()
        server.start()
        return server.wsgi

    def _build_file_server(self, machine: Machine, process: Process) -> Any:
        id = machine.name.removeprefix("server-")
        settings = FileServerSettings(
            id=id,
            data=self.folder / machine.name,
            directory=self.directory.url,
            advertise=machine.url,
            zone=f"zone-{id}",
            reserve_bytes=0,
            grace_seconds=self.ticket_seconds + GRACE_MARGIN_SECONDS,
        )
        peer: Any = SimulatedPeer(self.network, process, f"file_server.{id}")
        server = FileServer(settings, Sealer(self.keys), peer, SystemClock(), AnyProgram())
        process.facts["server"] = server
        server.start()
        return server.wsgi

    def _build_proxy(self, machine: Machine, process: Process) -> Any:
        peer: Any = SimulatedPeer(self.network, process, f"client_proxy.{machine.name}")
        # Slow clocks are the danger: on them a lease lasts longer.
        process.facts["clock_rate"] = self.scheduler.random.choice(CLOCK_RATES)
        leases = ReadLeases(
            lambda request, seconds: peer.call(self.directory.url, READ_LEASES, request, timeout=seconds)
        )
        leasing = BackgroundJob("read leases", leases.step)
        leases.wake = leasing.wake
        leasing.start()
        directory = DirectoryClient(peer, self.directory.url, leases=leases)
        cache = Cache(
            self.folder / machine.name,
            Sealer(self.keys),
            disk_bytes=256 * 1024,
            memory_bytes=64 * 1024,
            free_bytes=lambda _: 1 << 40,
        )
        budget = BufferBudget()
        reader = BlobReader(peer, cache, directory.report_damaged, budget=budget)
        writer = BlobWriter(directory, Upload(peer), cache, budget=budget)
        process.facts["files"] = FileStore(directory, reader, writer)
        process.facts["directory"], process.facts["leases"] = directory, leases
        return _nothing

    # ------------------------------------------------------------ asking a proxy

    def ask(self, proxy: Machine, call: Callable[[FileStore, DirectoryClient], Any], timeout: float) -> Any:
        """Make a person's request to `proxy`. PeerUnreachable when the proxy dies or takes longer."""
        process = proxy.process
        if process is None or not proxy.serving:
            self.scheduler.sleep(0.001)
            raise PeerUnreachable(f"{proxy.name} refused the connection")
        exchange = Exchange(proxy.name)
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(call(process.facts["files"], process.facts["directory"]))
            except Exception as error:  # carried to who asked
                exchange.failure = error
            process.facts["exchanges"].pop(id(exchange), None)
            exchange.over.set()

        process.facts["exchanges"][id(exchange)] = exchange
        self.scheduler.spawn(process, "person", run)
        if not exchange.over.wait(timeout):
            raise PeerUnreachable(f"{proxy.name} did not answer in {timeout} s")
        if isinstance(exchange.failure, OSError):
            raise PeerUnreachable(f"{proxy.name} cut the connection")
        if exchange.failure is not None:
            raise exchange.failure
        return outcome[0]


def _nothing(_environ: Any, _start: Any) -> list[bytes]:
    raise AssertionError("proxies are asked through their file store")


def directory_settings(
    folder: Path, copies: int = 2, ticket_seconds: float = 60.0, suspect_seconds: float = 3.0
) -> DirectorySettings:
    """Return settings with short spans, so that they pass within minutes."""
    return DirectorySettings(
        data=folder,
        admin_credentials=folder / "admin.json",
        copies=copies,
        ticket_seconds=ticket_seconds,
        suspect_seconds=suspect_seconds,
        repair_grace_seconds=5.0,
        advertise=f"https://{DIRECTORY}",
    )


def keys_beside(template: Path) -> Path:
    """The storage keys of every run."""
    return template.parent / "keys.json"


def make_template(folder: Path) -> None:
    """Fill a directory's folder with tables, a bucket and people, as the template of every run."""
    store = SqliteStore(folder / "metadata.db", checked=False)
    server = DirectoryServer(
        directory_settings(folder), store, Authority(), keys_beside(folder), SystemClock()  # type: ignore[arg-type]
    )  # fmt: skip
    for number, person in enumerate((*PEOPLE, GUEST)):
        key = ApiKeyInfo(f"key-{number}", "made up", 0.0, credential(person))
        store.write(lambda tx, person=person: insert_account(tx, person, NOBODY, admin=False, at=0.0))
        store.write(lambda tx, person=person, key=key: insert_api_key(tx, person, key))
    server.stop()
