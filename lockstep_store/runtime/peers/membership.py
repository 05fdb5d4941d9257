"""Stores and applies the cluster's list of revoked certificates in one program."""

from __future__ import annotations

from pathlib import Path

from lockstep_store.runtime.peers.proofs import ProofCheck
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.runtime.tls.revocation import RevocationList, store_list
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError


class KeptMembership:
    """The list that one program stores. TLS contexts and listeners read it; `verify` checks each call."""

    def __init__(self, certs_dir: Path, url: str) -> None:
        self._certs_dir = certs_dir
        self._check = ProofCheck(certs_dir / "ca.pem", url, RevocationList.load(certs_dir))

    @property
    def revoked_number(self) -> int:
        """The number of the list in use; -1 before there is one."""
        return self._check.revoked.number

    def learn(self, revoked_pem: str) -> None:
        """Store and apply a list that the directory sent; empty if it sent none."""
        if not revoked_pem:
            return
        try:
            self._check.revoked = store_list(self._certs_dir, revoked_pem)
        except (SetupError, OSError) as error:
            log.error("cannot use the list of revoked certificates that the directory sent: %s", error)
            return
        log.info("list %d of revoked certificates is in force", self._check.revoked.number)

    def verify(self, header: str) -> PeerIdentity:
        """Return the caller that the peer header proves, or raise PeerRefused."""
        return self._check.verify(header)
