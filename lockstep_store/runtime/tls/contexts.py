"""TLS for clients: contexts, certificate details, and a verified handshake.

Clients trust only the cluster's own authority, never the system's certificates, and never disable a check. Between
programs both sides present a certificate over TLS 1.3. The runner serves TLS;
`lockstep_store.runtime.tls.certificate_authority` issues certificates.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from OpenSSL.crypto import X509

from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.tls.certificate_authority import utc_now
from lockstep_store.runtime.tls.identity import Identity
from lockstep_store.wire.errors import PeerRefused, PeerUnreachable, SetupError

HANDSHAKE_SECONDS = 5.0
VERDICT_SECONDS = 1.0
_CONTEXTS_KEPT = 16

_Stamp = tuple[tuple[str, int, int], ...]


class _Contexts:
    """Caches contexts by their files, because parsing certificates costs as much as a handshake.

    The key includes the files' times, so the next caller uses a renewed certificate.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._made: BoundedMap[_Stamp, ssl.SSLContext] = BoundedMap(_CONTEXTS_KEPT)

    def get(self, ca_file: Path, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
        revoked = ca_file.with_name("revoked.pem")
        is_program = cert_file is not None and revoked.exists()
        stamp = _stamp([file for file in (ca_file, cert_file, key_file, revoked if is_program else None) if file])
        with self._guard:
            context = self._made.get(stamp)
            if context is None:
                context = _make_context(ca_file, cert_file, key_file, revoked if is_program else None)
                self._made[stamp] = context
            return context


_contexts = _Contexts()


def client_context(identity: Identity) -> ssl.SSLContext:
    """Return the context for calls between programs: TLS 1.3, with our certificate, trusting only the cluster's CA and
    none of the certificates that it has revoked.

    The same context is returned until a file changes, so do not alter it. Raises SetupError for invalid files.
    """
    return _contexts.get(identity.ca_file, identity.cert_file, identity.key_file)


def people_context(ca_file: Path) -> ssl.SSLContext:
    """Return the context for a person's client: TLS 1.2 or later, trusting only `ca_file`, without a certificate."""
    return _contexts.get(ca_file, None, None)


def _stamp(files: list[Path]) -> _Stamp:
    stamps = []
    for file in files:
        try:
            facts = file.stat()
        except OSError as error:
            raise SetupError(
                f"cannot read {file} ({error.strerror}): start the cluster, or run `lockstep join TOKEN`"
            ) from error
        stamps.append((str(file), facts.st_mtime_ns, facts.st_ino))
    return tuple(stamps)


def _make_context(ca_file: Path, cert_file: Path | None, key_file: Path | None, revoked: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if cert_file else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(ca_file)
        if revoked:
            context.load_verify_locations(revoked)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if cert_file:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in (ca_file, cert_file, key_file) if file)
        raise SetupError(f"TLS cannot use {files} ({error}): restore them or join again") from error
    return context


@dataclass(frozen=True)
class CertificateInfo:
    """Details of a certificate: UTC times, `fingerprint` as SHA-256 hex, `days_left` negative once expired."""

    subject: str
    issuer: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    days_left: float
    fingerprint: str


def certificate_info(pem: str | bytes, *, now: datetime | None = None) -> CertificateInfo:
    """Return the details of the first certificate in `pem`; raises SetupError when there is none."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode() if isinstance(pem, str) else pem)
    except ValueError as error:
        raise SetupError(f"not a certificate ({error}): expected PEM text") from error
    return _facts(certificate, now or utc_now())


def _facts(certificate: x509.Certificate, now: datetime) -> CertificateInfo:
    return CertificateInfo(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        hosts=tuple(_hosts(certificate)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        days_left=(certificate.not_valid_after_utc - now) / timedelta(days=1),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _hosts(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]


@dataclass(frozen=True)
class HandshakeInfo:
    """The result of a verified handshake. `chain` runs from the server's certificate to the authority."""

    protocol: str
    cipher: str
    chain: tuple[str, ...]
    days_left: float
    certificate: CertificateInfo
    milliseconds: float


def names_match(host: str, certificate: x509.Certificate) -> bool:
    """Whether `certificate` is valid for `host` (RFC 6125: exactly, or by a name with one leading `*.`)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        _, dot, domain = name.partition(".")
        accepted = {name, f"*.{domain}"} if dot else {name}
        return any(entry.lower() in accepted for entry in _hosts(certificate))
    return str(address) in _hosts(certificate)


def handshake_info(
    host: str,
    port: int,
    ca_file: Path,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    *,
    timeout_seconds: float = HANDSHAKE_SECONDS,
) -> HandshakeInfo:
    """Connect to `host`:`port` and verify everything that a program verifies.

    Raises PeerUnreachable when no TLS server answers in time, PeerRefused with the reason when either side rejects the
    other, and SetupError when our own files cannot be used.
    """
    where = f"{host}:{port}"
    started = time.monotonic()
    context, refusals = _openssl_context(ca_file, cert_file, key_file)
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as plain:
            plain.setblocking(False)  # pyOpenSSL works on the bare descriptor; `_Probe` keeps the deadline
            return _Probe(context, plain, host, where, started + timeout_seconds, refusals).run(started)
    except TimeoutError as error:
        raise PeerUnreachable(
            f"{where} did not answer within {timeout_seconds:g} s: it may hang, see its log"
        ) from error
    except ConnectionRefusedError as error:
        raise PeerUnreachable(f"{where} refused the connection: start the program there, or check the port") from error
    except OSError as error:
        raise PeerUnreachable(
            f"{where} cannot be reached ({error.strerror or error}): check the address and the network"
        ) from error


_Refusals = list[tuple[int, x509.Certificate]]


def _openssl_context(ca_file: Path, cert_file: Path | None, key_file: Path | None) -> tuple[SSL.Context, _Refusals]:
    refusals: _Refusals = []

    def verify(_: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
        if not ok:
            refusals.append((code, certificate.to_cryptography()))
        return bool(ok)

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER, verify)
    context.set_alpn_protos([b"http/1.1"])
    try:
        context.load_verify_locations(str(ca_file))
        if cert_file is not None:
            context.use_certificate_chain_file(str(cert_file))
            context.use_privatekey_file(str(key_file or cert_file))
            context.check_privatekey()
    except SSL.Error as error:
        files = ", ".join(str(file) for file in (ca_file, cert_file, key_file) if file)
        raise SetupError(f"TLS cannot use {files} ({_reason(error)}): restore them or join again") from error
    return context, refusals


class _Probe:
    """One handshake and the server's verdict on it, within a deadline."""

    def __init__(
        self,
        context: SSL.Context,
        plain: socket.socket,
        host: str,
        where: str,
        deadline: float,
        refusals: _Refusals,
    ) -> None:
        self._tls = SSL.Connection(context, plain)
        self._plain = plain
        self._host = host
        self._where = where
        self._deadline = deadline
        self._refusals = refusals

    def run(self, started: float) -> HandshakeInfo:
        if not _is_address(self._host):
            self._tls.set_tlsext_host_name(self._host.encode("idna"))
        self._tls.set_connect_state()
        self._drive(self._tls.do_handshake, self._deadline)
        milliseconds = (time.monotonic() - started) * 1000
        chain = self._tls.get_verified_chain(as_cryptography=True) or []
        certificate = _facts(chain[0], utc_now())
        if not names_match(self._host, chain[0]):
            raise PeerRefused(
                f"the certificate of {self._where} is only valid for {', '.join(certificate.hosts)}: "
                "use one of these names, or renew the certificate with this host name"
            )
        self._hear_verdict()
        with contextlib.suppress(SSL.Error):
            self._tls.shutdown()  # so that the server's log has an orderly end
        return HandshakeInfo(
            protocol=self._tls.get_protocol_version_name(),
            cipher=self._tls.get_cipher_name() or "",
            chain=tuple(link.subject.rfc4514_string() for link in chain),
            days_left=certificate.days_left,
            certificate=certificate,
            milliseconds=milliseconds,
        )

    def _hear_verdict(self) -> None:
        """Wait until the server has verified our certificate; raises PeerRefused if it rejects us.

        In TLS 1.3 the client finishes before the server has checked the client's certificate. The server then sends
        either an alert or session tickets; silence is not a rejection. We send nothing before that, because writing to
        a server that has closed would lose its alert.
        """
        if self._tls.get_protocol_version() < SSL.TLS1_3_VERSION:
            return
        try:
            self._wait(select.POLLIN, min(self._deadline, time.monotonic() + VERDICT_SECONDS))
            self._tls.recv(1)
        except (SSL.WantReadError, SSL.ZeroReturnError, TimeoutError):
            return
        except SSL.SysCallError as error:
            raise ConnectionResetError(error.args[0], "it cut the connection after the handshake") from error
        except SSL.Error as error:
            raise self._refusal(_reason(error)) from error

    def _drive(self, action: Callable[[], object], deadline: float) -> None:
        while True:
            try:
                action()
                return
            except SSL.WantReadError:
                self._wait(select.POLLIN, deadline)
            except SSL.WantWriteError:
                self._wait(select.POLLOUT, deadline)
            except SSL.SysCallError as error:
                raise ConnectionResetError(error.args[0], "it cut the connection") from error
            except SSL.Error as error:
                raise self._refusal(_reason(error)) from error

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()  # select() cannot watch descriptors above 1023
        poll.register(self._plain, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError

    def _refusal(self, reason: str) -> PeerRefused | PeerUnreachable:
        if self._refusals:
            return PeerRefused(f"{self._where} {_distrust(*self._refusals[0])}")
        for words, sentence in _ALERTS.items():
            if words in reason:
                return PeerRefused(f"{self._where} {sentence}")
        if any(words in reason for words in _NOT_TLS):
            return PeerUnreachable(f"{self._where} does not speak TLS: another program may use that port")
        return PeerRefused(f"{self._where} ended the handshake ({reason}): see that program's log")


_ALERTS = {
    "certificate required": "requires a client certificate: only programs of the cluster may connect to it",
    "alert certificate expired": "rejected our certificate, which has expired: run `lockstep certs renew`",
    "alert unknown ca": "rejected our certificate, which is not from its cluster: join that cluster",
    "alert bad certificate": "rejected our certificate: run `lockstep certs renew`, or join it again",
    "alert certificate unknown": "rejected our certificate: run `lockstep certs renew`, or join it again",
    "protocol version": "supports only TLS versions that are too old: update that program",
}
_NOT_TLS = ("wrong version number", "packet length too long", "http request", "record layer failure")

_Codes = SSL.X509VerificationCodes
_OTHER_AUTHORITY = {
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    _Codes.ERR_CERT_SIGNATURE_FAILURE,
}


def _distrust(code: int, certificate: x509.Certificate) -> str:
    """Return why OpenSSL rejected `certificate` with verification error `code`, as the rest of a sentence."""
    name = certificate.subject.rfc4514_string()
    if code == _Codes.ERR_CERT_HAS_EXPIRED:
        day = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        return f"presented a certificate ({name}) that expired on {day}: run `lockstep certs renew` there"
    if code == _Codes.ERR_CERT_NOT_YET_VALID:
        day = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        return f"presented a certificate ({name}) that is not valid before {day}: check the clocks of both machines"
    if code in _OTHER_AUTHORITY:
        issuer = certificate.issuer.rfc4514_string()
        return f"presented a certificate from another authority ({issuer}): it is not a program of this cluster"
    return f"presented a certificate ({name}) that fails verification (OpenSSL code {code}): renew it there"


def _reason(error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(entry[2] for entry in entries if len(entry) > 2 and entry[2]) or "no reason given"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
