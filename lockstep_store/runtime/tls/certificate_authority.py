"""The cluster's own certificate authority, which issues certificates and peer tokens.

It exists only on the directory's machine, in `certs/authority/`. Its callers decide which program may have a
certificate (with a join token, or on this machine); `lockstep_store.runtime.tls.identity` stores what it issues.

A peer token is `role.id.generation.mac`, where mac is the hex of BLAKE3 keyed with the authority's 32-byte peer key
over `lockstep peer token v2`, a zero byte, and `role.id.generation`. Neither a role nor an id may contain a dot. Tokens
of an ended generation (see `program_registry`) and of a retired authority are void.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeGuard, get_args

from blake3 import blake3
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from lockstep_store.runtime.storage.sealing import one_program_at_a_time, write_durably
from lockstep_store.runtime.tls.authorities import TrustedAuthorities, adopted, pem_of
from lockstep_store.runtime.tls.authority_keys import (
    CLOCK_SKEW,
    Authority,
    AuthorityKeys,
    create_files,
    has_peer_key,
    key_file,
    key_usage,
    subject_name,
)
from lockstep_store.runtime.tls.host_names import host_names, local_hosts
from lockstep_store.runtime.tls.program_registry import ProgramRegistry
from lockstep_store.runtime.tls.revocation import RevocationList, make_list, split_lists
from lockstep_store.wire.errors import BadRequest, PeerRefused, SetupError
from lockstep_store.wire.messages.authorities import TrustNews

Role = Literal["directory_server", "file_server", "client_proxy"]
ROLES: tuple[Role, ...] = get_args(Role)

CERTIFICATE_LIFETIME = timedelta(days=90)

_PEER_TOKEN_DOMAIN = b"lockstep peer token v2\0"
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_GENERATION = re.compile(r"[1-9][0-9]{0,8}")


def utc_now() -> datetime:
    """Return the wall clock, by which certificates are issued and verified everywhere."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class PeerIdentity:
    """A program authenticated by its peer token."""

    role: Role
    id: str
    generation: int = 1
    by_old_authority: bool = field(default=False, compare=False)
    """Its token is valid, but not of the authority that makes new ones."""


def is_role(text: str) -> TypeGuard[Role]:
    """Whether `text` is the role of a program; an administrator is a person and has none."""
    return text in ROLES


def check_program(role: str, id: str) -> None:
    """Raise BadRequest unless `role` exists and `id` is 1 to 32 letters, digits, `_` or `-`."""
    if not is_role(role):
        raise BadRequest(f"{role[:40]!r} is not a role of a program: use one of {', '.join(ROLES)}")
    if not _ID.fullmatch(id):
        raise BadRequest(f"{id[:40]!r} is not a program id: use 1 to 32 letters, digits, '_' or '-'")


class CertificateAuthority:
    """Signs certificates and peer tokens. Its secrets never appear in `repr`. Thread-safe."""

    def __init__(self, folder: Path, keys: AuthorityKeys, now: Callable[[], datetime] = utc_now) -> None:
        self._folder = folder
        self._keys = keys
        self.now = now
        self.programs = ProgramRegistry(folder)
        self._ended = {(one.role, one.id): one.ended for one in self.programs.all() if one.ended}
        """The highest ended generation of each program that was removed. Only the directory's process ends any."""

    def __repr__(self) -> str:
        return f"CertificateAuthority({self.certificate.subject.rfc4514_string()!r})"

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether the authority of the certs folder `folder` is on this machine and complete."""
        return key_file(folder).exists() and has_peer_key(folder) and (folder / "ca.pem").exists()

    @classmethod
    def create(cls, folder: Path, now: Callable[[], datetime] = utc_now) -> CertificateAuthority:
        """Load the authority in `folder`, or create it. Several programs may call this at once.

        A creation interrupted by a crash continues with the keys it left. Raises SetupError when the folder has the
        certificate of another machine's authority: a second authority would split the cluster.
        """
        with one_program_at_a_time(folder / ".authority.lock"):
            if not cls.exists(folder):
                create_files(folder, now())
        return cls.load(folder, now)

    @classmethod
    def load(cls, folder: Path, now: Callable[[], datetime] = utc_now) -> CertificateAuthority:
        """Load the authority in `folder`; raises SetupError when it is missing, damaged or expired."""
        try:
            keys = AuthorityKeys.load(folder)
            trusted = TrustedAuthorities.load(folder / "ca.pem") if (folder / "ca.pem").exists() else None
        except FileNotFoundError as error:
            raise SetupError(
                f"this machine has no certificate authority ({error.filename} is missing): start the "
                "directory server here, or run `lockstep join TOKEN` with a token from its machine"
            ) from error
        except (OSError, ValueError) as error:
            raise SetupError(
                f"cannot read the certificate authority in {folder} ({error}): restore it from a backup"
            ) from error
        own = [one.certificate for one in keys.authorities]
        if trusted is not None and not adopted(trusted.certificates, own, keys.links):
            raise SetupError(
                f"the files of the certificate authority in {folder} do not match one another: restore them"
            )
        certificate = keys.issuing.certificate
        if certificate.not_valid_after_utc <= now():
            raise SetupError(
                f"the authority in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: "
                "remove ca.pem there, start the directory again, and join every other machine again"
            )
        authority = cls(folder, keys, now)
        authority._publish()
        return authority

    # ------------------------------------------------------------ the rotation of the authority

    @property
    def keys(self) -> AuthorityKeys:
        """The authorities that are trusted."""
        return self._keys

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the authority that issues certificates."""
        return self._keys.issuing.certificate

    @property
    def ca_pem(self) -> str:
        """The certificates that clients must trust, the one that issues first: the content of `ca.pem`."""
        return self._keys.ca_pem

    def introduce(self) -> None:
        """Make the next authority, which issues nothing yet. Conflict while one is being replaced."""
        self._change(lambda keys: keys.introduce(self.now()))

    def promote(self) -> None:
        """Let the next authority issue certificates, if there is one."""
        self._change(AuthorityKeys.promote)

    def retire(self, id: str) -> None:
        """Delete an old authority's keys. NotFound for an unknown id, Conflict for any but an old authority."""
        self._change(lambda keys: keys.retire(id))

    def forget_retired(self) -> None:
        """Stop trusting the authorities that were retired."""
        self._change(AuthorityKeys.forget)

    def trust_news(self) -> TrustNews:
        """What programs must trust."""
        return TrustNews(self.ca_pem, self._keys.links_pem, self.programs.crl_file.read_text("ascii"))

    def issuer_for(self, role: str) -> Authority:
        """Return the authority that issues certificates for programs of a role.

        The directory keeps one of the oldest: a program that was away during the whole rotation asks it first.
        """
        return self._keys.oldest if role == "directory_server" else self._keys.issuing

    def _change(self, step: Callable[[AuthorityKeys], AuthorityKeys]) -> None:
        """Take a step of a rotation, durably. What was published before is published again after a crash."""
        with one_program_at_a_time(self._folder / ".authority.lock"):
            try:
                keys = step(AuthorityKeys.load(self._folder))
            except (OSError, ValueError) as error:
                raise SetupError(f"cannot read the certificate authority in {self._folder} ({error})") from error
            keys.save(self._folder)
            self._keys = keys
        self._publish()

    def _publish(self) -> None:
        """Write the public files from the keys, unless they are up to date. The revocation list comes first: TLS
        refuses all certificates of a trusted authority whose list is missing."""
        with one_program_at_a_time(self._folder / ".authority.lock"):
            keys = self._keys = AuthorityKeys.load(self._folder)
            revoked = _stored_list(self._folder, keys)
            signers = 0 if revoked is None else revoked.signers
            number = -1 if revoked is None else revoked.number
            published = keys.is_published(self._folder)
            if not published or signers < len(keys.authorities):
                self.programs.count_list()
            if not published or signers < len(keys.authorities) or number < self.programs.revoked(self.now())[0]:
                self.write_revocation_list()
            if not published:
                keys.publish(self._folder)

    def derive_keys(self, context: str) -> dict[str, bytes]:
        """Return a key of 32 bytes for `context` by each authority that is not retired, by its id, the issuing one's
        first. Each authority's is the same each time, and no other machine can make it."""
        return {
            one.id: blake3(one.peer_key, derive_key_context=context).digest()
            for one in self._keys.authorities
            if one.peer_key is not None
        }

    def issue(self, role: str, id: str, hosts: Iterable[str], public_key: ec.EllipticCurvePublicKey) -> str:
        """Issue a certificate (PEM) for a program's key, valid for 90 days, as server and as client.

        It has `hosts` and this machine's own names. Raises BadRequest for an invalid role, id or host.
        """
        check_program(role, id)
        return self._certify(role, id, host_names([*local_hosts(), *hosts]), public_key)

    def sign_request(self, csr_pem: str, role: str, id: str, hosts: Iterable[str], *, is_renewal: bool = False) -> str:
        """Issue a certificate (PEM) for another machine's signing request.

        Only the key is taken from the request. The names are `role`, `id` and `hosts`, which the caller has verified,
        and localhost. Raises BadRequest for a request that is malformed or not signed by its own key, PeerRefused for a
        renewal with another key.
        """
        check_program(role, id)
        public_key = self.check_request(csr_pem)
        names = host_names(["localhost", "127.0.0.1", "::1", *hosts])
        return self._certify(role, id, names, public_key, is_renewal=is_renewal)

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
            lists = [
                _last_list(self.programs.crl_file, one)
                if one.key is None
                else make_list(one.certificate, one.key, number, serials, self.now())
                for one in self._keys.authorities
            ]
            write_durably(self.programs.crl_file, "".join(lists).encode("ascii"), mode=0o644)

    def _certify(
        self,
        role: str,
        id: str,
        names: list[x509.GeneralName],
        public_key: ec.EllipticCurvePublicKey,
        *,
        is_renewal: bool = False,
    ) -> str:
        _check_curve(public_key)
        keys, issuer = self._keys, self.issuer_for(role)
        if issuer.key is None:
            raise SetupError(f"the key of the certificate authority {issuer.id} is missing: restore it from a backup")
        now, serial = self.now(), x509.random_serial_number()
        until = min(now + CERTIFICATE_LIFETIME, issuer.certificate.not_valid_after_utc)
        issuer_id = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject_name(f"{role}-{id}"))
            .issuer_name(issuer.certificate.subject)
            .public_key(public_key)
            .serial_number(serial)
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        )
        certificate = builder.sign(issuer.key, hashes.SHA256())
        key = blake3(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
        self.programs.note_certificate(role, id, serial, until, now, key, is_renewal=is_renewal)
        # People's clients may know only an older authority; programs learn of a new one before it issues anything.
        older = [keys.link(one, issuer) for one in keys.authorities] if role == "client_proxy" else []
        return pem_of([certificate, *(link for link in older if link is not None)])

    def peer_token(self, role: str, id: str, generation: int = 1) -> str:
        """Return the token that proves to the directory that a program is `role` number `id`."""
        check_program(role, id)
        key = self._keys.issuing.peer_key
        if key is None:
            raise SetupError("the key of peer tokens is missing: restore the authority's folder from a backup")
        return _made_with(key, role, id, generation)

    def verify_peer_token(self, token: str) -> PeerIdentity:
        """Return whose token this is. PeerRefused if no authority made it that is still trusted, or its generation has
        ended.

        The comparison takes constant time.
        """
        words = token.split(".")
        role, id, number, _ = words if len(words) == 4 else ("", "", "", "")
        if not is_role(role) or not _ID.fullmatch(id) or not _GENERATION.fullmatch(number):
            raise PeerRefused("the peer token is malformed: run `lockstep join TOKEN` on that machine again")
        generation = int(number)
        shown, keys = token.encode("utf-8", "surrogatepass"), self._keys
        makers = [
            one
            for one in keys.authorities
            if one.peer_key is not None
            and hmac.compare_digest(_made_with(one.peer_key, role, id, generation).encode(), shown)
        ]
        if not makers:
            raise PeerRefused(
                f"the peer token of {role} {id} is from another cluster, or from an authority that was retired: run "
                "`lockstep join TOKEN` there again"
            )
        if generation <= self._ended.get((role, id), 0):
            raise PeerRefused(
                f"{role} {id} was removed from the cluster: stop it; to bring it back, invite it again", removed=True
            )
        return PeerIdentity(role, id, generation, by_old_authority=keys.issuing not in makers)


def _made_with(key: bytes, role: str, id: str, generation: int) -> str:
    words = f"{role}.{id}.{generation}"
    return f"{words}.{blake3(_PEER_TOKEN_DOMAIN + words.encode(), key=key).hexdigest()}"


def _check_curve(key: ec.EllipticCurvePublicKey) -> None:
    if not isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1)):
        raise BadRequest(f"a program's key must be on curve P-256 or P-384, not {key.curve.name}")


def _stored_list(folder: Path, keys: AuthorityKeys) -> RevocationList | None:
    """The stored revocation list; None when there is none that can be used."""
    try:
        return RevocationList.parse((folder / "revoked.pem").read_text("ascii"), keys.ca_pem.encode("ascii"))
    except (SetupError, OSError):
        return None


def _last_list(file: Path, authority: Authority) -> str:
    """The list that an authority signed before its key was deleted; empty when there is none."""
    own = pem_of([authority.certificate]).encode("ascii")
    for block in split_lists(file.read_text("ascii")) if file.exists() else []:
        with suppress(SetupError):
            return RevocationList.parse(block.decode("ascii"), own).pem
    return ""
