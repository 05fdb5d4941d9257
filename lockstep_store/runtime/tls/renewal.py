"""Certificates are renewed before they expire, while the program runs.

This replaces the files; the runner notices and listens again with them (`runtime.http.service.run`), and new
connections to other programs pick them up by themselves (`runtime.peers.caller`).
"""

from __future__ import annotations

from collections.abc import Callable

from lockstep_store.runtime.tls.contexts import certificate_facts
from lockstep_store.runtime.tls.identity import RENEW_BEFORE, Identity, accept_bundle, days_left, renew, renewal_request
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.messages.cluster import EnrolReply, RenewCertificateRequest

CHECK_SECONDS = 6 * 3600.0
RETRY_SECONDS = 600.0


class CertificateRenewal:
    """One program's own certificate. `ask` makes the RENEW_CERTIFICATE call to the directory."""

    def __init__(self, identity: Identity, ask: Callable[[RenewCertificateRequest], EnrolReply]) -> None:
        self._identity = identity
        self._ask = ask

    def step(self) -> float:
        """Renew when little time is left; seconds until the next look."""
        left = days_left(self._identity)
        if left > RENEW_BEFORE.days:
            return CHECK_SECONDS
        try:
            self.renew_now()
        except Exception as error:  # noqa: BLE001 - tried again until the last day, and said each time
            log.error("the certificate has %.0f days left and could not be renewed: %s", left, error)
            return RETRY_SECONDS
        log.info("certificate renewed; it is valid for %.0f days", days_left(self._identity))
        return CHECK_SECONDS

    def renew_now(self) -> None:
        """A new certificate for the same key and names, from the authority here or through the directory."""
        identity = self._identity
        if (identity.ca_file.parent / "authority").is_dir():
            renew(identity)
            return
        hosts = list(certificate_facts(identity.cert_file.read_text()).hosts)
        reply = self._ask(RenewCertificateRequest(hosts=hosts, csr_pem=renewal_request(identity)))
        accept_bundle(
            identity.ca_file.parent,
            identity.role,
            identity.id,
            reply.ca_pem,
            reply.cert_pem,
            identity.key_file.read_text(),
            identity.peer_token,
            reply.storage_keys_json or identity.storage_keys_file.read_text(),
        )
