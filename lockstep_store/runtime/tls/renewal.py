"""Renews a running program's certificate before it expires, and when another authority issues certificates.

This module replaces the files. The runner notices and listens with the new ones (`runtime.http.service.run`), and new
connections to other programs use them (`runtime.peers.caller`).
"""

from __future__ import annotations

from collections.abc import Callable

from lockstep_store.runtime.storage.key_protection import KeyProtection
from lockstep_store.runtime.tls.authorities import issuer_id
from lockstep_store.runtime.tls.identity import (
    RENEW_BEFORE,
    Identity,
    accept_bundle,
    days_left,
    drop_old_links,
    renew,
    renewal_request,
)
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.messages.cluster import EnrolReply, RenewCertificateRequest

CHECK_SECONDS = 6 * 3600.0
RETRY_SECONDS = 600.0
ROTATION_RETRY_SECONDS = 5.0


class CertificateRenewal:
    """Renews one program's own certificate. `ask` makes the RENEW_CERTIFICATE call to the directory.

    `issuer` returns the id of the authority that issues certificates for this program; empty if it is not known.
    """

    def __init__(
        self,
        identity: Identity,
        ask: Callable[[RenewCertificateRequest], EnrolReply],
        protection: KeyProtection | None = None,
        issuer: Callable[[], str] = lambda: "",
    ) -> None:
        self._issuer = issuer
        self._identity = identity
        self._protection = protection
        self._ask = ask

    def step(self) -> float:
        """Renew a certificate that expires soon or is of an old authority; return the seconds until the next check."""
        left, wanted = days_left(self._identity), self._issuer()
        outdated = wanted not in ("", issuer_id(self._identity.ca_file, self._identity.cert_file))
        if left > RENEW_BEFORE.days and not outdated:
            drop_old_links(self._identity)
            return CHECK_SECONDS
        try:
            self.renew_now()
        except Exception as error:  # noqa: BLE001 - retried until the last day, and logged each time
            log.error("cannot renew the certificate, which expires in %.0f days: %s", left, error)
            return ROTATION_RETRY_SECONDS if outdated else RETRY_SECONDS
        log.info("certificate renewed; it is valid for %.0f days", days_left(self._identity))
        return CHECK_SECONDS

    def renew_now(self) -> None:
        """Get a new certificate for the same key and names, from the local authority or through the directory."""
        identity = self._identity
        if (identity.ca_file.parent / "authority").is_dir():
            renew(identity)
            return
        reply = self._ask(RenewCertificateRequest(csr_pem=renewal_request(identity)))
        accept_bundle(
            identity.ca_file.parent,
            identity.role,
            identity.id,
            reply.ca_pem,
            reply.cert_pem,
            identity.key_file.read_text(),
            reply.peer_token,
            reply.storage_keys_json,
            reply.revoked_pem,
            self._protection,
            reply.links_pem,
        )
