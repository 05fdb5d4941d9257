"""The revocation list: an X.509 CRL of the certificates of removed programs, signed by the cluster's authority.

While the authority is rotated, the file has two lists, one signed by each authority. The directory makes it; every
program keeps a copy beside `ca.pem`, so that it survives restarts. TLS checks new connections against it, and file
servers each request (`runtime.peers.proofs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lockstep_store.runtime.storage.sealing import one_program_at_a_time, write_durably
from lockstep_store.wire.errors import SetupError

_LIST_LIFETIME = timedelta(days=3650)
"""Heartbeats keep the list fresh. One that expires would stop the cluster after a long time away."""
_CLOCK_SKEW = timedelta(days=1)
_BLOCK = re.compile(r"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)


def make_list(
    issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey, number: int, serials: Iterable[int], now: datetime
) -> str:
    """Return the signed list (PEM) of the certificates `serials`."""
    key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - _CLOCK_SKEW)
        .next_update(now + _LIST_LIFETIME)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode("ascii")


@dataclass(frozen=True)
class RevocationList:
    """A list whose signature was checked."""

    number: int
    serials: frozenset[int]
    pem: str
    signers: int = 0
    """How many trusted authorities have signed it."""

    @classmethod
    def parse(cls, pem: str, ca_pem: bytes) -> RevocationList:
        """Return the list in `pem`; raises SetupError unless an authority in `ca_pem` signed it.

        Lists that no trusted authority signed do not count.
        """
        try:
            lists = [x509.load_pem_x509_crl(block) for block in split_lists(pem)]
            keys = [one.public_key() for one in x509.load_pem_x509_certificates(ca_pem)]
            signed = [one for one in (signed_by(key, lists) for key in keys) if one is not None]
            if not signed:
                raise ValueError("it is not signed by this cluster's authority")
            numbers = [_number(one) for one in signed]
        except (ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise SetupError(f"the list of revoked certificates cannot be used ({error})") from error
        serials = frozenset(revoked.serial_number for one in signed for revoked in one)
        return cls(max(numbers), serials, pem, len(signed))

    @classmethod
    def load(cls, certs_dir: Path) -> RevocationList:
        """Return the list in the certs folder; an empty one with number -1 when there is none yet."""
        file = certs_dir / "revoked.pem"
        if not file.exists():
            return cls(-1, frozenset(), "")
        return cls.parse(file.read_text("ascii"), (certs_dir / "ca.pem").read_bytes())


def split_lists(pem: str) -> list[bytes]:
    """Return the lists in `pem` one by one."""
    return [block.encode("ascii") for block in _BLOCK.findall(pem)]


def signed_by(key: object, lists: list[x509.CertificateRevocationList]) -> x509.CertificateRevocationList | None:
    """Return the first of `lists` that the public key `key` verifies; None when there is none."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return None
    return next((one for one in lists if one.is_signature_valid(key)), None)


def _number(found: x509.CertificateRevocationList) -> int:
    number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return int(number)


def store_list(certs_dir: Path, pem: str) -> RevocationList:
    """Keep a list that the directory sent, durably, unless the stored one is newer; returns the one to obey."""
    sent = RevocationList.parse(pem, (certs_dir / "ca.pem").read_bytes())
    with one_program_at_a_time(certs_dir / ".revoked.lock"):
        stored = RevocationList.load(certs_dir)
        if stored.number >= sent.number:
            return stored
        write_durably(certs_dir / "revoked.pem", pem.encode("ascii"), mode=0o644)
    return sent
