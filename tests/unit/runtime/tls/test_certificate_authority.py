"""Promises of runtime/tls/certificate_authority.py: what it issues, what it refuses, and that there is only one."""

from __future__ import annotations

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.runtime.tls.certificate_authority import ROLES, CertificateAuthority, PeerIdentity
from lockstep_store.runtime.tls.identity import new_key_and_request
from lockstep_store.wire.errors import BadRequest, PeerRefused, SetupError

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path_factory.mktemp("certs"))


def _names(pem: str) -> x509.SubjectAlternativeName:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_keys_are_private_and_the_certificate_is_not(tmp_path: Path) -> None:
    """The authority's folder is 0700, its keys 0600, its certificate readable, and repr shows no secret."""
    authority = CertificateAuthority.create(tmp_path)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("authority", "ca.pem")}
    assert modes == {"authority": 0o700, "ca.pem": 0o644}
    for name in ("ca.key", "peer.key"):
        assert stat.S_IMODE((tmp_path / "authority" / name).stat().st_mode) == 0o600
    assert (tmp_path / "authority" / "peer.key").read_text().strip() not in repr(authority)


def test_creating_twice_gives_the_same_authority(tmp_path: Path) -> None:
    """A second create loads what the first made, peer key included."""
    first = CertificateAuthority.create(tmp_path)
    second = CertificateAuthority.create(tmp_path)
    assert first.ca_pem == second.ca_pem == CertificateAuthority.load(tmp_path).ca_pem
    assert first.peer_token("file_server", "1") == second.peer_token("file_server", "1")


@pytest.mark.parametrize("lost", ["ca.pem", "authority/peer.key"])
def test_a_creation_cut_short_is_continued(tmp_path: Path, lost: str) -> None:
    """With any one file not yet written, create keeps the key, so earlier certificates stay valid."""
    before = CertificateAuthority.create(tmp_path)
    leaf = x509.load_pem_x509_certificate(before.issue("file_server", "1", [], KEY.public_key()).encode())
    (tmp_path / lost).unlink()
    after = CertificateAuthority.create(tmp_path)
    leaf.verify_directly_issued_by(after.certificate)


def test_a_joined_machine_never_makes_a_second_authority(tmp_path: Path) -> None:
    """With only another machine's ca.pem, create refuses and writes no key."""
    CertificateAuthority.create(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "ca.pem").write_bytes((tmp_path / "theirs" / "ca.pem").read_bytes())
    with pytest.raises(SetupError, match="another machine"):
        CertificateAuthority.create(tmp_path / "ours")
    assert not (tmp_path / "ours" / "authority").exists()


def test_load_says_what_is_wrong(tmp_path: Path) -> None:
    """An absent, a damaged, a mixed-up and an expired authority each raise SetupError with its own reason."""
    with pytest.raises(SetupError, match="no certificate authority"):
        CertificateAuthority.load(tmp_path)
    CertificateAuthority.create(tmp_path)
    with pytest.raises(SetupError, match="expired"):
        CertificateAuthority.load(tmp_path, lambda: datetime.now(UTC) + timedelta(days=3651))
    CertificateAuthority.create(tmp_path / "other")
    (tmp_path / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
    with pytest.raises(SetupError, match="do not match one another"):
        CertificateAuthority.load(tmp_path)
    (tmp_path / "authority" / "ca.key").write_text("rubbish")
    with pytest.raises(SetupError, match="cannot read"):
        CertificateAuthority.load(tmp_path)


def test_an_issued_certificate_says_what_it_must(authority: CertificateAuthority) -> None:
    """90 days from now, a day of clock skew before, both usages, key ids, and every host by its kind."""
    before = datetime.now(UTC)
    pem = authority.issue("file_server", "7", ["Files.Example.org", "10.1.2.3", "[fd00::1]"], KEY.public_key())
    certificate = x509.load_pem_x509_certificate(pem.encode())
    certificate.verify_directly_issued_by(authority.certificate)
    assert abs(certificate.not_valid_after_utc - before - timedelta(days=90)) < timedelta(minutes=1)
    assert abs(before - certificate.not_valid_before_utc - timedelta(days=1)) < timedelta(minutes=1)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert issuer.key_identifier == own.digest
    names = _names(pem)
    assert {"localhost", "files.example.org"} <= set(names.get_values_for_type(x509.DNSName))
    expected = {ipaddress.ip_address(a) for a in ("127.0.0.1", "::1", "10.1.2.3", "fd00::1")}
    assert expected <= set(names.get_values_for_type(x509.IPAddress))


def test_no_certificate_outlives_the_authority(tmp_path: Path) -> None:
    """In the authority's last days a certificate ends with the authority."""
    CertificateAuthority.create(tmp_path)
    authority = CertificateAuthority.load(tmp_path, lambda: datetime.now(UTC) + timedelta(days=3640))
    pem = authority.issue("file_server", "1", [], KEY.public_key())
    leaf = x509.load_pem_x509_certificate(pem.encode())
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_two_clusters_authorities_have_different_names(tmp_path: Path) -> None:
    """So a certificate from the wrong cluster is reported as such, and not as a broken signature."""
    first, second = (CertificateAuthority.create(tmp_path / name) for name in ("a", "b"))
    assert first.certificate.subject != second.certificate.subject


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://host",
        "host:80",
        "a b",
        "*",
        "*.org",
        "*.*.a.org",
        "a.*.org",
        "*a.b.org",
        "-x",
        "a..b",
        "x" * 64,
        "é",
    ],
)
def test_a_bad_host_is_refused(authority: CertificateAuthority, host: str) -> None:
    """A host with a scheme, port, wildcard that takes in too much, or anything else that is no name is a BadRequest."""
    with pytest.raises(BadRequest, match="host name"):
        authority.issue("file_server", "1", [host], KEY.public_key())


def test_every_name_in_a_domain_can_be_certified(authority: CertificateAuthority) -> None:
    """For S3's virtual hosts: *.DOMAIN stands in the certificate as it is."""
    pem = authority.issue("client_proxy", "1", ["s3.Example.org", "*.s3.Example.org"], KEY.public_key())
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"s3.example.org", "*.s3.example.org"} <= set(names.get_values_for_type(x509.DNSName))


@pytest.mark.parametrize(
    ("role", "id"),
    [("admin", "1"), ("", "1"), ("file_server", ""), ("file_server", "a.b"), ("file_server", "x" * 33)],
)
def test_a_bad_program_is_refused(authority: CertificateAuthority, role: str, id: str) -> None:
    """Only the three programs with a short plain id get certificates and tokens; an administrator is none."""
    with pytest.raises(BadRequest):
        authority.issue(role, id, [], KEY.public_key())
    with pytest.raises(BadRequest):
        authority.peer_token(role, id)


def test_a_request_gives_only_its_key(authority: CertificateAuthority) -> None:
    """The names in a signing request are ignored: the caller's role, id and hosts are what is certified."""
    key_pem, csr_pem = new_key_and_request("directory_server", "9", ["evil.example"])
    pem = authority.sign_request(csr_pem, "file_server", "2", ["good.example"])
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert "CN=file_server-2" in certificate.subject.rfc4514_string()
    assert set(_names(pem).get_values_for_type(x509.DNSName)) == {"localhost", "good.example"}
    key = serialization.load_pem_private_key(key_pem.encode(), None)
    assert certificate.public_key() == key.public_key()


def test_a_request_that_is_not_its_keys_own_is_refused(authority: CertificateAuthority) -> None:
    """Rubbish, a request with another's signature, and one with an RSA key are each a BadRequest."""
    _, csr_pem = new_key_and_request("file_server", "1")
    request = x509.load_pem_x509_csr(csr_pem.encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    other_kind = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    for bad in ("rubbish", "é", csr_pem[:200], forged, other_kind):
        with pytest.raises(BadRequest):
            authority.sign_request(bad, "file_server", "1", [])


def test_a_peer_token_proves_role_and_id(authority: CertificateAuthority) -> None:
    """Every role's token verifies to that role and id."""
    for role in ROLES:
        assert authority.verify_peer_token(authority.peer_token(role, "a-1")) == PeerIdentity(role, "a-1")


def test_another_clusters_token_is_refused(authority: CertificateAuthority, tmp_path: Path) -> None:
    """A token made with another peer key is refused by name."""
    stranger = CertificateAuthority.create(tmp_path).peer_token("file_server", "1")
    with pytest.raises(PeerRefused, match="file_server 1"):
        authority.verify_peer_token(stranger)


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: token.replace("file_server", "directory_server"),
        lambda token: token.replace(".1.", ".2."),
        lambda token: token.replace("file_server", "admin"),
        lambda token: token.upper(),
        lambda token: token[:-1],
        lambda token: token + "0",
        lambda token: token + "é\ud800",
        lambda token: token.rsplit(".", 1)[0],
        lambda token: token.rsplit(".", 1)[0] + ".",
    ],
)
def test_a_forged_token_is_refused(authority: CertificateAuthority, forge) -> None:  # type: ignore[no-untyped-def]
    """A token with its role, id or mac changed in any way is PeerRefused."""
    with pytest.raises(PeerRefused):
        authority.verify_peer_token(forge(authority.peer_token("file_server", "1")))


@given(text=st.text(max_size=200))
def test_any_other_text_is_refused(authority: CertificateAuthority, text: str) -> None:
    """Whatever a stranger sends as a token ends in PeerRefused, never in another exception."""
    with pytest.raises(PeerRefused):
        authority.verify_peer_token(text)


@given(position=st.integers(min_value=0), character=st.sampled_from("0123456789abcdef._-xyzX é"))
def test_a_token_with_one_character_changed_is_refused(
    authority: CertificateAuthority, position: int, character: str
) -> None:
    """Replacing any one character of a good token by another one is refused."""
    good = authority.peer_token("client_proxy", "12")
    at = position % len(good)
    changed = good[:at] + character + good[at + 1 :]
    if changed != good:
        with pytest.raises(PeerRefused):
            authority.verify_peer_token(changed)
