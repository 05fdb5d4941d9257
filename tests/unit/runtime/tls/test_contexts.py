"""TLS contexts: which peers they accept, and what a handshake returns."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.contexts import (
    certificate_info,
    client_context,
    names_match,
    people_context,
)
from lockstep_store.runtime.tls.identity import (
    Identity,
    ensure_authority,
    ensure_identity,
    new_key_and_request,
    renew,
)
from lockstep_store.wire.errors import PeerRefused, PeerUnreachable, SetupError
from tests.unit.runtime.tls.joining import days_from_now
from tests.unit.runtime.tls.tls_servers import Server, handshake, listening, tls_server


@pytest.fixture
def patient_for_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that object: a verdict that came late would count as none."""
    monkeypatch.setattr("lockstep_store.runtime.tls.contexts.VERDICT_SECONDS", 60.0)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("demand", [False, True])
def test_a_good_handshake_tells_its_facts(
    server_identity: Identity, client_identity: Identity, host: str, demand: bool
) -> None:
    """Protocol, cipher, whole chain and days left of a verified handshake, with or without our certificate."""
    with tls_server(server_identity, demand_certificate=demand) as server:
        facts = handshake(
            host, server.port, client_identity.ca_file, client_identity.cert_file, client_identity.key_file
        )
    assert facts.protocol == "TLSv1.3"
    assert facts.cipher.startswith("TLS_")
    assert [link.split(",")[0].split(" ")[0] for link in facts.chain] == ["CN=file_server-1", "CN=Lockstep"]
    assert facts.days_left == pytest.approx(90, abs=0.1)
    assert facts.certificate.fingerprint == certificate_info(server_identity.cert_file.read_bytes()).fingerprint


def test_a_server_that_stays_silent_is_still_judged_good(server_identity: Identity) -> None:
    """Silence after the handshake is no refusal."""
    with tls_server(server_identity, tickets=0) as server:
        assert handshake("localhost", server.port, server_identity.ca_file).protocol == "TLSv1.3"


@pytest.mark.usefixtures("patient_for_verdicts")
def test_a_missing_client_certificate_is_named(server_identity: Identity) -> None:
    """A server that demands a certificate refuses us after the TLS 1.3 handshake, and the message says so."""
    with tls_server(server_identity, demand_certificate=True) as server:
        with pytest.raises(PeerRefused, match="requires a client certificate"):
            handshake("localhost", server.port, server_identity.ca_file)


@pytest.mark.usefixtures("patient_for_verdicts")
def test_our_own_bad_certificate_is_named(server_identity: Identity, certs: Path, tmp_path: Path) -> None:
    """A server refusing our certificate, because it expired or is another cluster's, is told apart."""
    ensure_authority(tmp_path)
    stranger = ensure_identity(tmp_path, "file_server", "1")
    expired = ensure_identity(certs, "client_proxy", "8", now=days_from_now(-200))
    with tls_server(server_identity, demand_certificate=True) as server:
        for identity, reason in ((expired, "has expired"), (stranger, "not from its cluster")):
            with pytest.raises(PeerRefused, match=reason):
                handshake("localhost", server.port, server_identity.ca_file, identity.cert_file, identity.key_file)


def test_an_expired_server_is_refused(certs: Path, client_identity: Identity) -> None:
    """A server whose certificate has ended is refused with the day, and by the programs' own context."""
    expired = ensure_identity(certs, "file_server", "9", now=days_from_now(-200))
    with tls_server(expired) as server:
        with pytest.raises(PeerRefused, match=r"expired on \d{4}-\d\d-\d\d"):
            handshake("localhost", server.port, expired.ca_file)
        _assert_context_refuses(client_identity, server, "expired")


def test_a_server_from_the_future_is_refused(certs: Path) -> None:
    """A certificate that is not valid yet points at the clocks."""
    early = ensure_identity(certs, "file_server", "10", now=days_from_now(5))
    with tls_server(early) as server, pytest.raises(PeerRefused, match="clocks"):
        handshake("localhost", server.port, early.ca_file)


def test_a_server_of_another_cluster_is_refused(tmp_path: Path, client_identity: Identity) -> None:
    """A certificate from another authority is refused by name, and by the programs' own context."""
    ensure_authority(tmp_path)
    stranger = ensure_identity(tmp_path, "file_server", "1")
    with tls_server(stranger) as server:
        with pytest.raises(PeerRefused, match=r"another authority .*Lockstep cluster CA"):
            handshake("localhost", server.port, client_identity.ca_file)
        _assert_context_refuses(client_identity, server, "certificate verify failed")


def test_a_certificate_for_another_host_is_refused(certs: Path, client_identity: Identity) -> None:
    """A server reached by a name its certificate lacks is refused and its names are listed."""
    authority = CertificateAuthority.load(certs)
    key_pem, csr = new_key_and_request("file_server", "11")
    identity = ensure_identity(certs, "file_server", "11")
    identity.key_file.write_text(key_pem)
    identity.cert_file.write_text(authority.sign_request(csr, "file_server", "11", []))
    with tls_server(identity) as server:
        with pytest.raises(PeerRefused, match=r"only valid for localhost"):
            handshake("127.0.0.2", _also_on(server), identity.ca_file)


def _also_on(server: Server) -> int:
    """The port of a forwarder on 127.0.0.2, an address that no certificate here has."""
    listener = socket.create_server(("127.0.0.2", 0))

    def forward() -> None:
        near, _ = listener.accept()
        listener.close()
        far = socket.create_connection(("127.0.0.1", server.port))
        with near, far:
            pump = threading.Thread(target=_copy, args=(far, near))
            pump.start()
            _copy(near, far)
            pump.join(60)

    threading.Thread(target=forward, daemon=True).start()
    return int(listener.getsockname()[1])


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        finally:
            target.shutdown(socket.SHUT_WR)  # also after a reset: the other side would wait for the rest


def test_nobody_listening_is_unreachable(server_identity: Identity) -> None:
    """A closed port is PeerUnreachable with what to do, and trying again can help."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PeerUnreachable, match="refused the connection") as refusal:
        handshake("127.0.0.1", port, server_identity.ca_file)
    assert refusal.value.can_retry


def test_a_program_that_is_not_tls_is_named(server_identity: Identity) -> None:
    """A plain HTTP server on the port is recognised."""
    with listening(lambda plain: plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(PeerUnreachable, match="does not speak TLS"):
            handshake("127.0.0.1", server.port, server_identity.ca_file)


def test_a_server_that_hangs_or_hangs_up_is_unreachable(server_identity: Identity) -> None:
    """A program that accepts and says nothing ends at the deadline; one that closes ends at once."""
    with listening(lambda plain: plain.recv(1) and plain.recv(100_000) and plain.recv(1)) as server:
        with pytest.raises(PeerUnreachable, match=r"within 0\.2 s"):
            handshake("127.0.0.1", server.port, server_identity.ca_file, timeout_seconds=0.2)
    with listening(lambda plain: None) as server:
        with pytest.raises(PeerUnreachable, match="cut the connection"):
            handshake("127.0.0.1", server.port, server_identity.ca_file)


def test_unusable_files_of_our_own_are_a_setup_error(tmp_path: Path, server_identity: Identity) -> None:
    """A missing or broken authority file is our own fault, told before anything is blamed on the peer."""
    (tmp_path / "ca.pem").write_text("rubbish")
    for file in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(SetupError):
            people_context(file)
    with tls_server(server_identity) as server:
        with pytest.raises(SetupError):
            handshake("localhost", server.port, tmp_path / "ca.pem")


def _call(context: ssl.SSLContext, server: Server) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            tls.sendall(b"ping")
            return tls.recv(10)


def _assert_context_refuses(identity: Identity, server: Server, reason: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        _call(client_context(identity), server)


def test_programs_and_people_get_through(server_identity: Identity, client_identity: Identity) -> None:
    """A program passes a server that demands certificates, a person only one that does not."""
    with tls_server(server_identity, demand_certificate=True) as server:
        assert _call(client_context(client_identity), server) == b"ping"
        with pytest.raises(OSError):  # which one depends on whether the alert or the end is seen first
            _call(people_context(client_identity.ca_file), server)
    with tls_server(server_identity) as server:
        assert _call(people_context(client_identity.ca_file), server) == b"ping"


def test_a_strict_client_accepts_our_certificates(server_identity: Identity) -> None:
    """Python 3.13's default strict X.509 checks accept the authority and what it issues."""
    context = ssl.create_default_context(cafile=server_identity.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with tls_server(server_identity) as server:
        assert _call(context, server) == b"ping"


def test_contexts_check_everything_and_are_shared(client_identity: Identity) -> None:
    """TLS 1.3 between programs, 1.2 for people, host names checked, only our authority, one context per file."""
    ours, peoples = client_context(client_identity), people_context(client_identity.ca_file)
    assert ours.minimum_version == ssl.TLSVersion.TLSv1_3
    assert peoples.minimum_version == ssl.TLSVersion.TLSv1_2
    for context in (ours, peoples):
        assert context.check_hostname
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1
    assert client_context(client_identity) is ours
    assert people_context(client_identity.ca_file) is peoples


def test_a_renewed_certificate_is_picked_up(tmp_path: Path) -> None:
    """After a renewal the next caller gets a context with the new certificate."""
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "client_proxy", "1")
    before = client_context(identity)
    assert client_context(renew(identity)) is not before


@settings(max_examples=30)
@given(label=st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True))
def test_names_match_exactly_or_by_one_label(server_identity: Identity, label: str) -> None:
    """A name matches itself in any case, an address only itself, and nothing matches by suffix."""
    certificate = x509.load_pem_x509_certificate(server_identity.cert_file.read_bytes())
    assert names_match("LOCALHOST", certificate)
    assert names_match("0:0:0:0:0:0:0:1", certificate)
    assert not names_match(f"{label}.localhost", certificate)
    assert not names_match(f"localhost.{label}", certificate)
    assert not names_match("127.0.0.2", certificate)


def test_facts_of_what_is_no_certificate(certs: Path) -> None:
    """Text that is no certificate is a SetupError; an expired one has negative days."""
    with pytest.raises(SetupError):
        certificate_info("rubbish")
    pem = (certs / "ca.pem").read_text()
    assert certificate_info(pem, now=datetime.now(UTC) + timedelta(days=4000)).days_left < 0
