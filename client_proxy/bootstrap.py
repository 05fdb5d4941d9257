"""Builds a proxy's real objects, connects them to the system, and runs them."""

from __future__ import annotations

import dataclasses
import os
import signal
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask

from client_proxy.core.blob_reader import BlobReader
from client_proxy.core.blob_writer import BlobWriter
from client_proxy.core.buffer_budget import BufferBudget
from client_proxy.core.cache import Cache
from client_proxy.core.chunk_upload import Upload
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.core.membership import ProxyMembership
from client_proxy.core.read_leases import ReadLeases
from client_proxy.doors.console import ConsoleDoor, SessionCookies
from client_proxy.doors.dispatch import Doors
from client_proxy.doors.lfs.door import LfsDoor
from client_proxy.doors.rest import create_app
from client_proxy.doors.rest.cross_origin import CrossOrigin
from client_proxy.doors.rest.file_ids import FileIds
from client_proxy.doors.rest.older_addresses import OlderAddresses
from client_proxy.doors.s3.app import create_door
from client_proxy.doors.s3.door import S3Door
from client_proxy.doors.s3.events.access_log import AccessLog
from client_proxy.doors.shares.door import ShareDoor
from client_proxy.doors.strict_transport import YEAR_SECONDS, StrictTransport, is_public
from client_proxy.doors.webdav.door import WebDavDoor
from client_proxy.file_store import FileStore
from client_proxy.health import HealthCheck
from client_proxy.metrics import RATE_LIMITED
from client_proxy.rate_limits.client_address import ForwardedAddress
from client_proxy.rate_limits.counts import RequestCounts
from client_proxy.rate_limits.limiter import RateLimits
from client_proxy.settings import Settings
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.runtime.http.admission import gate_for_people
from lockstep_store.runtime.http.api import Wsgi
from lockstep_store.runtime.http.proxy_protocol import ProxyProtocolListener
from lockstep_store.runtime.http.service import CERTIFICATE_CHECK_SECONDS, Service, run
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.log_output import setup_logging
from lockstep_store.runtime.memory import keep_memory_flat
from lockstep_store.runtime.options import is_loopback
from lockstep_store.runtime.peers.caller import PeerClient
from lockstep_store.runtime.peers.membership import KeptMembership
from lockstep_store.runtime.storage.permissions import keep_private
from lockstep_store.runtime.storage.process_lock import claim
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.identity import Identity, ensure_identity
from lockstep_store.runtime.tls.renewal import CertificateRenewal
from lockstep_store.runtime.tls.trust_files import TrustFiles
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.cluster import RENEW_CERTIFICATE
from lockstep_store.wire.messages.programs import PROXY_HEARTBEAT
from lockstep_store.wire.messages.read_leases import READ_LEASES, ReadLeasesReply, ReadLeasesRequest

LONG_POLLS = frozenset({"/api/v1/changes"})
"""Requests without a body that hold a thread for long. (A wait for a lock has a body.)"""

Menu = Callable[[str, Path], int]
"""Runs the numbered menu until the person leaves, and returns the exit code.

Its arguments are the proxy's URL and the file with the CA certificate."""


@dataclass
class Proxy:
    """A proxy that is ready to serve people. Close it after it has stopped serving."""

    settings: Settings
    identity: Identity
    files: FileStore
    app: Flask
    doors: Doors
    close: Callable[[], None]

    @property
    def cert_file(self) -> Path:
        """The certificate that clients see: the operator's own, or the cluster's."""
        return self.settings.tls_cert or self.identity.cert_file

    @property
    def wsgi(self) -> Wsgi:
        """The doors behind their bounds, and behind the operator's reverse proxies if there are any."""
        app: Wsgi = gate_for_people(self.doors, self.settings.threads, LONG_POLLS, self.doors.turn_away)
        if self.settings.trusted_proxies:
            app = ForwardedAddress(app, self.settings.trusted_proxies)
        return StrictTransport(app, self._hsts_seconds) if self._hsts_seconds else app

    @property
    def _hsts_seconds(self) -> int:
        chosen = self.settings.hsts_seconds
        if chosen is None:
            return YEAR_SECONDS if is_public(self.cert_file, self.identity.ca_file) else 0
        return chosen

    @property
    def key_file(self) -> Path:
        return self.settings.tls_key or self.identity.key_file


def build(settings: Settings) -> Proxy:
    """Build a proxy without its listener. Raises SetupError, which says what to do."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        _check_pair(settings.tls_cert, settings.tls_key)
    folder = _claim(settings.data_dir)
    names = settings.names if settings.tls_cert is None else ()  # people see the operator's own certificate
    identity = ensure_identity(settings.certs_dir, "client_proxy", settings.id, names)
    peer = PeerClient(identity, directory=settings.directory_url)
    leases, end_leases = _read_leases(peer, settings)
    directory = DirectoryClient(peer, settings.directory_url, leases=leases)
    cache = _open_cache(settings)
    budget = BufferBudget()
    reader = BlobReader(peer, cache, directory.report_damaged, budget=budget)
    writer = BlobWriter(directory, Upload(peer), cache, budget=budget)
    files = FileStore(directory, reader, writer)
    counts = RequestCounts(settings.rate_limit_storage) if settings.rate_limits else None
    limits = RateLimits(settings.rate_limits, counts.take) if counts is not None else None
    health = HealthCheck(settings.id, peer, settings.directory_url, cache, lambda: _limit_facts(settings, counts))
    app = create_app(
        files,
        directory,
        program_id=settings.id,
        version=version("lockstep-store"),
        health=health,
        max_listening=settings.listeners,
        remote=settings.remote,
        limits=limits,
        trust=TrustFiles(settings.certs_dir),
    )
    clock = SystemClock()
    access_log = AccessLog(files, directory, clock.wall, clock.monotonic)
    s3 = create_door(
        files,
        directory,
        clock,
        access_log,
        proxy_id=settings.id,
        domain=settings.s3_domain,
        list_shared=settings.s3_list_shared,
        limits=limits,
    )
    jobs = _follow_the_cluster(settings, identity, directory, health)
    jobs.append(BackgroundJob("access log", access_log.step).start())

    def close() -> None:
        end_leases()
        for job in jobs:
            job.stop()
        access_log.flush()
        reader.close()
        peer.close()
        os.close(folder)

    doors = _doors(settings, _api(settings, app, directory), s3, files, directory, limits)
    return Proxy(settings, identity, files, app, doors, close)


def _open_cache(settings: Settings) -> Cache:
    return Cache(
        settings.data_dir / "cache",
        Sealer(_cache_keys(settings.data_dir / "cache-keys.json")),
        disk_bytes=settings.cache_bytes,
        memory_bytes=settings.memory_bytes,
    )


def _api(settings: Settings, app: Wsgi, directory: DirectoryClient) -> Wsgi:
    """The API behind what rewrites requests to it: older addresses first, because sessions look at addresses."""
    api = OlderAddresses(app if settings.console is None else SessionCookies(app), FileIds(directory))
    return CrossOrigin(api, settings.api_origins) if settings.api_origins else api


def _doors(
    settings: Settings,
    api: Wsgi,
    s3: S3Door,
    files: FileStore,
    directory: DirectoryClient,
    limits: RateLimits | None,
) -> Doors:
    """All doors, the console's among them if it has a folder."""
    return Doors(
        api,
        s3,
        ShareDoor(files, directory, limits=limits),
        settings.s3_domain,
        console=None if settings.console is None else ConsoleDoor(settings.console),
        others={
            "dav": WebDavDoor(files, directory, limits=limits),
            "lfs": LfsDoor(files, directory, limits=limits),
        },
    )


def _read_leases(peer: PeerClient, settings: Settings) -> tuple[ReadLeases | None, Callable[[], None]]:
    """The read leases, None where they are switched off, and what ends the job that holds them."""
    if not settings.read_leases:
        return None, lambda: None

    def ask(request: ReadLeasesRequest, seconds: float) -> ReadLeasesReply:
        return peer.call(settings.directory_url, READ_LEASES, request, timeout=seconds)

    leases = ReadLeases(ask)
    job = BackgroundJob("read leases", leases.step)
    leases.wake = job.wake
    return leases, job.start().stop


def _limit_facts(settings: Settings, counts: RequestCounts | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"rate_limits": [str(rule) for rule in settings.rate_limits]}
    if counts is not None:
        facts["rate_limited"] = sum(
            int(sample.value)
            for metric in RATE_LIMITED.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
        if counts.problem:
            facts["rate_limits_problem"] = counts.problem
    return facts


def _follow_the_cluster(
    settings: Settings, identity: Identity, directory: DirectoryClient, health: HealthCheck
) -> list[BackgroundJob]:
    """Start the jobs that send heartbeats and renew the certificate."""
    membership = KeptMembership(settings.certs_dir, settings.url, identity.cert_file)
    renewal = CertificateRenewal(
        identity, lambda request: directory.call(RENEW_CERTIFICATE, request), issuer=lambda: membership.issuer
    )
    heartbeats = ProxyMembership(
        lambda request: directory.call(PROXY_HEARTBEAT, request),
        membership,
        url=settings.url,
        version=version("lockstep-store"),
    )
    health.incompatibility = lambda: heartbeats.problem if heartbeats.is_incompatible else ""
    renewing = BackgroundJob("certificate renewal", renewal.step)
    membership.renew = renewing.wake
    return [renewing.start(), BackgroundJob("heartbeat", heartbeats.step).start()]


def serve(settings: Settings) -> None:
    """Serve people until SIGTERM or SIGINT. Does not return."""
    keep_memory_flat()
    setup_logging("client_proxy", settings.id, settings.log)
    _keep_private(settings)
    proxy = build(settings)
    _warn_about(settings)
    run(
        proxy.wsgi,
        host=settings.host,
        port=settings.port,
        cert_file=proxy.cert_file,
        key_file=proxy.key_file,
        threads=settings.threads + settings.listeners,
        balancers=_balancers(settings),
        trace_paths=settings.trace_paths,
        on_stopping=proxy.app.extensions["lockstep"].on_stopping,
        on_stop=proxy.close,
    )


def serve_with_menu(settings: Settings, menu: Menu) -> int:
    """Serve while a person uses the menu on this terminal. Returns the menu's exit code.

    The log is written to a file beside the cache, because on the terminal it would disturb the menu.
    """
    keep_memory_flat()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    log_file = settings.log.file or settings.data_dir / "client_proxy.log"
    setup_logging("client_proxy", settings.id, dataclasses.replace(settings.log, file=log_file))
    _keep_private(settings)
    proxy = build(settings)
    _warn_about(settings)
    service = Service(
        proxy.wsgi,
        host=settings.host,
        port=settings.port,
        cert_file=proxy.cert_file,
        key_file=proxy.key_file,
        threads=settings.threads + settings.listeners,
        balancers=_balancers(settings),
        trace_paths=settings.trace_paths,
    ).start()

    def follow() -> float:
        service.follow_certificate()
        return CERTIFICATE_CHECK_SECONDS

    following = BackgroundJob("certificate", follow).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log.info("listening on %s, with a menu", settings.url)
    print(f"The proxy listens on {settings.url}; its log is {log_file}", flush=True)
    try:
        return menu(settings.url, proxy.identity.ca_file)
    finally:
        following.stop()
        proxy.app.extensions["lockstep"].on_stopping()
        service.stop()
        proxy.close()
        log.info("stopped")


def _balancers(settings: Settings) -> ProxyProtocolListener | None:
    if settings.proxy_protocol_port is None:
        return None
    return ProxyProtocolListener(settings.host, settings.proxy_protocol_port, settings.trusted_proxies)


def _keep_private(settings: Settings) -> None:
    keep_private(settings.data_dir, settings.certs_dir / f"client_proxy-{settings.id}")


def _warn_about(settings: Settings) -> None:
    if not is_loopback(settings.host):
        log.warning(
            "listening on %s: for people on other machines, add the name they use to the certificate (--name), "
            "and give them the file ca.pem from %s",
            settings.host,
            settings.certs_dir,
        )


def _claim(data_dir: Path) -> int:
    """Lock the data folder: two proxies would evict each other's entries and exceed both bounds."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return claim(data_dir / ".in-use", "client proxy", data_dir, "--id or --data")
    except OSError as error:
        raise SetupError(
            f"the data folder {data_dir} cannot be used ({error.strerror}): free it, or choose another with --data"
        ) from error


def _cache_keys(path: Path) -> KeyRing:
    """The cache's own keys. Losing them costs only the cache, so an unreadable file is replaced."""
    try:
        return KeyRing.load_or_create(path)
    except SetupError as error:
        log.warning("starting with an empty cache, because its keys cannot be used: %s", error)
        path.unlink(missing_ok=True)
        return KeyRing.load_or_create(path)


def _check_pair(cert: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(
            f"--tls-cert {cert} and --tls-key {key} cannot be used together ({error}): "
            "name a certificate chain and its own key, both in PEM form"
        ) from error
