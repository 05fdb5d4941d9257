"""The authority's keys on disk, and the steps of a rotation: `introduce`, `promote`, `retire`, `forget`.

`authority/ca.key` has a private key, or after a rotation, for each authority: the key, its peer key and its
certificate, the one that issues first, and at last the links (see `authorities`). The file is replaced as a whole, so
each step is done or not, whenever a program is killed; `ca.pem`, `ca-links.pem` and the revocation list are made from
it, again after a crash. `authority/peer.key` has the peer key until the first rotation.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lockstep_store.runtime.storage.durable_files import write_durably
from lockstep_store.runtime.tls.authorities import authority_id, is_signed_by, load_links, parse_links, pem_of
from lockstep_store.wire.errors import Conflict, NotFound, SetupError

AUTHORITY_LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(days=1)
PEER_KEY_BYTES = 32

_PEER_KEY = b"LOCKSTEP PEER KEY"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)


@dataclass(frozen=True)
class Authority:
    """A certificate authority. Without a `key` it is retired, and signs nothing any more."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None = field(repr=False)
    peer_key: bytes | None = field(repr=False)
    """Makes peer tokens, and the key that seals redo records; replaced and deleted with the authority's own key."""

    @property
    def id(self) -> str:
        return authority_id(self.certificate)


@dataclass(frozen=True)
class AuthorityKeys:
    """The trusted authorities, the one that issues certificates first, and the links of all rotations."""

    authorities: tuple[Authority, ...]
    links: tuple[x509.Certificate, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> AuthorityKeys:
        """Load the keys of the certs folder `folder`. OSError or ValueError when they cannot be read."""
        return _parse(key_file(folder).read_bytes(), folder)

    @property
    def issuing(self) -> Authority:
        """The authority that issues programs' certificates."""
        return self.authorities[0]

    @property
    def oldest(self) -> Authority:
        """The authority that every member of the cluster trusts, however long it was away."""
        for one in self.authorities:
            if one.key is not None and not any(self.link(other, one) for other in self.authorities):
                return one
        return self.issuing

    @property
    def next(self) -> Authority | None:
        """The authority that programs learn to trust, and that issues nothing yet."""
        return next((one for one in self.authorities[1:] if self.link(self.issuing, one)), None)

    def link(self, old: Authority, new: Authority) -> x509.Certificate | None:
        """Return the certificate of `new`'s key by `old`."""
        for link in self.links:
            of_new = old is not new and link.public_key() == new.certificate.public_key()
            if of_new and is_signed_by(link, old.certificate):
                return link
        return None

    def find(self, id: str) -> Authority:
        """Raises NotFound for an unknown id."""
        for one in self.authorities:
            if one.id == id:
                return one
        raise NotFound(f"there is no certificate authority {id[:40]!r}: `lockstep certs authorities` lists them")

    @property
    def ca_pem(self) -> str:
        return pem_of(one.certificate for one in self.authorities)

    @property
    def links_pem(self) -> str:
        return pem_of(self.links)

    # ------------------------------------------------------------ the steps of a rotation

    def introduce(self, now: datetime) -> AuthorityKeys:
        """Make another authority, which issues nothing yet. Conflict while one is being replaced."""
        if len(self.authorities) > 1:
            other = self.authorities[1]
            raise Conflict(
                f"a rotation is under way (authority {other.id}): finish it with `lockstep certs retire-ca` first"
            )
        old = self.issuing
        if old.key is None:
            raise Conflict(f"the key of authority {old.id} is missing")
        key = ec.generate_private_key(ec.SECP256R1())
        new = Authority(self_signed(key, now), key, secrets.token_bytes(PEER_KEY_BYTES))
        link = _sign_authority(
            new.certificate.subject,
            key.public_key(),
            old.certificate.subject,
            old.key,
            old.certificate.not_valid_before_utc,
            old.certificate.not_valid_after_utc,
            path_length=0,
        )
        return AuthorityKeys((old, new), (*self.links, link))

    def promote(self) -> AuthorityKeys:
        """Let the next authority issue certificates."""
        new = self.next
        return self if new is None else replace(self, authorities=(new, self.issuing))

    def retire(self, id: str) -> AuthorityKeys:
        """Delete an old authority's keys; its certificates are still accepted. Conflict for any but an old one."""
        old = self.find(id)
        if old is self.issuing:
            raise Conflict(f"authority {id} issues the certificates: rotate first (lockstep certs rotate-ca)")
        if old is self.next:
            raise Conflict(f"authority {id} is the next one: wait until all programs trust it")
        return replace(self, authorities=(self.issuing, replace(old, key=None, peer_key=None)))

    def forget(self) -> AuthorityKeys:
        """Stop trusting the authorities without a key."""
        return replace(self, authorities=tuple(one for one in self.authorities if one.key is not None))

    # ------------------------------------------------------------ files

    def save(self, folder: Path) -> None:
        """Write the keys, durably. The public files are `publish`ed after it."""
        blocks = []
        for one in self.authorities:
            blocks += [private_key_pem(one.key)] if one.key is not None else []
            blocks += [_peer_key_block(one.peer_key)] if one.peer_key is not None else []
            blocks.append(pem_of([one.certificate]).encode("ascii"))
        write_durably(key_file(folder), b"".join(blocks) + self.links_pem.encode("ascii"))

    def is_published(self, folder: Path) -> bool:
        """Whether the other files match `ca.key`."""
        if peer_key_file(folder).exists() and _PEER_KEY in key_file(folder).read_bytes():
            return False
        return (folder / "ca.pem").read_text("ascii") == self.ca_pem and load_links(folder) == self.links_pem

    def publish(self, folder: Path) -> None:
        """Write the public files, durably, and delete the first peer key's once that is in `ca.key`."""
        if self.links:
            write_durably(folder / "ca-links.pem", self.links_pem.encode("ascii"), mode=0o644)
        write_durably(folder / "ca.pem", self.ca_pem.encode("ascii"), mode=0o644)
        if _PEER_KEY in key_file(folder).read_bytes():
            peer_key_file(folder).unlink(missing_ok=True)


def key_file(folder: Path) -> Path:
    return folder / "authority" / "ca.key"


def peer_key_file(folder: Path) -> Path:
    return folder / "authority" / "peer.key"


def has_peer_key(folder: Path) -> bool:
    """Whether the authority in the certs folder `folder` has a peer key, in either file."""
    file = key_file(folder)
    return peer_key_file(folder).exists() or (file.exists() and _PEER_KEY in file.read_bytes())


def _peer_key_block(key: bytes) -> bytes:
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (_PEER_KEY, base64.b64encode(key), _PEER_KEY)


def _peer_key_of(block: bytes) -> bytes:
    return base64.b64decode(b"".join(block.split(b"\n")[1:2]), validate=True)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS #8, which every TLS library in use can read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """Make an authority's own certificate."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    # Two authorities need different names: otherwise OpenSSL reports a bad signature, not a wrong issuer, and the
    # runner checks a certificate against the other one's revocation list.
    name = subject_name(f"Lockstep cluster CA {digest[:8]}")
    # A path length of 1 leaves room for the link of the next rotation.
    return _sign_authority(name, key.public_key(), name, key, now - CLOCK_SKEW, now + AUTHORITY_LIFETIME, path_length=1)


def vouches(certificate: x509.Certificate) -> bool:
    """Whether clients that trust only this authority follow its link to another one."""
    length = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    return length is None or length > 0


def subject_name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lockstep"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def key_usage(signs_certificates: bool) -> x509.KeyUsage:
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


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the private key in `pem`. ValueError unless it is an elliptic-curve key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not an elliptic-curve key")
    return key


def _sign_authority(
    name: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime,
    ends: datetime,
    *,
    path_length: int,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _parse(content: bytes, folder: Path) -> AuthorityKeys:
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(content)]
    keys = [load_key(pem) for kind, pem in blocks if kind not in (b"CERTIFICATE", _PEER_KEY)]
    peer_keys = [_peer_key_of(pem) for kind, pem in blocks if kind == _PEER_KEY]
    certificates = [x509.load_pem_x509_certificate(pem) for kind, pem in blocks if kind == b"CERTIFICATE"]
    if not peer_keys and peer_key_file(folder).exists():
        peer_keys = [bytes.fromhex(peer_key_file(folder).read_text("ascii").strip())] * len(keys)
    if not keys:
        raise ValueError(f"{key_file(folder).name} has no key")
    if not certificates:  # as made at first: the certificate is in ca.pem alone
        certificates = [x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())]
        if certificates[0].public_key() != keys[0].public_key():
            raise SetupError(
                f"the files of the certificate authority in {folder} do not match one another: restore them"
            )
        return AuthorityKeys(tuple(_with_keys(certificates, keys, peer_keys)), tuple(parse_links(load_links(folder))))
    own = [one for one in certificates if one.issuer == one.subject]
    links = [one for one in certificates if one.issuer != one.subject]
    return AuthorityKeys(tuple(_with_keys(own, keys, peer_keys)), tuple(links))


def _with_keys(
    certificates: list[x509.Certificate], keys: list[ec.EllipticCurvePrivateKey], peer_keys: list[bytes]
) -> Iterable[Authority]:
    if len(peer_keys) != len(keys) or any(len(one) != PEER_KEY_BYTES for one in peer_keys):
        raise ValueError("its peer keys are missing or damaged")
    for certificate in certificates:
        found = (one for one in zip(keys, peer_keys, strict=True) if one[0].public_key() == certificate.public_key())
        yield Authority(certificate, *next(found, (None, None)))


def create_files(folder: Path, now: datetime) -> None:
    """Make the files of a new authority, or those of a creation that was interrupted. Call it under its lock.

    SetupError when the folder has the certificate of another machine's authority.
    """
    peer_key, certificate_file = peer_key_file(folder), folder / "ca.pem"
    if certificate_file.exists() and not key_file(folder).exists():
        raise SetupError(
            f"{certificate_file} belongs to a certificate authority on another machine: start the directory "
            "server there, or give this one its own empty data folder"
        )
    peer_key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    peer_key.parent.chmod(0o700)
    if not has_peer_key(folder):
        write_durably(peer_key, secrets.token_hex(PEER_KEY_BYTES).encode() + b"\n")
    if not key_file(folder).exists():
        write_durably(key_file(folder), private_key_pem(ec.generate_private_key(ec.SECP256R1())))
    if not certificate_file.exists():
        try:
            key = load_key(key_file(folder).read_bytes())
        except ValueError as error:
            raise SetupError(f"{key_file(folder)} is damaged ({error}): restore it from a backup") from error
        _publish_first(folder, key, now)


def _publish_first(folder: Path, key: ec.EllipticCurvePrivateKey, now: datetime) -> None:
    """Write `ca.pem` with the certificates in the key file, or with a new one if there is none or it has expired."""
    with suppress(OSError, ValueError):
        keys = AuthorityKeys.load(folder)
        if keys.issuing.certificate.not_valid_after_utc > now:
            keys.publish(folder)
            return
        # It certifies the same key again, so a rotation that was under way is over: all join again anyway.
        keys = AuthorityKeys((Authority(self_signed(key, now), key, keys.issuing.peer_key),), keys.links)
        keys.save(folder)
        keys.publish(folder)
        return
    write_durably(folder / "ca.pem", pem_of([self_signed(key, now)]).encode("ascii"), mode=0o644)
