"""Builds a file server out of its parts and runs it. The one place that makes the real objects."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from file_server.api import FileServerApi, health_of
from file_server.blob_sender import BlobSender
from file_server.chunk_store import ChunkStore
from file_server.collector import Collector
from file_server.commits import CommitClient
from file_server.copier import Copier
from file_server.directory_link import DamageReports, Directory, DirectoryLink
from file_server.disk_layout import DiskLayout
from file_server.scrubber import Scrubber
from file_server.settings import Settings
from file_server.ticket_check import DirectoryTime, TicketCheck
from file_server.writes import WriteDesk
from wire.background import BackgroundJob
from wire.clock import SystemClock
from wire.digest import Digest
from wire.identity import Identity, ensure_identity
from wire.messages import Health
from wire.peer import PeerClient
from wire.sealing import KeyRing, Sealer
from wire.service import Api, run
from wire.tracing import log, setup_logging


class FileServer:
    """A whole file server without its port: `wsgi` answers requests between `start` and `stop`."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        self._settings = settings
        self._started_at = time.monotonic()
        clock = SystemClock()
        self._peers = PeerClient(identity)
        damage = DamageReports()
        self.store = ChunkStore(
            DiskLayout.open(settings.data_folder),
            Sealer(KeyRing.load(identity.storage_keys_file)),
            clock=clock,
            reserve_bytes=settings.reserve_bytes,
            on_damage=lambda _, blobs: self._report_damage(blobs),
        )
        self._damage = damage
        directory_time = DirectoryTime(clock)
        tickets = TicketCheck(settings.id, directory_time)
        directory = Directory(self._peers, settings.directory)
        self._desk = WriteDesk(
            settings.id,
            self.store,
            tickets,
            BlobSender(self.store, self._peers, clock),
            CommitClient(self._peers, settings.directory, clock),
        )
        copier = Copier(settings.id, self.store, self._peers, directory, damage, clock)
        self._link = DirectoryLink(
            directory,
            self.store,
            tickets,
            directory_time,
            clock,
            damage,
            own_id=settings.id,
            own_url=settings.url,
            zone=settings.zone,
            version=program_version(),
            take_orders=copier.take,
        )
        collector = Collector(self.store, directory, clock, settings.grace_seconds)
        scrubber = Scrubber(self.store, clock, settings.scrub_pause_factor, settings.scrub_round_seconds)
        self._heartbeat = BackgroundJob("heartbeat", self._link.step)
        copying = BackgroundJob("copier", copier.step)
        copier.wake = copying.wake
        self._jobs = [
            self._heartbeat,
            copying,
            BackgroundJob("collector", collector.step),
            BackgroundJob("scrubber", scrubber.step),
        ]
        self.wsgi: Api = FileServerApi(settings.id, self.store, self._desk, self._health).wsgi

    def start(self) -> None:
        """Start the heartbeat and the other background jobs."""
        for job in self._jobs:
            job.start()

    def stop(self) -> None:
        """End the jobs and close the storage."""
        for job in self._jobs:
            job.stop()
        self._desk.close()
        self._peers.close()
        self.store.close()

    def _report_damage(self, blobs: list[Digest]) -> None:
        self._damage.add(self._settings.id, blobs)
        self._heartbeat.wake()

    def _health(self) -> Health:
        problems = [self._link.problem] if self._link.problem else []
        uptime = time.monotonic() - self._started_at
        return health_of(self._settings.id, program_version(), self.store, uptime, problems)


def serve(settings: Settings) -> None:
    """Run a file server until it is told to stop. Raises SetupError or StorageFormatError when it cannot start."""
    setup_logging("file_server", settings.id, settings.log_level)
    hosts = [host for host in (settings.host, urlsplit(settings.url).hostname) if host and host not in _ANY_HOST]
    identity = ensure_identity(settings.certs, "file_server", settings.id, hosts)
    server = FileServer(settings, identity)
    log.info("storage %s in %s", server.store.store_id, settings.data_folder)
    run(
        server.wsgi,
        host=settings.host,
        port=settings.port,
        cert_file=identity.cert_file,
        key_file=identity.key_file,
        client_ca=identity.ca_file,
        threads=settings.threads,
        on_start=server.start,
        on_stop=server.stop,
    )


_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def program_version() -> str:
    """The installed version of Lockstep."""
    try:
        return version("lockstep")
    except PackageNotFoundError:
        return "unknown"
