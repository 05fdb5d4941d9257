"""Runs a directory server: opens the metadata, or stands by until they are free, and serves until a signal stops it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from directory_server.bootstrap import DirectoryServer
from directory_server.maintenance.new_metadata import check_new_metadata
from directory_server.metadata.engines.chosen import open_metadata, place_of, standby_database
from directory_server.metadata.store import InUse, MetadataStore
from directory_server.settings import Settings
from directory_server.standby import Standby
from lockstep_store.runtime.clock import SystemClock
from lockstep_store.runtime.http.service import run
from lockstep_store.runtime.jobs import BackgroundJob
from lockstep_store.runtime.log_output import setup_logging
from lockstep_store.runtime.storage.key_protection import KeyProtection, key_protection
from lockstep_store.runtime.storage.permissions import check_writable, keep_private, say_where_keys_are
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import Identity, ensure_authority, ensure_identity
from lockstep_store.runtime.tls.renewal import CertificateRenewal
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.cluster import EnrolReply, RenewCertificateRequest

START_SECONDS = 1.0
"""How long a start waits for the session of a directory server that has just ended, before it stands by."""


def serve(settings: Settings) -> None:
    """Run a directory until a signal stops it. Raises SetupError or StorageFormatError if it cannot start."""
    setup_logging("directory_server", settings.id, settings.log)
    keep_private(settings.data, settings.certs / "authority", settings.certs / f"directory_server-{settings.id}")
    check_writable(settings.data)
    # Each of a call's many short statements releases the interpreter lock, and by default could wait 5 ms to get it.
    sys.setswitchinterval(0.001)
    clock = SystemClock()
    place = place_of(settings.metadata_file, settings.metadata)
    check_new_metadata(place, settings.certs, asked_for=settings.new_metadata, wall=clock.wall)
    protection = key_protection(settings.key_passphrase_file)
    take = partial(open_metadata, settings.metadata_file, settings.metadata, own_url=settings.url)
    try:
        # Before the authority: an interrupted first start must not look like a cluster that lost its metadata.
        store = take(start_seconds=START_SECONDS)
    except InUse:
        store = _stand_by(settings, protection, partial(take, start_seconds=0.0))
    authority, identity = _identify(settings, protection)
    say_where_keys_are(identity.storage_keys_file, settings.data, is_protected=protection is not None)
    with _showing_life(store):
        server = DirectoryServer(settings, store, authority, identity.storage_keys_file, clock)
    store.on_replaced = _start_again
    renewal = CertificateRenewal(identity, _nobody_to_ask)
    server.add_job(BackgroundJob("certificate", renewal.step))
    server.authorities.renew_own = renewal.renew_now
    if settings.registration_warning:
        log.warning("%s", settings.registration_warning)
    log.info("metadata in %s, %d copies of every file", place, settings.copies)
    run(
        server.wsgi,
        host=settings.host,
        port=settings.port,
        cert_file=identity.cert_file,
        key_file=identity.key_file,
        client_ca=identity.ca_file,
        revoked=settings.certs / "revoked.pem",
        threads=server.shares.pool,
        on_authorities=server.authorities.note_listener,
        on_start=server.start,
        on_stopping=server.answer_waiting,
        on_stop=server.stop,
    )


@contextmanager
def _showing_life(store: MetadataStore) -> Iterator[None]:
    """Check the metadata meanwhile, as the server does later: others take over from one that seems to hang."""
    checking = BackgroundJob("metadata check", store.check_some).start()
    try:
        yield
    finally:
        checking.stop()


def _identify(settings: Settings, protection: KeyProtection | None) -> tuple[CertificateAuthority, Identity]:
    authority = ensure_authority(settings.certs, protection=protection)
    identity = ensure_identity(settings.certs, "directory_server", settings.id, settings.hosts, protection=protection)
    return authority, identity


def _stand_by(settings: Settings, protection: KeyProtection | None, take: Callable[[], MetadataStore]) -> MetadataStore:
    """Wait until the active directory server has ended, and return the metadata."""
    if not CertificateAuthority.exists(settings.certs):
        raise SetupError(
            f"another directory server uses this database; to stand by for it, this one needs the cluster's authority "
            f"and keys, which {settings.certs} does not have: copy the folder of its --certs (docs/postgresql.md)"
        )
    _, identity = _identify(settings, protection)
    renewing = BackgroundJob("certificate", CertificateRenewal(identity, _nobody_to_ask).step).start()
    try:
        return Standby(settings, identity, standby_database(settings.metadata, settings.url)).wait(take)
    finally:
        renewing.stop()


def _start_again() -> None:
    """Start this program anew in the same process: nothing that it has in memory may be used any more."""
    log.warning("another directory server has taken over: starting again, to stand by")
    logging.shutdown()
    for file in Path("/dev/fd").iterdir():
        if (number := int(file.name)) > 2:
            with suppress(OSError):  # closed meanwhile
                os.set_inheritable(number, False)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same program


def _nobody_to_ask(_: RenewCertificateRequest) -> EnrolReply:
    raise SetupError("cannot renew the directory's certificate: the authority is missing from its own machine")
