"""Storage keys under a passphrase: on disk nothing opens them, programs that have it notice no difference."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from lockstep_store.runtime.storage import key_protection as kp
from lockstep_store.runtime.storage.key_protection import Passphrase, key_protection
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tls.identity import accept_bundle, ensure_authority, ensure_identity
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import SetupError

PLAIN = b"a chunk"
DIGEST = chunk_digest(PLAIN)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen MiB instead of 128: what the cost protects is not tested here."""
    monkeypatch.setattr(kp, "_LOG_N", 14)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery\nwhat follows is ignored\n")
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "certs" / "storage-keys.json"


def secrets_in(ring: KeyRing) -> list[bytes]:
    return [text.encode() for text in json.loads(ring.text)["keys"].values()]


def test_a_new_ring_is_never_plain_on_disk(path: Path, secret: Path) -> None:
    """Made with the passphrase, it opens with the passphrase, and the file has no key in it."""
    ring = KeyRing.load_or_create(path, key_protection(secret))
    sealed = Sealer(ring).seal(DIGEST, PLAIN)
    assert all(text not in path.read_bytes() for text in secrets_in(ring))
    again = KeyRing.load(path, key_protection(secret))
    assert Sealer(again).open(DIGEST, sealed) == PLAIN
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_plain_ring_is_protected_at_the_first_start_with_a_passphrase(path: Path, secret: Path) -> None:
    """The keys stay the same, and the plain file is gone."""
    plain = KeyRing.load_or_create(path)
    ring = KeyRing.load(path, key_protection(secret))
    assert ring.key_ids == plain.key_ids
    assert all(text not in path.read_bytes() for text in secrets_in(plain))
    with pytest.raises(SetupError, match="protected by a passphrase: give it with --key-passphrase-file"):
        KeyRing.load(path)


def test_a_rotation_keeps_the_protection(path: Path, secret: Path, tmp_path: Path) -> None:
    """Rotated, taken over from elsewhere, retired: the file stays protected, and other programs read it."""
    ring = KeyRing.load_or_create(path, key_protection(secret))
    other = KeyRing.load(path, key_protection(secret))
    old, new = ring.current, ring.rotate(1.0)
    other.reload()
    assert other.current == new
    copy = tmp_path / "copy.json"
    KeyRing.store(copy, other.text, key_protection(secret))
    ring.retire(old)
    elsewhere = KeyRing.load(copy, key_protection(secret))
    assert elsewhere.adopt(ring.text, [])
    for file in (path, copy):
        assert json.loads(file.read_bytes())["protected_by"] == "passphrase"
        assert KeyRing.load(file, key_protection(secret)).key_ids == {new}


def test_a_wrong_passphrase_and_a_damaged_file_are_refused(path: Path, secret: Path, tmp_path: Path) -> None:
    """SetupError with what to do, and the file is left as it is."""
    KeyRing.load_or_create(path, key_protection(secret))
    before = path.read_bytes()
    wrong = tmp_path / "wrong"
    wrong.write_text("correct horse batterie\n")
    with pytest.raises(SetupError, match="does not open the storage keys"):
        KeyRing.load(path, key_protection(wrong))
    assert path.read_bytes() == before
    content = json.loads(before)
    raw = bytearray(base64.b64decode(content["ring"]))
    raw[20] ^= 1
    for damaged in (
        content | {"ring": base64.b64encode(raw).decode()},
        content | {"ring": "no base64!"},
        content | {"parameters": {}},
        content | {"parameters": content["parameters"] | {"log_n": 40}},
    ):
        path.write_text(json.dumps(damaged))
        with pytest.raises(SetupError, match="does not open the storage keys"):
            KeyRing.load(path, key_protection(secret))


@pytest.mark.parametrize("content", [None, "", "short\n", "\ncorrect horse battery\n"])
def test_a_passphrase_file_without_a_passphrase_is_refused(tmp_path: Path, content: str | None) -> None:
    """Missing, empty, too short, or with an empty first line."""
    file = tmp_path / "passphrase"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SetupError, match="passphrase"):
        key_protection(file)


def test_no_passphrase_shows_in_a_repr(secret: Path, path: Path) -> None:
    """Nor does the protected ring."""
    shield = Passphrase.from_file(secret)
    assert "horse" not in repr(shield)
    wrapped = shield.wrap(KeyRing.load_or_create(path).text.encode())
    assert wrapped.ring not in repr(wrapped)


def test_programs_of_one_folder_share_it(tmp_path: Path, secret: Path) -> None:
    """The directory makes it, a file server reads it with the passphrase. Those that never read it need none: a proxy,
    and whatever asks for the programs' health in their name."""
    certs = tmp_path / "certs"
    protection = key_protection(secret)
    ensure_authority(certs, protection=protection)
    ensure_identity(certs, "file_server", "1", protection=protection)
    ensure_identity(certs, "client_proxy", "1")
    ensure_authority(certs)
    identity = ensure_identity(certs, "directory_server", "1")
    with pytest.raises(SetupError, match="--key-passphrase-file"):
        KeyRing.load(identity.storage_keys_file)


def test_a_machine_that_joins_has_a_passphrase_of_its_own(tmp_path: Path, secret: Path) -> None:
    """What the directory sends is never on the new machine's disk without it."""
    certs, there = tmp_path / "certs", tmp_path / "there"
    authority = ensure_authority(certs)
    identity = ensure_identity(certs, "file_server", "3")
    ring = KeyRing.load(certs / "storage-keys.json")
    own = identity.cert_file.read_text(), identity.key_file.read_text(), identity.peer_token
    accept_bundle(there, "file_server", "3", authority.ca_pem, *own, ring.text, "", key_protection(secret))
    file = there / "storage-keys.json"
    assert all(text not in file.read_bytes() for text in secrets_in(ring))
    assert KeyRing.load(file, key_protection(secret)).key_ids == ring.key_ids
