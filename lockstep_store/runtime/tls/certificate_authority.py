"""The cluster's own certificate authority, which issues certificates and peer tokens.

It exists only on the directory's machine, in `certs/authority/`. Its callers decide which program may have a
certificate (with a join token, or on this machine); `lockstep_store.runtime.tls.identity` stores what it issues.

A peer token is `role.id.generation.mac`, where mac is the hex of BLAKE3 keyed with the 32-byte peer key over
`lockstep peer token v2`, a zero byte, and `role.id.generation`. Neither a role nor an id may contain a dot. Tokens of
an ended generation (see `program_registry`) are void.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeGuard, get_args

from blake3 import blake3
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lockstep_store.runtime.storage.sealing import one_program_at_a_time, write_durably
from lockstep_store.runtime.tls.program_registry import ProgramRegistry
from lockstep_store.runtime.tls.revocation import RevocationList, make_list
from lockstep_store.wire.errors import BadRequest, PeerRefused, SetupError

Role = Literal["directory_server", "file_server", "client_proxy"]
ROLES: tuple[Role, ...] = get_args(Role)

AUTHORITY_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=90)
CLOCK_SKEW = timedelta(days=1)
MAX_HOSTS = 32

_PEER_TOKEN_DOMAIN = b"lockstep peer token v2\0"
_PEER_KEY_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_GENERATION = re.compile(r"[1-9][0-9]{0,8}")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")


def utc_now() -> datetime:
    """Return the wall clock, by which certificates are issued and verified everywhere."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class PeerIdentity:
    """A program authenticated by its peer token."""

    role: Role
    id: str
    generation: int = 1


def is_role(text: str) -> TypeGuard[Role]:
    """Whether `text` is the role of a program; an administrator is a person and has none."""
    return text in ROLES


def check_program(role: str, id: str) -> None:
    """Raise BadRequest unless `role` exists and `id` is 1 to 32 letters, digits, `_` or `-`."""
    if not is_role(role):
        raise BadRequest(f"{role[:40]!r} is not a role of a program: use one of {', '.join(ROLES)}")
    if not _ID.fullmatch(id):
        raise BadRequest(f"{id[:40]!r} is not a program id: use 1 to 32 letters, digits, '_' or '-'")


def host_names(hosts: Iterable[str] = ()) -> list[x509.GeneralName]:
    """Return `hosts` as certificate names: IP addresses and DNS names, which may begin with `*.`.

    Raises BadRequest for anything else.
    """
    distinct = list(dict.fromkeys(host.strip() for host in hosts))
    if len(distinct) > MAX_HOSTS:
        raise BadRequest(f"too many host names: {len(distinct)}, but a certificate may have at most {MAX_HOSTS}")
    return list(dict.fromkeys(_host_name(host) for host in distinct))


def local_hosts() -> list[str]:
    """Return the names under which programs on this machine can reach one another."""
    name = socket.gethostname()
    return ["localhost", "127.0.0.1", "::1", *([name] if _DNS_NAME.fullmatch(name) else [])]


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    name = host.removeprefix("*.")
    if not _DNS_NAME.fullmatch(name) or (name != host and "." not in name):  # no client takes a *.org
        raise BadRequest(f"{host[:80]!r} is not an IP address or host name: leave out scheme and port")
    return x509.DNSName(host.lower())


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS #8, which every TLS library in use can read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class CertificateAuthority:
    """Signs certificates and peer tokens. Its secrets never appear in `repr`."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)
    _peer_key: bytes = field(repr=False)
    programs: ProgramRegistry = field(repr=False)
    now: Callable[[], datetime] = field(default=utc_now, repr=False)
    _ended: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    """The highest ended generation of each program that was removed. Only the directory's process ends any."""

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether the authority of the certs folder `folder` is on this machine and complete."""
        return all(file.exists() for file in (_key_file(folder), _peer_key_file(folder), folder / "ca.pem"))

    @classmethod
    def create(cls, folder: Path, now: Callable[[], datetime] = utc_now) -> CertificateAuthority:
        """Load the authority in `folder`, or create it. Several programs may call this at once.

        A creation interrupted by a crash continues with the keys it left. Raises SetupError when the folder has the
        certificate of another machine's authority: a second authority would split the cluster.
        """
        with one_program_at_a_time(folder / ".authority.lock"):
            if not cls.exists(folder):
                _create_files(folder, now())
        return cls.load(folder, now)

    @classmethod
    def load(cls, folder: Path, now: Callable[[], datetime] = utc_now) -> CertificateAuthority:
        """Load the authority in `folder`; raises SetupError when it is missing, damaged or expired."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = _load_key(_key_file(folder))
            peer_key = bytes.fromhex(_peer_key_file(folder).read_text("ascii").strip())
        except FileNotFoundError as error:
            raise SetupError(
                f"this machine has no certificate authority ({error.filename} is missing): start the "
                "directory server here, or run `lockstep join TOKEN` with a token from its machine"
            ) from error
        except (OSError, ValueError) as error:
            raise SetupError(
                f"cannot read the certificate authority in {folder} ({error}): restore it from a backup"
            ) from error
        if certificate.public_key() != key.public_key() or len(peer_key) != _PEER_KEY_BYTES:
            raise SetupError(
                f"the files of the certificate authority in {folder} do not match one another: restore them"
            )
        if certificate.not_valid_after_utc <= now():
            raise SetupError(
                f"the authority in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: "
                "remove ca.pem there, start the directory again, and join every other machine again"
            )
        programs = ProgramRegistry(folder)
        ended = {(one.role, one.id): one.ended for one in programs.all() if one.ended}
        authority = cls(certificate, key, peer_key, programs, now, ended)
        if _list_number(folder) < authority.programs.revoked(now())[0]:
            authority.write_revocation_list()  # a crash came between the two files
        return authority

    @property
    def ca_pem(self) -> str:
        """The authority's own certificate, which clients must trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def derive_key(self, context: str) -> bytes:
        """Return a key of 32 bytes for `context`, the same each time, which no other machine can make."""
        return blake3(self._peer_key, derive_key_context=context).digest()

    def issue(self, role: str, id: str, hosts: Iterable[str], public_key: ec.EllipticCurvePublicKey) -> str:
        """Issue a certificate (PEM) for a program's key, valid for 90 days, as server and as client.

        It has `hosts` and this machine's own names. Raises BadRequest for an invalid role, id or host.
        """
        check_program(role, id)
        return self._certify(role, id, host_names([*local_hosts(), *hosts]), public_key)

    def sign_request(self, csr_pem: str, role: str, id: str, hosts: Iterable[str]) -> str:
        """Issue a certificate (PEM) for another machine's signing request.

        Only the key is taken from the request. The names are `role`, `id` and `hosts`, which the caller has verified,
        and localhost. Raises BadRequest for a request that is malformed or not signed by its own key.
        """
        check_program(role, id)
        public_key = self.check_request(csr_pem)
        return self._certify(role, id, host_names(["localhost", "127.0.0.1", "::1", *hosts]), public_key)

    def check_request(self, csr_pem: str) -> ec.EllipticCurvePublicKey:
        """Return the key of a signing request; BadRequest when it is malformed or not signed by its own key."""
        try:
            request = x509.load_pem_x509_csr(csr_pem.encode("ascii"))
            public_key = request.public_key()
            signed = request.is_signature_valid
        except (ValueError, InvalidSignature) as error:
            raise BadRequest("the certificate request is malformed: join again") from error
        if not signed or not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise BadRequest("the certificate request is not signed by its own elliptic-curve key")
        _check_curve(public_key)
        return public_key

    def revoke(self, role: str, id: str) -> None:
        """End a program's membership: its token and its certificates are void. Durable on return, safe to repeat.

        Raises NotFound for a program that never was a member.
        """
        self.programs.end(role, id)
        program = self.programs.find(role, id)
        if program is not None:
            self._ended[role, id] = program.ended
        self.write_revocation_list()

    def revocations(self) -> RevocationList:
        """The signed list of revoked certificates."""
        return RevocationList.parse(self.programs.crl_file.read_text("ascii"), self.ca_pem.encode("ascii"))

    def write_revocation_list(self) -> None:
        """Write the list of revoked certificates again from the list of programs; durable on return."""
        with one_program_at_a_time(self.programs.crl_file.with_name(".revoked.lock")):
            number, serials = self.programs.revoked(self.now())
            pem = make_list(self.certificate, self._key, number, serials, self.now())
            write_durably(self.programs.crl_file, pem.encode("ascii"), mode=0o644)

    def _certify(self, role: str, id: str, names: list[x509.GeneralName], public_key: ec.EllipticCurvePublicKey) -> str:
        _check_curve(public_key)
        now, serial = self.now(), x509.random_serial_number()
        until = min(now + CERTIFICATE_LIFETIME, self.certificate.not_valid_after_utc)
        issuer_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(f"{role}-{id}"))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(serial)
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self.programs.note_certificate(role, id, serial, until, now)
        return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def peer_token(self, role: str, id: str, generation: int = 1) -> str:
        """Return the token that proves to the directory that a program is `role` number `id`."""
        check_program(role, id)
        return f"{role}.{id}.{generation}.{self._mac(role, id, generation)}"

    def verify_peer_token(self, token: str) -> PeerIdentity:
        """Return whose token this is. PeerRefused if this authority did not create it, or its generation has ended.

        The comparison takes constant time.
        """
        words = token.split(".")
        role, id, number, mac = words if len(words) == 4 else ("", "", "", "")
        if not is_role(role) or not _ID.fullmatch(id) or not _GENERATION.fullmatch(number):
            raise PeerRefused("the peer token is malformed: run `lockstep join TOKEN` on that machine again")
        generation = int(number)
        if not hmac.compare_digest(self._mac(role, id, generation).encode(), mac.encode("utf-8", "surrogatepass")):
            raise PeerRefused(
                f"the peer token of {role} {id} is from another cluster: run `lockstep join TOKEN` there again"
            )
        if generation <= self._ended.get((role, id), 0):
            raise PeerRefused(
                f"{role} {id} was removed from the cluster: stop it; to bring it back, invite it again", removed=True
            )
        return PeerIdentity(role, id, generation)

    def _mac(self, role: str, id: str, generation: int) -> str:
        return blake3(_PEER_TOKEN_DOMAIN + f"{role}.{id}.{generation}".encode(), key=self._peer_key).hexdigest()


def _check_curve(key: ec.EllipticCurvePublicKey) -> None:
    if not isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1)):
        raise BadRequest(f"a program's key must be on curve P-256 or P-384, not {key.curve.name}")


def _list_number(folder: Path) -> int:
    """The number of the stored revocation list; -1 when there is none that can be used."""
    try:
        return RevocationList.load(folder).number
    except (SetupError, OSError):
        return -1


def _key_file(folder: Path) -> Path:
    return folder / "authority" / "ca.key"


def _peer_key_file(folder: Path) -> Path:
    return folder / "authority" / "peer.key"


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{file.name} is not an elliptic-curve key")
    return key


def _create_files(folder: Path, now: datetime) -> None:
    key_file, peer_key_file, certificate_file = _key_file(folder), _peer_key_file(folder), folder / "ca.pem"
    if certificate_file.exists() and not key_file.exists():
        raise SetupError(
            f"{certificate_file} belongs to a certificate authority on another machine: start the directory "
            "server there, or give this one its own empty data folder"
        )
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file.parent.chmod(0o700)
    if not peer_key_file.exists():
        write_durably(peer_key_file, secrets.token_hex(_PEER_KEY_BYTES).encode() + b"\n")
    if not key_file.exists():
        write_durably(key_file, private_key_pem(ec.generate_private_key(ec.SECP256R1())))
    if not certificate_file.exists():
        try:
            key = _load_key(key_file)
        except ValueError as error:
            raise SetupError(f"{key_file} is damaged ({error}): restore it from a backup") from error
        write_durably(certificate_file, _self_signed(key, now), mode=0o644)


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Two clusters' authorities need different names: otherwise OpenSSL reports a bad signature, not a wrong issuer.
    name = _name(f"Lockstep cluster CA {key_id.digest.hex()[:8]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lockstep"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
