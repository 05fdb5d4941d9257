"""Browsers must stay with HTTPS where the certificate is one that they trust by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from client_proxy.bootstrap import Proxy
from client_proxy.core.directory_client import DirectoryClient
from client_proxy.doors.strict_transport import YEAR_SECONDS, is_public
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity
from lockstep_store.wire.errors import Overloaded, SetupError
from tests.fakes.wsgi import ask, request_environ
from tests.unit.client_proxy.test_bootstrap import start

DOORS = ["/health", "/api/v1/health", "/api/v1/nothing/here", "/metrics", "/bucket/key", "/bucket?list-type=2", "/"]


def _certificate(folder: Path, subject: str, issuer: str, issuer_key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    """A certificate of its own key, or signed by `issuer_key`, and the key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(issuer_key or key, hashes.SHA256())
    )
    (folder / "own.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "own.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "own.pem"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory is there: otherwise each proxy tries for eight seconds before it refuses."""
    defaults = DirectoryClient.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "patience", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ensure_authority(tmp_path / "certs")
    return tmp_path


def _own(folder: Path, *, public: bool = True) -> list[str]:
    key = ec.generate_private_key(ec.SECP256R1()) if public else None
    cert = _certificate(folder, "files.example.org", "An Authority" if public else "files.example.org", key)
    return ["--tls-cert", str(cert), "--tls-key", str(folder / "own.key")]


def test_an_old_authoritys_certificate_stays_private_during_a_rotation(folder: Path) -> None:
    """A certificate of the cluster is not public, whichever of its two authorities issued it."""
    certs = folder / "certs"
    cert = ensure_identity(certs, "client_proxy", "1").cert_file
    authority = CertificateAuthority.load(certs)
    authority.introduce()
    authority.promote()
    assert not is_public(cert, certs / "ca.pem")


def test_only_somebody_elses_signature_makes_a_certificate_public(folder: Path) -> None:
    """Not the cluster's authority's, and not the certificate's own, whatever names stand in it."""
    ca = folder / "certs" / "ca.pem"
    assert not is_public(ensure_identity(folder / "certs", "client_proxy", "1").cert_file, ca)
    assert not is_public(_certificate(folder, "files.example.org", "files.example.org"), ca)
    authority = ec.generate_private_key(ec.SECP256R1())
    assert is_public(_certificate(folder, "files.example.org", "An Authority", authority), ca)
    name = x509.load_pem_x509_certificate(ca.read_bytes()).subject.rfc4514_string().removeprefix("CN=")
    assert is_public(_certificate(folder, "files.example.org", name, authority), ca), "a name alone is no signature"
    (folder / "own.pem").write_text("no certificate")
    with pytest.raises(SetupError, match="cannot read the certificate"):
        is_public(folder / "own.pem", ca)


def _sent(proxy: Proxy, path: str) -> str | None:
    return ask(proxy.wsgi, "GET", path).headers.get("Strict-Transport-Security")


@pytest.mark.parametrize("path", DOORS)
def test_every_reply_has_the_header(folder: Path, path: str) -> None:
    """Pages, API and S3, refusals included; once in each reply."""
    proxy = start(folder, *_own(folder))
    try:
        assert _sent(proxy, path) == f"max-age={YEAR_SECONDS}"
        headers: list[Any] = []
        list(proxy.wsgi(request_environ("GET", path), lambda status, given: headers.extend(given)))
        assert [name for name, _ in headers].count("Strict-Transport-Security") == 1
    finally:
        proxy.close()


def test_a_refusal_for_load_has_the_header_too(folder: Path) -> None:
    """The refusal of a proxy that is too busy, before any door."""
    proxy = start(folder, *_own(folder), "--threads", "8")
    try:
        gate = proxy.wsgi._inner  # type: ignore[attr-defined]
        gate._admission.enter = _refuse
        environ = request_environ("PUT", "/api/v1/files/files/a", b"x")
        headers: dict[str, str] = {}
        list(proxy.wsgi.__class__(gate, 5)(environ, lambda status, given: headers.update(given)))
        assert headers["Strict-Transport-Security"] == "max-age=5"
        assert headers["Retry-After"] == "1"
    finally:
        proxy.close()


def _refuse(*_: Any) -> None:
    raise Overloaded("busy")


@pytest.mark.parametrize(
    ("public", "more", "expected"),
    [
        (None, [], None),
        (False, [], None),
        (None, ["--hsts-seconds", "300"], "max-age=300"),
        (True, ["--hsts-seconds", "300"], "max-age=300"),
        (True, ["--hsts-seconds", "0"], None),
    ],
)
def test_the_option_decides_if_it_is_given(folder: Path, public: bool | None, more: list[str], expected: str) -> None:
    """Without it, the cluster's own certificate and a self-signed one get no header: browsers do not trust them."""
    proxy = start(folder, *(_own(folder, public=public) if public is not None else []), *more)
    try:
        for path in DOORS:
            assert _sent(proxy, path) == expected
    finally:
        proxy.close()
