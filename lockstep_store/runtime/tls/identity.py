"""A program's identity on disk: its certificate, key and peer token.

On the directory's machine, which has the authority, identities are created and renewed as needed. Other machines get
theirs with `lockstep join TOKEN`: this module creates the key and the request, and stores the reply. The caller sends
them over the network, and `runtime.tls.certificate_authority` signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lockstep_store.runtime.storage.key_protection import KeyProtection, protected
from lockstep_store.runtime.storage.sealing import KeyRing, check_ring, one_program_at_a_time, write_durably
from lockstep_store.runtime.tls.authorities import (
    TrustedAuthorities,
    is_signed_by,
    parse_certificates,
    store_trust,
    without_old_links,
)
from lockstep_store.runtime.tls.authority_keys import load_key, private_key_pem
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority, Role, check_program, utc_now
from lockstep_store.runtime.tls.host_names import MAX_HOSTS, host_names, local_hosts
from lockstep_store.wire.errors import BadRequest, PeerRefused, SetupError
from lockstep_store.wire.messages.authorities import TrustNews

__all__ = [
    "Identity",
    "LatestToken",
    "Role",
    "accept_bundle",
    "days_left",
    "drop_old_links",
    "ensure_authority",
    "ensure_identity",
    "new_key_and_request",
    "renew",
    "renewal_request",
]

RENEW_BEFORE = timedelta(days=30)
SEALING_ROLES = ("directory_server", "file_server")
"""Programs that seal with the storage keys; no other gets them."""


@dataclass(frozen=True)
class Identity:
    """Who a program is, and the files that prove it."""

    role: Role
    id: str
    ca_file: Path
    cert_file: Path
    key_file: Path
    peer_token: str = field(repr=False)
    """As it was loaded: see `LatestToken`."""
    storage_keys_file: Path


class LatestToken:
    """A program's peer token as its last renewal left it. Thread-safe."""

    def __init__(self, identity: Identity) -> None:
        self._file = _token_file(identity)
        self._known = (self._stamp(), identity.peer_token)

    def text(self) -> str:
        """Return the identity's token, or the one on the disk if the file has changed since."""
        stamp = self._stamp()
        if stamp not in (None, self._known[0]):
            self._known = (stamp, self._file.read_text("ascii").strip())
        return self._known[1]

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino  # two renewals may fall into one tick of the clock


def ensure_authority(
    certs_dir: Path, *, protection: KeyProtection | None = None, now: Callable[[], datetime] = utc_now
) -> CertificateAuthority:
    """Load the cluster's authority, or create it and the storage keys. Several programs may call this at once."""
    authority = CertificateAuthority.create(certs_dir, now)
    _ensure_ring(_storage_keys(certs_dir), protection)
    return authority


def ensure_identity(
    certs_dir: Path,
    role: str,
    id: str,
    hosts: Iterable[str] = (),
    *,
    protection: KeyProtection | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Identity:
    """Load the identity of program `role` number `id`; create or renew it if the authority is on this machine.

    A certificate is renewed when it expires within 30 days, lacks one of `hosts`, or is from another authority than
    now issues them. On other machines a valid certificate is used to its last day, and SetupError asks to join without
    one.
    """
    _check_program(role, id)
    hosts = list(hosts)
    wanted = set(_names(hosts))
    with one_program_at_a_time(certs_dir / f".{role}-{id}.lock"):
        identity = _at(certs_dir, role, id)
        fault = _fault(identity, wanted, now())
        if (certs_dir / "authority").is_dir():
            authority = CertificateAuthority.create(certs_dir, now)
            if role in SEALING_ROLES:
                _ensure_ring(identity.storage_keys_file, protection)
            here = set(_names(local_hosts()))
            fault = fault or _fault(identity, here, now()) or _outdated(identity, authority)
            program = authority.programs.start_here(role, id)
            token = authority.peer_token(role, id, program.generation)
            if identity.peer_token and not _admits(authority, identity, program.generation):
                identity.key_file.unlink(missing_ok=True)  # the key of a removed program is not used again
                fault = "its membership ended"
            if fault or _time_left(identity, now()) < RENEW_BEFORE:
                _issue(authority, identity, hosts)
            if identity.peer_token != token:
                write_durably(_token_file(identity), token.encode())
        elif fault:
            raise SetupError(
                f"{role} {id} has no valid identity: {fault}. Get a token with `lockstep invite` on the "
                "directory's machine, then run `lockstep join TOKEN` here"
            )
        elif role in SEALING_ROLES:
            KeyRing.load(identity.storage_keys_file, protection)
        return _at(certs_dir, role, id)


def renew(identity: Identity, hosts: Iterable[str] = (), *, now: Callable[[], datetime] = utc_now) -> Identity:
    """Issue a new certificate for the same key and names (and `hosts`), and the peer token of the authority that issues
    it, if the authority is on this machine.

    The key is kept, because two files cannot be replaced at once, and key and certificate must always match. On other
    machines it raises SetupError: send `renewal_request` to the directory and store the reply with `accept_bundle`.
    """
    certs_dir = identity.ca_file.parent
    with one_program_at_a_time(certs_dir / f".{identity.role}-{identity.id}.lock"):
        authority = CertificateAuthority.load(certs_dir, now)
        program = authority.programs.find(identity.role, identity.id)
        if program is not None and not program.is_member:
            raise SetupError(f"{identity.role} {identity.id} was removed from the cluster: it gets no new certificate")
        if program is not None:
            token = authority.peer_token(identity.role, identity.id, program.generation)
            write_durably(_token_file(identity), token.encode())
        _issue(authority, identity, hosts)
    return identity


def drop_old_links(identity: Identity) -> None:
    """Remove links to authorities that are not trusted any more from the certificate file, durably."""
    certs_dir = identity.ca_file.parent
    with one_program_at_a_time(certs_dir / f".{identity.role}-{identity.id}.lock"):
        before = identity.cert_file.read_bytes()
        after = without_old_links(before, TrustedAuthorities.load(identity.ca_file))
        if after != before:
            write_durably(identity.cert_file, after, mode=0o644)


def days_left(identity: Identity, *, now: Callable[[], datetime] = utc_now) -> float:
    """Return the days until the identity's certificate expires; negative once it has expired."""
    return _time_left(identity, now()) / timedelta(days=1)


def new_key_and_request(role: str, id: str, hosts: Iterable[str] = ()) -> tuple[str, str]:
    """Create a private key and its certificate request, both PEM. The key stays on this machine."""
    _check_program(role, id)
    key = ec.generate_private_key(ec.SECP256R1())
    return private_key_pem(key).decode("ascii"), _request(key, role, id, _names([*local_hosts(), *hosts]))


def renewal_request(identity: Identity) -> str:
    """Return the request (PEM) for a new certificate with this identity's key and names; see `accept_bundle`."""
    key = load_key(identity.key_file.read_bytes())
    return _request(key, identity.role, identity.id, _names(_hosts_of(identity)))


def accept_bundle(
    certs_dir: Path,
    role: str,
    id: str,
    ca_pem: str,
    cert_pem: str,
    key_pem: str,
    peer_token: str,
    storage_keys_json: str,
    revoked_pem: str = "",
    protection: KeyProtection | None = None,
    links_pem: str = "",
) -> Identity:
    """Check and store an identity that the directory sent; every part is durable on return.

    Empty parts were not sent: storage keys to programs that do not seal, and the peer token by an earlier version. The
    certificate is stored last, so a renewal that was interrupted is repeated.

    Raises SetupError and writes nothing when the parts do not match, or the folder belongs to another cluster.
    """
    _check_program(role, id)
    try:
        authorities = TrustedAuthorities(tuple(parse_certificates(ca_pem)))
        certificate = x509.load_pem_x509_certificate(cert_pem.encode("ascii"))
        key = load_key(key_pem.encode("ascii"))
    except (ValueError, TypeError) as error:
        raise SetupError(f"the identity that the directory sent is damaged ({error}): join again") from error
    if authorities.issuer_of(certificate) is None:
        raise SetupError("the identity that the directory sent is damaged (another authority's): join again")
    if certificate.public_key() != key.public_key() or _common_name(certificate) != f"{role}-{id}":
        raise SetupError(f"the certificate that the directory sent is not for {role} {id}: join again")
    if storage_keys_json:
        check_ring(storage_keys_json)
    certs_dir.mkdir(parents=True, exist_ok=True)
    identity = _at(certs_dir, role, id)
    store_trust(certs_dir, TrustNews(ca_pem, links_pem, revoked_pem))
    if storage_keys_json:
        with one_program_at_a_time(certs_dir / ".authority.lock"):
            KeyRing.store(identity.storage_keys_file, storage_keys_json, protection)
    with one_program_at_a_time(certs_dir / f".{role}-{id}.lock"):
        _make_folder(identity)
        if peer_token:
            write_durably(_token_file(identity), peer_token.encode())
        if not identity.key_file.exists() or identity.key_file.read_bytes() != key_pem.encode("ascii"):
            write_durably(identity.key_file, key_pem.encode("ascii"))
        write_durably(identity.cert_file, cert_pem.encode("ascii"), mode=0o644)
    return _at(certs_dir, role, id)


def _ensure_ring(file: Path, protection: KeyProtection | None) -> None:
    """Check the storage keys, or make them. Protected ones are left to the programs that know the passphrase."""
    if protection is None and file.exists() and protected(file.read_bytes()) is not None:
        return
    KeyRing.load_or_create(file, protection)


def _check_program(role: str, id: str) -> None:
    try:
        check_program(role, id)
    except BadRequest as error:
        raise SetupError(str(error)) from error


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    try:
        return host_names(hosts)
    except BadRequest as error:
        raise SetupError(str(error)) from error


def _storage_keys(certs_dir: Path) -> Path:
    return certs_dir / "storage-keys.json"


def _at(certs_dir: Path, role: str, id: str) -> Identity:
    folder = certs_dir / f"{role}-{id}"
    token_file = folder / "peer.token"
    return Identity(
        role=cast(Role, role),
        id=id,
        ca_file=certs_dir / "ca.pem",
        cert_file=folder / "cert.pem",
        key_file=folder / "key.pem",
        peer_token=token_file.read_text("ascii").strip() if token_file.exists() else "",
        storage_keys_file=_storage_keys(certs_dir),
    )


def _token_file(identity: Identity) -> Path:
    return identity.cert_file.with_name("peer.token")


def _admits(authority: CertificateAuthority, identity: Identity, generation: int) -> bool:
    """Whether its peer token makes it the member of this generation."""
    try:
        peer = authority.verify_peer_token(identity.peer_token)
    except PeerRefused:
        return False
    return (peer.role, peer.id, peer.generation) == (identity.role, identity.id, generation)


def _make_folder(identity: Identity) -> None:
    folder = identity.cert_file.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def _request(key: ec.EllipticCurvePrivateKey, role: str, id: str, names: list[x509.GeneralName]) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role}-{id}")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode("ascii")


def _issue(authority: CertificateAuthority, identity: Identity, hosts: Iterable[str]) -> None:
    """Issue a certificate for `hosts` and, as far as there is room, for its earlier host names.

    The limit must not prevent a start: a container has another host name each time it is created.
    """
    _make_folder(identity)
    wanted = dict.fromkeys([*local_hosts(), *hosts])
    before = [host for host in _hosts_of(identity) if host not in wanted]
    names = [*wanted, *before[: max(0, MAX_HOSTS - len(wanted))]]
    try:
        key = load_key(identity.key_file.read_bytes())
    except (OSError, ValueError):
        key = ec.generate_private_key(ec.SECP256R1())
        write_durably(identity.key_file, private_key_pem(key))
    pem = authority.issue(identity.role, identity.id, names, key.public_key())
    write_durably(identity.cert_file, pem.encode("ascii"), mode=0o644)


def _fault(identity: Identity, wanted: set[x509.GeneralName], now: datetime) -> str:
    """Return why the files of `identity` are not valid, as a clause for a message; empty when they are."""
    try:
        certificate = x509.load_pem_x509_certificate(identity.cert_file.read_bytes())
        authorities = TrustedAuthorities(tuple(parse_certificates(identity.ca_file.read_bytes())))
        key = load_key(identity.key_file.read_bytes())
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (OSError, ValueError, TypeError) as error:
        return f"its files in {identity.cert_file.parent} cannot be read ({error})"
    if authorities.issuer_of(certificate) is None:
        return f"{identity.cert_file} is from an authority that {identity.ca_file} does not have"
    if certificate.public_key() != key.public_key():
        return f"{identity.cert_file} and {identity.key_file.name} do not belong together"
    if certificate.not_valid_after_utc <= now:
        return f"its certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    missing = wanted - set(_alternative_names(certificate))
    if missing:
        return f"its certificate lacks the host name {', '.join(sorted(str(name.value) for name in missing))}"
    return "" if identity.peer_token else f"{_token_file(identity)} is missing"


def _outdated(identity: Identity, authority: CertificateAuthority) -> str:
    """Return why a valid certificate is replaced: the authority that issued it is, too. Empty when it is not."""
    certificate = x509.load_pem_x509_certificate(identity.cert_file.read_bytes())
    if is_signed_by(certificate, authority.issuer_for(identity.role).certificate):
        return ""
    return f"{identity.cert_file} is from an authority that is being replaced"


def _alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _hosts_of(identity: Identity) -> list[str]:
    """Return the names in its certificate, so that a new one keeps them."""
    try:
        certificate = x509.load_pem_x509_certificate(identity.cert_file.read_bytes())
    except (OSError, ValueError):
        return []
    return [str(name.value) for name in _alternative_names(certificate)]


def _time_left(identity: Identity, now: datetime) -> timedelta:
    certificate = x509.load_pem_x509_certificate(identity.cert_file.read_bytes())
    return certificate.not_valid_after_utc - now


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
