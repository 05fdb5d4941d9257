"""Builds a file server from its components and runs it. Only this module creates the real objects."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Protocol
from urllib.parse import urlsplit

from file_server.api import FileServerApi, health_of
from file_server.directory_link import DamageReports, DirectoryCaller, DirectoryLink
from file_server.maintenance.copier import Copier
from file_server.maintenance.garbage_collector import GarbageCollector
from file_server.maintenance.inventory import Inventory
from file_server.maintenance.redo_records import RedoRecords
from file_server.maintenance.scrubber import Scrubber
from file_server.maintenance.storage_keys import HeldStorageKeys
from file_server.maintenance.surplus_copies import SurplusRemover
from file_server.settings import Settings
from file_server.store.chunk_store import ChunkStore
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.quarantine import Quarantine
from file_server.writes.blob_sender import BlobSender
from file_server.writes.commit_notes import CommitNotes
from file_server.writes.commits import CommitClient
from file_server.writes.small_write_handler import SmallWriteHandler
from file_server.writes.stream_write_handler import StreamWriteHandler
from file_server.writes.ticket_check import DirectoryTime, TicketCheck
from lockstep_store.runtime.clock import Clock, SystemClock
from lockstep_store.runtime.http.admission import gate_for_programs
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.http.service import run
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.log_output import hide_digests, setup_logging
from lockstep_store.runtime.memory import keep_memory_flat
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.runtime.peers.protocols import Caller, MembershipKeeper, Opener, Streamer
from lockstep_store.runtime.storage.key_protection import key_protection
from lockstep_store.runtime.storage.permissions import check_writable, keep_private, say_where_keys_are
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.runtime.tls.identity import ensure_identity
from lockstep_store.runtime.tls.renewal import CertificateRenewal
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, Unavailable
from lockstep_store.wire.messages.cluster import RENEW_CERTIFICATE, Health
from lockstep_store.wire.messages.servers import WRITE_PATH

REBUILD_SECONDS = 1.0
LOGGED_DIGITS = 16
"""The log shows so many digits of a chunk's stored name instead of its digest."""


class Network(Caller, Streamer, Opener, Protocol):
    """Every way in which a file server reaches other programs."""

    def close(self) -> None:
        """Close idle connections."""
        ...


class ProgramMembership(MembershipKeeper, Protocol):
    """Keeps the authorities and the list of revoked certificates, and checks callers against them."""

    def verify(self, header: str) -> PeerIdentity:
        """Return the caller that the peer header proves, or raise PeerRefused."""
        ...


class FileServer:
    """A file server without a port: `wsgi` handles requests until `stop`; the jobs run from `start` on."""

    def __init__(
        self, settings: Settings, sealer: Sealer, peers: Network, clock: Clock, membership: ProgramMembership
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._started_at = clock.monotonic()
        self._peers = peers
        self._damage = DamageReports()
        self._directory = DirectoryCaller(peers, settings.directory)
        layout = DiskLayout.open(settings.data_folder)
        store = LocalChunkStore(
            layout,
            sealer,
            clock=clock,
            reserve_bytes=settings.reserve_bytes,
            on_damage=lambda _, blobs: self._report_damage(blobs),
        )
        self.store: ChunkStore = store
        self._stored_name = store.stored_name
        self.quarantine = Quarantine(layout.quarantine, clock, settings.quarantine_bytes, settings.quarantine_seconds)
        directory_time = DirectoryTime(clock)
        tickets = TicketCheck(settings.id, directory_time)
        self._build_writes(tickets)
        self._build_maintenance()
        self.storage_keys = HeldStorageKeys(self.store, sealer.ring, clock)
        self.link = DirectoryLink(
            self._directory,
            self.store,
            tickets,
            directory_time,
            clock,
            self._damage,
            own_id=settings.id,
            own_url=settings.url,
            zone=settings.zone,
            version=program_version(),
            take_orders=self.copier.take,
            inventory=self.inventory,
            take_drops=self.surplus.take,
            membership=membership,
            redo_records=self.redo_records,
            storage_keys=self.storage_keys,
        )
        self._build_jobs()
        api = FileServerApi(
            settings.id, self.store, self._streams, self._small, self._health, membership.verify, settings.threads
        )
        self.wsgi: Api = api.wsgi
        self.pool = api.pool

    def _build_writes(self, tickets: TicketCheck) -> None:
        id, clock = self._settings.id, self._clock
        self._notes = CommitNotes(self.store)
        sender = BlobSender(self.store, self._peers, clock)
        commits = CommitClient(self._peers, self._settings.directory, clock, on_committed=self._notes.add)
        self._streams = StreamWriteHandler(id, self.store, tickets, sender, commits, clock)
        self._small = SmallWriteHandler(id, self.store, tickets, sender, commits)

    def _build_maintenance(self) -> None:
        settings, store, directory, clock = self._settings, self.store, self._directory, self._clock
        self.copier = Copier(settings.id, store, self._peers, directory, self._damage, clock)
        self.surplus = SurplusRemover(store, directory, clock)
        self.inventory = Inventory(settings.id, store, directory, clock, settings.inventory_seconds)
        self.redo_records = RedoRecords(
            settings.data_folder / "redo", directory, settings.redo_bytes, has_room=self._has_room_for_records
        )
        self.collector = GarbageCollector(store, directory, clock, settings.grace_seconds)
        self.scrubber = Scrubber(store, clock, settings.scrub_pause_factor, settings.scrub_round_seconds)

    def _build_jobs(self) -> None:
        self._heartbeat = BackgroundJob("heartbeat", self.link.step)
        copying = BackgroundJob("copier", self.copier.step)
        self.copier.wake, self.copier.ask_for_more = copying.wake, self._heartbeat.wake
        dropping = BackgroundJob("surplus", self.surplus.step)
        self.surplus.wake = dropping.wake
        comparing = BackgroundJob("inventory", self.inventory.step)
        self.inventory.wake, self.inventory.report_done = comparing.wake, self._heartbeat.wake
        keeping = BackgroundJob("redo-records", self.redo_records.step)
        self.redo_records.wake = keeping.wake
        resealing = BackgroundJob("resealing", self.storage_keys.step)
        self.storage_keys.wake = resealing.wake
        self._jobs = [
            self._heartbeat,
            copying,
            dropping,
            comparing,
            keeping,
            resealing,
            BackgroundJob("index-rebuild", self._rebuild_index),
            BackgroundJob("commit-notes", self._notes.step),
            BackgroundJob("collector", self.collector.step),
            BackgroundJob("scrubber", self.scrubber.step),
            BackgroundJob("quarantine", self.quarantine.step),
        ]

    def logged_digest(self, digest: str) -> str:
        """Return what the log shows instead of a digest, since the log may be on the disk that must not show it."""
        return f"~{self._stored_name(Digest.parse(digest))[:LOGGED_DIGITS]}"

    def start(self) -> None:
        """Start the heartbeat and the other background jobs."""
        for job in self._jobs:
            job.start()

    def add_job(self, job: BackgroundJob) -> None:
        """Add a background job that starts and stops with this server."""
        self._jobs.append(job)

    def stop(self) -> None:
        """Stop the jobs and close the storage."""
        for job in self._jobs:
            job.stop()
        self._streams.close()
        self._notes.step()  # those of the last second
        self._peers.close()
        self.redo_records.close()
        self.store.close()

    def _rebuild_index(self) -> float:
        try:
            if self.store.rebuild():
                self.link.register_again()  # and so compare everything
        except LockstepError as error:
            log.warning("the index cannot be rebuilt: %s", error)
        return REBUILD_SECONDS

    def _has_room_for_records(self) -> bool:
        try:
            _, free = self.store.space()
        except Unavailable:
            return False
        return not self.store.problem and free > self._settings.redo_bytes // 8

    def _report_damage(self, blobs: list[Digest]) -> None:
        self._damage.add(self._settings.id, blobs)
        self._heartbeat.wake()

    def _health(self) -> Health:
        problems = [self.link.problem] if self.link.problem else []
        uptime = self._clock.monotonic() - self._started_at
        return health_of(self._settings.id, program_version(), self.store, uptime, problems)


def serve(settings: Settings) -> None:
    """Run a file server until a signal stops it. Raises SetupError or StorageFormatError if it cannot start."""
    keep_memory_flat()
    setup_logging("file_server", settings.id, settings.log)
    keep_private(settings.data_folder, settings.certs / f"file_server-{settings.id}")
    check_writable(settings.data_folder)
    hosts = [host for host in (settings.host, urlsplit(settings.url).hostname) if host and host not in _ANY_HOST]
    protection = key_protection(settings.key_passphrase_file)
    identity = ensure_identity(settings.certs, "file_server", settings.id, hosts, protection=protection)
    sealer = Sealer(KeyRing.load(identity.storage_keys_file, protection))
    say_where_keys_are(identity.storage_keys_file, settings.data_folder, is_protected=protection is not None)
    peers = PeerClient(identity, directory=settings.directory)
    membership = KeptMembership(settings.certs, settings.url, identity.cert_file)
    server = FileServer(settings, sealer, peers, SystemClock(), membership)
    hide_digests(server.logged_digest)
    renewal = CertificateRenewal(
        identity,
        lambda request: peers.call(settings.directory, RENEW_CERTIFICATE, request),
        protection,
        lambda: membership.issuer,
    )
    renewing = BackgroundJob("certificate", renewal.step)
    membership.renew = renewing.wake
    server.add_job(renewing)
    log.info("opened storage %s in %s", server.store.store_id, settings.data_folder)
    run(
        gate_for_programs(server.wsgi, settings.threads, WRITE_PATH),
        host=settings.host,
        port=settings.port,
        cert_file=identity.cert_file,
        key_file=identity.key_file,
        client_ca=identity.ca_file,
        revoked=settings.certs / "revoked.pem",
        threads=server.pool,
        on_authorities=membership.note_listener,
        on_start=server.start,
        on_stop=server.stop,
    )


_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def program_version() -> str:
    """The installed version of Lockstep."""
    try:
        return version("lockstep-store")
    except PackageNotFoundError:
        return "unknown"
