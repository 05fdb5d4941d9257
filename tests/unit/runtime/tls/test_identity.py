"""Promises of runtime/tls/{identity,contexts}.py: how programs get an identity and what a handshake accepts."""

from __future__ import annotations

import contextlib
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep_store.runtime.storage.sealing import KeyRing
from lockstep_store.runtime.tls.certificate_authority import MAX_HOSTS, CertificateAuthority
from lockstep_store.runtime.tls.contexts import (
    HandshakeInfo,
    certificate_info,
    client_context,
    handshake_info,
    names_match,
    people_context,
)
from lockstep_store.runtime.tls.identity import (
    JOIN_PREFIX,
    Identity,
    JoinToken,
    accept_bundle,
    days_left,
    ensure_authority,
    ensure_identity,
    new_key_and_request,
    renew,
    renewal_request,
)
from lockstep_store.wire.errors import PeerRefused, PeerUnreachable, SetupError


def _days_from_now(days: float):  # type: ignore[no-untyped-def]
    return lambda: datetime.now(UTC) + timedelta(days=days)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "certs"
    ensure_authority(folder)
    return folder


@pytest.fixture(scope="module")
def server_identity(certs: Path) -> Identity:
    return ensure_identity(certs, "file_server", "1")


@pytest.fixture(scope="module")
def client_identity(certs: Path) -> Identity:
    return ensure_identity(certs, "client_proxy", "1")


def _join(authority: CertificateAuthority, theirs: Path, here: Path, role: str = "file_server") -> Identity:
    """What `lockstep join` does, without the network between."""
    key_pem, csr_pem = new_key_and_request(role, "3")
    return accept_bundle(
        here,
        role,
        "3",
        authority.ca_pem,
        authority.sign_request(csr_pem, role, "3", ["other.machine"]),
        key_pem,
        authority.peer_token(role, "3"),
        (theirs / "storage-keys.json").read_text(),
    )


# Identities on disk


def test_an_identity_is_complete_private_and_stable(tmp_path: Path) -> None:
    """Beside the authority an identity is made at once, its secrets 0600; a second start changes nothing."""
    authority = ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "file_server", "1", ["files.example"])
    for file in (identity.key_file, identity.cert_file.with_name("peer.token"), identity.storage_keys_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(identity.key_file.parent.stat().st_mode) == 0o700
    assert authority.verify_peer_token(identity.peer_token).id == "1"
    assert identity.peer_token not in repr(identity)
    before = identity.cert_file.read_bytes()
    assert ensure_identity(tmp_path, "file_server", "1", ["files.example"]) == identity
    assert identity.cert_file.read_bytes() == before


@pytest.mark.parametrize(("role", "id"), [("admin", "1"), ("file_server", "../x"), ("file_server", "")])
def test_a_program_that_does_not_exist_gets_none(tmp_path: Path, role: str, id: str) -> None:
    """A role that is no program, or an id that would leave the folder, is a SetupError."""
    with pytest.raises(SetupError):
        ensure_identity(tmp_path, role, id)


def test_renewal_happens_below_thirty_days_and_not_before(tmp_path: Path) -> None:
    """With 31 days left the certificate stays; with 29 it is replaced, for the same key."""
    ensure_authority(tmp_path)
    identity = ensure_identity(tmp_path, "file_server", "1")
    first, key = identity.cert_file.read_bytes(), identity.key_file.read_bytes()
    ensure_identity(tmp_path, "file_server", "1", now=_days_from_now(59))
    assert identity.cert_file.read_bytes() == first
    ensure_identity(tmp_path, "file_server", "1", now=_days_from_now(61))
    assert identity.cert_file.read_bytes() != first
    assert identity.key_file.read_bytes() == key
    assert days_left(identity, now=_days_from_now(61)) == pytest.approx(90, abs=0.01)


def test_a_new_host_is_added_and_old_ones_stay(tmp_path: Path) -> None:
    """A host the certificate lacks has it made again, with the hosts it already had."""
    ensure_authority(tmp_path)
    ensure_identity(tmp_path, "client_proxy", "1", ["one.example"])
    identity = ensure_identity(tmp_path, "client_proxy", "1", ["10.9.8.7"])
    assert {"one.example", "10.9.8.7", "localhost"} <= set(certificate_info(identity.cert_file.read_bytes()).hosts)
    renewed = renew(identity, ["two.example"])
    hosts = set(certificate_info(renewed.cert_file.read_bytes()).hosts)
    assert {"one.example", "10.9.8.7", "two.example"} <= hosts


def test_a_machine_that_keeps_changing_its_name_still_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers do: a certificate has room for so many names, and those asked for longest ago make room."""
    ensure_authority(tmp_path)
    for number in range(40):
        monkeypatch.setattr(socket, "gethostname", lambda number=number: f"container-{number}")
        identity = ensure_identity(tmp_path, "file_server", "1", ["files.example"])
        hosts = certificate_info(identity.cert_file.read_text()).hosts
        assert {"localhost", f"container-{number}", "files.example"} <= set(hosts)
        assert len(hosts) <= MAX_HOSTS
    assert "container-30" in hosts
    assert "container-0" not in hosts


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "peer.token"])
@pytest.mark.parametrize("content", [None, "", "rubbish"])
def test_a_lost_or_broken_file_is_made_again(tmp_path: Path, name: str, content: str | None) -> None:
    """Beside the authority, any file of an identity that is lost or damaged is repaired at the next start."""
    authority = ensure_authority(tmp_path)
    file = ensure_identity(tmp_path, "file_server", "1").cert_file.with_name(name)
    file.unlink() if content is None else file.write_text(content)
    identity = ensure_identity(tmp_path, "file_server", "1")
    client_context(identity)
    assert authority.verify_peer_token(identity.peer_token).role == "file_server"


def test_a_certificate_of_another_cluster_is_replaced(tmp_path: Path) -> None:
    """An identity left over from another authority is certified anew by this machine's."""
    for name in ("a", "b"):
        ensure_authority(tmp_path / name)
    foreign = ensure_identity(tmp_path / "b", "file_server", "1")
    identity = ensure_identity(tmp_path / "a", "file_server", "1")
    identity.cert_file.write_bytes(foreign.cert_file.read_bytes())
    identity.key_file.write_bytes(foreign.key_file.read_bytes())
    ensure_identity(tmp_path / "a", "file_server", "1")
    assert (
        certificate_info(identity.cert_file.read_bytes()).issuer
        != certificate_info(foreign.cert_file.read_bytes()).issuer
    )


def test_programs_starting_at_once_make_one_authority(tmp_path: Path) -> None:
    """Six programs that start in an empty folder at the same time agree on one authority and one key ring."""
    script = (
        "import sys; from pathlib import Path\n"
        "from lockstep_store.runtime.tls.identity import ensure_authority, ensure_identity\n"
        "print('ready', flush=True); sys.stdin.readline(); folder = Path(sys.argv[1])\n"
        "token = ensure_authority(folder).peer_token('file_server', '1')\n"
        "ensure_identity(folder, 'file_server', sys.argv[2])\n"
        "print((folder / 'ca.pem').read_text() + token + (folder / 'storage-keys.json').read_text())\n"
    )
    folder = str(tmp_path / "certs")
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", script, folder, str(number % 3)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:  # all are waiting: let them go
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    answers = {program.communicate(timeout=120)[0] for program in programs}
    assert {program.returncode for program in programs} == {0}
    assert len(answers) == 1
    assert not list(Path(folder).glob("**/*.tmp"))


# Joining from another machine


def test_a_machine_without_authority_is_told_to_join(tmp_path: Path) -> None:
    """Without the authority and without an identity, the refusal says which command to run."""
    with pytest.raises(SetupError, match="lockstep join TOKEN"):
        ensure_identity(tmp_path, "file_server", "3")


def test_a_joined_machine_has_all_it_needs(certs: Path, tmp_path: Path) -> None:
    """A bundle is filed with private permissions, and later starts use it although it nears its end."""
    authority = CertificateAuthority.load(certs)
    identity = _join(authority, certs, tmp_path)
    assert stat.S_IMODE(identity.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.storage_keys_file.stat().st_mode) == 0o600
    assert ensure_identity(tmp_path, "file_server", "3", ["other.machine"]) == identity
    assert ensure_identity(tmp_path, "file_server", "3", now=_days_from_now(80)) == identity
    assert KeyRing.load(identity.storage_keys_file).current == KeyRing.load(certs / "storage-keys.json").current
    assert not (tmp_path / "authority").exists()


def test_a_joined_machine_is_told_what_is_wrong(certs: Path, tmp_path: Path) -> None:
    """There an expired certificate, a missing host, and a lost file are each named and nothing is remade."""
    identity = _join(CertificateAuthority.load(certs), certs, tmp_path)
    with pytest.raises(SetupError, match="expired"):
        ensure_identity(tmp_path, "file_server", "3", now=_days_from_now(91))
    with pytest.raises(SetupError, match=r"new\.host"):
        ensure_identity(tmp_path, "file_server", "3", ["new.host"])
    with pytest.raises(SetupError, match="no certificate authority"):
        renew(identity)
    identity.key_file.unlink()
    with pytest.raises(SetupError, match=r"key\.pem is missing"):
        ensure_identity(tmp_path, "file_server", "3")


def test_a_joined_machine_renews_over_the_wire(certs: Path, tmp_path: Path) -> None:
    """Its renewal request, signed by the authority and filed, gives a fresh certificate for the same key."""
    authority = CertificateAuthority.load(certs)
    identity = _join(authority, certs, tmp_path)
    key = identity.key_file.read_text()
    later = CertificateAuthority.load(certs, _days_from_now(70))
    accept_bundle(
        tmp_path,
        "file_server",
        "3",
        authority.ca_pem,
        later.sign_request(renewal_request(identity), "file_server", "3", []),
        key,
        identity.peer_token,
        identity.storage_keys_file.read_text(),
    )
    assert days_left(identity) == pytest.approx(160, abs=0.01)
    assert identity.key_file.read_text() == key


def test_a_bundle_that_does_not_fit_is_refused_with_nothing_written(certs: Path, tmp_path: Path) -> None:
    """Another's key, another authority, another program's certificate, broken keys: SetupError, no file."""
    authority = CertificateAuthority.load(certs)
    stranger = ensure_authority(tmp_path / "stranger")
    ring = (certs / "storage-keys.json").read_text()
    key_pem, csr_pem = new_key_and_request("file_server", "3")
    other_key, _ = new_key_and_request("file_server", "3")
    cert_pem = authority.sign_request(csr_pem, "file_server", "3", [])
    other_program = authority.sign_request(csr_pem, "file_server", "4", [])
    bundles = [
        (authority.ca_pem, cert_pem, other_key, ring),
        (stranger.ca_pem, cert_pem, key_pem, ring),
        (authority.ca_pem, other_program, key_pem, ring),
        (authority.ca_pem, "rubbish", key_pem, ring),
        (authority.ca_pem, cert_pem, key_pem, "{}"),
    ]
    for ca, cert, key, keys in bundles:
        with pytest.raises(SetupError):
            accept_bundle(tmp_path / "here", "file_server", "3", ca, cert, key, "token", keys)
    assert not (tmp_path / "here").exists()


def test_joining_another_cluster_keeps_the_storage_keys(certs: Path, tmp_path: Path) -> None:
    """A machine of one cluster refuses another's bundle, and one that would drop a storage key it has."""
    authority = CertificateAuthority.load(certs)
    identity = _join(authority, certs, tmp_path / "here")
    keys = identity.storage_keys_file.read_bytes()
    other = ensure_authority(tmp_path / "other")
    with pytest.raises(SetupError, match="another cluster"):
        _join(other, tmp_path / "other", tmp_path / "here")
    assert identity.storage_keys_file.read_bytes() == keys
    KeyRing.load(identity.storage_keys_file).rotate()
    with pytest.raises(SetupError, match="storage keys"):
        _join(authority, certs, tmp_path / "here")


# Join tokens


@pytest.fixture(scope="module")
def join_token(certs: Path) -> JoinToken:
    return JoinToken("https://proxy.example:5000", "one-time-secret", (certs / "ca.pem").read_text())


def test_a_join_token_carries_everything(join_token: JoinToken) -> None:
    """One word of url-safe characters gives back address, secret and certificate, even wrapped over lines."""
    text = join_token.encode()
    assert text.startswith(JOIN_PREFIX)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert JoinToken.decode(text) == join_token
    wrapped = "  " + "\n".join(text[at : at + 70] for at in range(0, len(text), 70)) + "\n"
    assert JoinToken.decode(wrapped) == join_token
    assert "one-time-secret" not in repr(join_token)


@given(data=st.data())
def test_a_damaged_join_token_is_refused(join_token: JoinToken, data: st.DataObject) -> None:
    """A token with a character changed, or cut short, is a SetupError and never another machine's address."""
    text = join_token.encode()
    at = data.draw(st.integers(0, len(text) - 2))
    cut = data.draw(st.booleans())
    other = data.draw(st.sampled_from("ABCxyz019-_.é!").filter(lambda c: c != text[at]))
    with pytest.raises(SetupError, match="join token"):
        JoinToken.decode(text[:at] if cut else text[:at] + other + text[at + 1 :])


@given(text=st.text(max_size=300))
def test_any_other_text_is_no_join_token(text: str) -> None:
    """Whatever else is pasted, with or without the prefix, ends in SetupError."""
    for attempt in (text, JOIN_PREFIX + text):
        with pytest.raises(SetupError):
            JoinToken.decode(attempt)


@pytest.mark.parametrize(("url", "secret"), [("http://x", "s"), ("https://", "s"), ("https://x", ""), ("x", "s")])
def test_a_join_token_without_https_or_secret_is_refused(join_token: JoinToken, url: str, secret: str) -> None:
    """A token whose address is not https, or without a secret, is refused before anything is sent."""
    with pytest.raises(SetupError, match="damaged"):
        JoinToken.decode(JoinToken(url, secret, join_token.ca_pem).encode())


# Handshakes with a real TLS server


@dataclass
class Server:
    port: int


def handshake(
    host: str,
    port: int,
    ca_file: Path,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    timeout_seconds: float = 60.0,
) -> HandshakeInfo:
    """A handshake with patience: what it proves is who refuses whom, however busy the machine is."""
    return handshake_info(host, port, ca_file, cert_file, key_file, timeout_seconds=timeout_seconds)


@pytest.fixture
def patient_for_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that object: a verdict that came late would count as none."""
    monkeypatch.setattr("lockstep_store.runtime.tls.contexts.VERDICT_SECONDS", 60.0)


@contextlib.contextmanager
def tls_server(identity: Identity, demand_certificate: bool = False, tickets: int = 2) -> Iterator[Server]:
    """A real TLS server in a thread; with no `tickets` it says nothing until it is spoken to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    context.num_tickets = tickets
    if demand_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(identity.ca_file)
    with _listening(lambda plain: _serve_tls(context, plain)) as server:
        yield server


def _serve_tls(context: ssl.SSLContext, plain: socket.socket) -> None:
    with contextlib.suppress(OSError):
        with context.wrap_socket(plain, server_side=True) as tls:
            data = tls.recv(100)
            if data:
                tls.sendall(data)


@contextlib.contextmanager
def _listening(answer) -> Iterator[Server]:  # type: ignore[no-untyped-def]
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            plain, _ = listener.accept()
            with plain:
                if not stop.is_set():
                    plain.settimeout(60)
                    answer(plain)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Server(listener.getsockname()[1])
    finally:
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join(60)
        listener.close()
        assert not thread.is_alive()


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
    expired = ensure_identity(certs, "client_proxy", "8", now=_days_from_now(-200))
    with tls_server(server_identity, demand_certificate=True) as server:
        for identity, reason in ((expired, "has expired"), (stranger, "not from its cluster")):
            with pytest.raises(PeerRefused, match=reason):
                handshake("localhost", server.port, server_identity.ca_file, identity.cert_file, identity.key_file)


def test_an_expired_server_is_refused(certs: Path, client_identity: Identity) -> None:
    """A server whose certificate has ended is refused with the day, and by the programs' own context."""
    expired = ensure_identity(certs, "file_server", "9", now=_days_from_now(-200))
    with tls_server(expired) as server:
        with pytest.raises(PeerRefused, match=r"expired on \d{4}-\d\d-\d\d"):
            handshake("localhost", server.port, expired.ca_file)
        _assert_context_refuses(client_identity, server, "expired")


def test_a_server_from_the_future_is_refused(certs: Path) -> None:
    """A certificate that is not valid yet points at the clocks."""
    early = ensure_identity(certs, "file_server", "10", now=_days_from_now(5))
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
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_nobody_listening_is_unreachable(server_identity: Identity) -> None:
    """A closed port is PeerUnreachable with what to do, and trying again can help."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PeerUnreachable, match="refused the connection") as refusal:
        handshake("127.0.0.1", port, server_identity.ca_file)
    assert refusal.value.can_retry


def test_a_program_that_is_not_tls_is_named(server_identity: Identity) -> None:
    """A plain HTTP server on the port is recognised."""
    with _listening(lambda plain: plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(PeerUnreachable, match="does not speak TLS"):
            handshake("127.0.0.1", server.port, server_identity.ca_file)


def test_a_server_that_hangs_or_hangs_up_is_unreachable(server_identity: Identity) -> None:
    """A program that accepts and says nothing ends at the deadline; one that closes ends at once."""
    with _listening(lambda plain: plain.recv(1) and plain.recv(100_000) and plain.recv(1)) as server:
        with pytest.raises(PeerUnreachable, match=r"within 0\.2 s"):
            handshake("127.0.0.1", server.port, server_identity.ca_file, timeout_seconds=0.2)
    with _listening(lambda plain: None) as server:
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


# Contexts


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
