"""The certificate authorities that a program or a person trusts: the certificates in `ca.pem`.

There is one, and two while the authority is rotated. Beside it, `ca-links.pem` has a link for each rotation: the new
authority's key, certified by the one before. A link makes the new authority known to those who trust only the old one,
and shows for ever that both are of one cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from lockstep_store.runtime.storage.durable_files import one_program_at_a_time, write_durably
from lockstep_store.runtime.tls.revocation import RevocationList, signed_by
from lockstep_store.wire.authority_ids import id_of
from lockstep_store.wire.errors import SetupError
from lockstep_store.wire.messages.authorities import TrustNews


def authority_id(certificate: x509.Certificate) -> str:
    """Return the id of an authority, from its certificate."""
    return id_of(certificate.public_bytes(serialization.Encoding.DER))


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether `authority` signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def pem_of(certificates: Iterable[x509.Certificate]) -> str:
    """Return the certificates as PEM, one after the other."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode("ascii") for one in certificates)


def parse_certificates(pem: str | bytes) -> list[x509.Certificate]:
    """Return all certificates in `pem`. ValueError when one is damaged, or there is none."""
    return x509.load_pem_x509_certificates(pem.encode("ascii") if isinstance(pem, str) else pem)


@dataclass(frozen=True)
class TrustedAuthorities:
    """The authorities of a `ca.pem`, the one that issues certificates first."""

    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def load(cls, ca_file: Path) -> TrustedAuthorities:
        """Raises SetupError when the file is missing or has no certificate."""
        try:
            return cls(tuple(parse_certificates(ca_file.read_bytes())))
        except (OSError, ValueError) as error:
            raise SetupError(
                f"cannot read {ca_file} ({error}): start the cluster, or run `lockstep join TOKEN`"
            ) from error

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(authority_id(one) for one in self.certificates)

    def issuer_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """Return the authority that signed `certificate`; None when it is not one of these."""
        return next((one for one in self.certificates if is_signed_by(certificate, one)), None)

    def signers_of(self, lists: Iterable[bytes]) -> tuple[str, ...]:
        """Return the ids of the authorities that signed one of these revocation lists (PEM)."""
        found = [x509.load_pem_x509_crl(block) for block in lists]
        signers = [one for one in self.certificates if signed_by(one.public_key(), found) is not None]
        return tuple(map(authority_id, signers))


def issuer_id(ca_file: Path, cert_file: Path) -> str:
    """Return the id of the trusted authority that issued a certificate; empty when none did, or a file is damaged."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        issuer = TrustedAuthorities.load(ca_file).issuer_of(certificate)
    except (OSError, ValueError, SetupError):
        return ""
    return authority_id(issuer) if issuer is not None else ""


def adopted(
    trusted: Sequence[x509.Certificate], sent: Sequence[x509.Certificate], links: Sequence[x509.Certificate]
) -> bool:
    """Whether a holder of `trusted` may trust `sent` instead: each is known, or a known one certified its key."""
    known = list(trusted)
    for _ in links:  # a link is an authority, too: after two rotations, one leads to the next
        known += [link for link in links if link not in known and any(is_signed_by(link, one) for one in known)]
    return all(any(one.public_key() == other.public_key() for other in known) for one in sent)


def store_trust(certs_dir: Path, news: TrustNews) -> bool:
    """Keep the authorities that the directory sent, durably; returns whether the files changed.

    Nothing changes on the authority's own machine, whose files are the original, or when the stored list of revoked
    certificates, which comes with them, is newer. Raises SetupError for those of another cluster.
    """
    try:
        sent, links = parse_certificates(news.ca_pem), parse_links(news.links_pem)
    except ValueError as error:
        raise SetupError(f"the authorities that the directory sent are damaged ({error})") from error
    ca_file, links_file = certs_dir / "ca.pem", certs_dir / "ca-links.pem"
    with one_program_at_a_time(certs_dir / ".authority.lock"), one_program_at_a_time(certs_dir / ".revoked.lock"):
        if ca_file.exists():
            stored = TrustedAuthorities.load(ca_file).certificates
            if not adopted(stored, sent, links):
                if _is_older(certs_dir, news) and adopted(sent, stored, parse_links(load_links(certs_dir))):
                    return False  # ours succeeded those that were sent: the reply is late
                raise SetupError(f"{certs_dir} belongs to another cluster: use another folder for this program")
            if (certs_dir / "authority").is_dir() or _is_older(certs_dir, news):
                return False
        changed = _replace(links_file, news.links_pem) if news.links_pem else False
        if news.revoked_pem:
            # First: with a trusted authority whose list is missing, TLS would refuse all of its certificates.
            changed = _replace(certs_dir / "revoked.pem", news.revoked_pem) or changed
        return _replace(ca_file, news.ca_pem) or changed


def _is_older(certs_dir: Path, news: TrustNews) -> bool:
    """Whether the stored list of revoked certificates is newer than the one that was sent."""
    if not news.revoked_pem or not (certs_dir / "revoked.pem").exists():
        return False
    sent = RevocationList.parse(news.revoked_pem, news.ca_pem.encode("ascii"))
    return RevocationList.load(certs_dir).number > sent.number


def load_links(certs_dir: Path) -> str:
    """Return the links in the certs folder (PEM), the oldest first; empty before the first rotation."""
    try:
        return (certs_dir / "ca-links.pem").read_text("ascii")
    except FileNotFoundError:
        return ""


def parse_links(pem: str) -> list[x509.Certificate]:
    """Return the links in `pem`, which may be empty. ValueError when one is damaged."""
    return parse_certificates(pem) if pem.strip() else []


def without_old_links(cert_pem: bytes, trusted: TrustedAuthorities) -> bytes:
    """Return a program's certificate file without the links that no trusted authority signed."""
    certificate, *links = parse_certificates(cert_pem)
    kept = [link for link in links if trusted.issuer_of(link) is not None]
    return cert_pem if len(kept) == len(links) else pem_of([certificate, *kept]).encode("ascii")


def _replace(file: Path, pem: str) -> bool:
    if file.exists() and file.read_text("ascii") == pem:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably(file, pem.encode("ascii"), mode=0o644)
    return True
