"""Joining from another machine: bundles and join tokens."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.runtime.storage.sealing import KeyRing
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import (
    accept_bundle,
    days_left,
    ensure_authority,
    ensure_identity,
    new_key_and_request,
    renew,
    renewal_request,
)
from lockstep_store.runtime.tls.join_token import JOIN_PREFIX, JoinToken
from lockstep_store.wire.errors import SetupError
from tests.unit.runtime.tls.joining import days_from_now, join


def test_a_machine_without_authority_is_told_to_join(tmp_path: Path) -> None:
    """Without the authority and without an identity, the refusal says which command to run."""
    with pytest.raises(SetupError, match="lockstep join TOKEN"):
        ensure_identity(tmp_path, "file_server", "3")


def test_a_joined_machine_has_all_it_needs(certs: Path, tmp_path: Path) -> None:
    """A bundle is filed with private permissions, and later starts use it although it nears its end."""
    authority = CertificateAuthority.load(certs)
    identity = join(authority, certs, tmp_path)
    assert stat.S_IMODE(identity.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.storage_keys_file.stat().st_mode) == 0o600
    assert ensure_identity(tmp_path, "file_server", "3", ["other.machine"]) == identity
    assert ensure_identity(tmp_path, "file_server", "3", now=days_from_now(80)) == identity
    assert KeyRing.load(identity.storage_keys_file).current == KeyRing.load(certs / "storage-keys.json").current
    assert not (tmp_path / "authority").exists()


def test_a_joined_machine_is_told_what_is_wrong(certs: Path, tmp_path: Path) -> None:
    """There an expired certificate, a missing host, and a lost file are each named and nothing is remade."""
    identity = join(CertificateAuthority.load(certs), certs, tmp_path)
    with pytest.raises(SetupError, match="expired"):
        ensure_identity(tmp_path, "file_server", "3", now=days_from_now(91))
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
    identity = join(authority, certs, tmp_path)
    key = identity.key_file.read_text()
    later = CertificateAuthority.load(certs, days_from_now(70))
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
    """A machine of one cluster refuses another's bundle, and keeps a storage key that the directory does not have."""
    authority = CertificateAuthority.load(certs)
    identity = join(authority, certs, tmp_path / "here")
    keys = identity.storage_keys_file.read_bytes()
    other = ensure_authority(tmp_path / "other")
    with pytest.raises(SetupError, match="another cluster"):
        join(other, tmp_path / "other", tmp_path / "here")
    assert identity.storage_keys_file.read_bytes() == keys
    made = KeyRing.load(identity.storage_keys_file).rotate(1.0)
    join(authority, certs, tmp_path / "here")
    ring = KeyRing.load(identity.storage_keys_file)
    assert ring.current == made
    assert KeyRing.load(certs / "storage-keys.json").key_ids < ring.key_ids


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
