"""Proofs of identity between programs other than the directory.

A peer token must be seen by the directory alone: a file server that got a proxy's token could call the directory as
that proxy. So a program shows file servers its certificate with a signature by its own key over the address that it
calls. Such a proof is void for any other address, and ends with its certificate.

The header's value is `proof.` and two base64url words joined by a dot: the certificate (DER), and the ECDSA signature
(SHA-256, DER) over `lockstep peer proof v1`, a zero byte, and `host:port`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, authority_id
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity, is_role, utc_now
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.runtime.tls.revocation import RevocationList
from lockstep_store.wire.errors import PeerRefused, SetupError

PREFIX = "proof."
_DOMAIN = b"lockstep peer proof v1\0"
_MAX_CHARACTERS = 8192
_MAX_KNOWN = 4096


def audience(url: str) -> str:
    """Return `host:port` of an address, for which a proof is made."""
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port or 443}"


class ProofMaker:
    """Makes one program's proofs. Each is signed once for every address and certificate. Thread-safe."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._made: BoundedMap[tuple[str, int], str] = BoundedMap(_MAX_KNOWN)

    def proof_for(self, url: str) -> str:
        """Return the header's value for a call to `url`. SetupError when certificate or key cannot be used."""
        where = audience(url)
        try:
            stamp = (where, self._identity.cert_file.stat().st_mtime_ns)
            made = self._made.get(stamp)
            if made is None:
                made = self._made[stamp] = self._make(where)
        except (OSError, ValueError) as error:
            raise SetupError(f"cannot sign with {self._identity.key_file} ({error}): join again") from error
        return made

    def _make(self, where: str) -> str:
        certificate = x509.load_pem_x509_certificate(self._identity.cert_file.read_bytes())
        key = serialization.load_pem_private_key(self._identity.key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("it is not an elliptic-curve key")
        signature = key.sign(_DOMAIN + where.encode(), ec.ECDSA(hashes.SHA256()))
        return PREFIX + ".".join(map(_encode, (certificate.public_bytes(serialization.Encoding.DER), signature)))


@dataclass(frozen=True)
class _Known:
    peer: PeerIdentity
    serial: int
    expires: datetime
    issuer: str
    """The id of the authority that issued the certificate."""


class ProofCheck:
    """Checks the proofs of callers for the program at `url`. Thread-safe; a known proof costs one look-up."""

    def __init__(self, ca_file: Path, url: str, revoked: RevocationList, now: Callable[[], datetime] = utc_now) -> None:
        self._ca_file = ca_file
        self._trusted = TrustedAuthorities.load(ca_file)
        self._trusted_ids = frozenset(self._trusted.ids)
        self._where = audience(url)
        self._now = now
        self.revoked = revoked
        """Replaced when a heartbeat's reply has a newer list."""
        self._known: BoundedMap[str, _Known] = BoundedMap(_MAX_KNOWN)

    @property
    def trusted(self) -> TrustedAuthorities:
        """The authorities whose certificates are accepted."""
        return self._trusted

    def load_authorities(self) -> bool:
        """Accept certificates of the authorities that `ca.pem` has now, and of no others; returns whether they are new.

        SetupError if the file is damaged.
        """
        trusted = TrustedAuthorities.load(self._ca_file)
        if trusted == self._trusted:
            return False
        self._trusted, self._trusted_ids = trusted, frozenset(trusted.ids)
        return True

    def verify(self, header: str) -> PeerIdentity:
        """Return the caller. PeerRefused when the proof is missing, forged, for another address, expired or revoked."""
        known = self._known.get(header)
        if known is None:
            known = self._check(header)
            self._known[header] = known
        if known.issuer not in self._trusted.ids:
            raise PeerRefused(
                f"the certificate of {known.peer.role} {known.peer.id} is of an authority that was retired"
            )
        if known.serial in self.revoked.serials:
            raise PeerRefused(f"{known.peer.role} {known.peer.id} was removed from the cluster", removed=True)
        if known.expires <= self._now():
            raise PeerRefused(f"the certificate of {known.peer.role} {known.peer.id} has expired: renew it there")
        return known.peer

    def _check(self, header: str) -> _Known:
        words = header.removeprefix(PREFIX).split(".")
        if not header.startswith(PREFIX) or len(words) != 2 or len(header) > _MAX_CHARACTERS:
            raise PeerRefused("the caller shows no proof of being a program of this cluster")
        try:
            certificate = x509.load_der_x509_certificate(_decode(words[0]))
            issuer = self._trusted.issuer_of(certificate)
            if issuer is None:
                raise ValueError("not from an authority of this cluster")
            key = certificate.public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise ValueError("not an elliptic-curve key")
            key.verify(_decode(words[1]), _DOMAIN + self._where.encode(), ec.ECDSA(hashes.SHA256()))
            name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        except (InvalidSignature, ValueError, TypeError, IndexError, binascii.Error) as error:
            raise PeerRefused(f"the caller's proof is not valid for {self._where}: check --advertise here") from error
        role, _, id = name.partition("-")
        if not is_role(role) or not id:
            raise PeerRefused(f"the certificate of {name} is not that of a program")
        return _Known(
            PeerIdentity(role, id), certificate.serial_number, certificate.not_valid_after_utc, authority_id(issuer)
        )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(word: str) -> bytes:
    return base64.urlsafe_b64decode(word.encode("ascii") + b"=" * (-len(word) % 4))
