"""Stores and applies in one program what the directory says about membership: authorities and revoked certificates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lockstep_store.runtime.peers.proofs import ProofCheck
from lockstep_store.runtime.tls.authorities import issuer_id, store_trust
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.runtime.tls.revocation import RevocationList, split_lists, store_list
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.authorities import AuthorityUse, TrustNews


class KeptMembership:
    """The authorities and the list that one program stores. TLS contexts and listeners read them; `verify` checks each
    call. `cert_file` is the program's certificate."""

    def __init__(self, certs_dir: Path, url: str, cert_file: Path) -> None:
        self._certs_dir = certs_dir
        self._cert_file = cert_file
        self._check = ProofCheck(certs_dir / "ca.pem", url, RevocationList.load(certs_dir))
        self._listener: AuthorityUse | None = None
        self._use: tuple[object, AuthorityUse] = (None, AuthorityUse([]))
        self.issuer = ""
        """The authority that issues certificates for this program now; empty before the directory said it."""
        self.renew: Callable[[], None] = lambda: None
        """Called when the certificate or its links may have to be replaced."""

    @property
    def revoked_number(self) -> int:
        """The number of the list in use; -1 before there is one."""
        return self._check.revoked.number

    @property
    def authorities(self) -> AuthorityUse:
        """The authorities in force for incoming and outgoing connections, and that of the certificate in use."""
        stamp = self._stamp()
        if self._use[0] != stamp:
            trusted, list_file = self._check.trusted, self._certs_dir / "revoked.pem"
            # Where there is a list, TLS refuses the certificates of an authority that has not signed one.
            listed = (
                trusted.signers_of(split_lists(list_file.read_text("ascii"))) if list_file.exists() else trusted.ids
            )
            self._use = (stamp, AuthorityUse([*listed], issuer_id(self._certs_dir / "ca.pem", self._cert_file)))
        use = self._use[1]
        if self._listener is None:
            return use
        shown = {self._listener.issuer, use.issuer}
        trusted_ids = [id for id in use.trusted if id in self._listener.trusted]
        return AuthorityUse(trusted_ids, use.issuer if len(shown) == 1 else self._listener.issuer)

    def note_listener(self, use: AuthorityUse) -> None:
        """Take note of the authorities in force at the program's listener for other programs."""
        self._listener = use

    def learn(self, revoked_pem: str, trust: TrustNews | None = None, issuer: str = "") -> None:
        """Store and apply what a heartbeat's reply says: the list of revoked certificates and the authorities, if they
        are new, and the authority that issues certificates for this program."""
        try:
            if trust is not None and store_trust(self._certs_dir, trust):
                log.info("the cluster's certificate authorities are new")
            if revoked_pem:
                self._check.revoked = store_list(self._certs_dir, revoked_pem)
                log.info("list %d of revoked certificates is in force", self._check.revoked.number)
            changed = self._check.load_authorities()
            if changed or trust is not None:
                self._check.revoked = RevocationList.load(self._certs_dir)
        except (SetupError, OSError) as error:
            log.error("cannot use what the directory sent about certificates: %s", error)
            return
        if changed or (issuer and issuer != self.issuer):
            self.issuer = issuer or self.issuer
            self.renew()

    def verify(self, header: str) -> PeerIdentity:
        """Return the caller that the peer header proves, or raise PeerRefused."""
        return self._check.verify(header)

    def _stamp(self) -> object:
        files = (self._certs_dir / "ca.pem", self._certs_dir / "revoked.pem", self._cert_file)
        return [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files if file.exists()], self._check.trusted
