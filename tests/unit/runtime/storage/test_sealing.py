"""Promises of lockstep_store/runtime/storage/sealing.py: key rings on disk, and chunks sealed with them."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_store.runtime.storage.sealing import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    KeyRing,
    Sealer,
    check_ring,
    one_program_at_a_time,
    write_durably,
)
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import DamagedChunk, SetupError, StorageFormatError

PLAIN = b"the plain bytes of one chunk " * 20
DIGEST = chunk_digest(PLAIN)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing.load_or_create(tmp_path / "storage-keys.json")


@pytest.fixture(scope="module")
def module_sealer(tmp_path_factory: pytest.TempPathFactory) -> Sealer:
    return Sealer(KeyRing.load_or_create(tmp_path_factory.mktemp("keys") / "storage-keys.json"))


@given(plain=st.binary(max_size=5000), kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_what_was_sealed_opens_to_the_same_bytes(module_sealer: Sealer, plain: bytes, kind: type) -> None:
    """Any content, given as any bytes-like object, comes back unchanged and costs OVERHEAD_BYTES."""
    digest = chunk_digest(plain)
    sealed = module_sealer.seal(digest, kind(plain))
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert module_sealer.open(digest, kind(sealed)) == plain


def test_parts_are_the_sealed_form(ring: KeyRing) -> None:
    """The header and ciphertext of seal_parts, stored one after the other, open like the joined form."""
    header, ciphertext = Sealer(ring).seal_parts(DIGEST, PLAIN)
    assert len(header) == HEADER_BYTES
    assert Sealer(ring).open(DIGEST, header + ciphertext) == PLAIN


def test_sealed_bytes_show_nothing_and_never_repeat(ring: KeyRing) -> None:
    """Sealing the same chunk twice gives different bytes, and neither holds the plain ones."""
    first, second = Sealer(ring).seal(DIGEST, PLAIN), Sealer(ring).seal(DIGEST, PLAIN)
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]
    assert PLAIN[:16] not in first


@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_anywhere_is_refused(ring: KeyRing, bit: int) -> None:
    """One flipped bit at any byte of the sealed form is refused, and after the key id always as damage."""
    sealer = Sealer(ring)
    sealed = sealer.seal(DIGEST, PLAIN)
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1 << bit
        with pytest.raises((DamagedChunk, StorageFormatError)) as refusal:
            sealer.open(DIGEST, broken)
        assert isinstance(refusal.value, StorageFormatError if position < 5 else DamagedChunk), position


@given(cut=st.integers(min_value=0, max_value=OVERHEAD_BYTES + len(PLAIN) - 1))
def test_a_cut_chunk_is_damage(module_sealer: Sealer, cut: int) -> None:
    """A sealed chunk cut short at any place raises DamagedChunk that names the digest."""
    with pytest.raises(DamagedChunk) as refusal:
        module_sealer.open(DIGEST, module_sealer.seal(DIGEST, PLAIN)[:cut])
    assert refusal.value.facts["digest"] == str(DIGEST)


def test_a_chunk_does_not_open_under_another_name(ring: KeyRing) -> None:
    """Sealed bytes moved to another chunk's place are damage, so that a mixed-up file is never served."""
    sealed = Sealer(ring).seal(DIGEST, PLAIN)
    with pytest.raises(DamagedChunk):
        Sealer(ring).open(chunk_digest(b"something else"), sealed)


def test_another_clusters_keys_do_not_open_it(ring: KeyRing, tmp_path: Path) -> None:
    """A chunk sealed under a key id the ring lacks is a StorageFormatError that names that id."""
    other = KeyRing.load_or_create(tmp_path / "other.json")
    with pytest.raises(StorageFormatError, match=other.current.hex()):
        Sealer(ring).open(DIGEST, Sealer(other).seal(DIGEST, PLAIN))


def test_an_unknown_format_version_is_refused_by_number(ring: KeyRing) -> None:
    """A chunk of a later format is refused with both versions in the message."""
    sealed = b"\x02" + Sealer(ring).seal(DIGEST, PLAIN)[1:]
    with pytest.raises(StorageFormatError, match=r"format 2.*format 1"):
        Sealer(ring).open(DIGEST, sealed)


def test_rotation_keeps_old_chunks_and_seals_new_ones_with_the_new_key(ring: KeyRing, tmp_path: Path) -> None:
    """After a rotation old chunks still open, new ones carry the new id, and a restart sees both keys."""
    sealer = Sealer(ring)
    old_id, old = ring.current, sealer.seal(DIGEST, PLAIN)
    new_id = ring.rotate(1.0)
    new = sealer.seal(DIGEST, PLAIN)
    assert (old[1:5], new[1:5]) == (old_id, new_id)
    assert old_id != new_id
    restarted = Sealer(KeyRing.load(tmp_path / "storage-keys.json"))
    assert restarted.open(DIGEST, old) == restarted.open(DIGEST, new) == PLAIN


def test_a_rotation_by_another_program_is_noticed(ring: KeyRing, tmp_path: Path) -> None:
    """A program that read the ring before a rotation still opens what was sealed after it."""
    sealer = Sealer(ring)
    other = KeyRing.load(tmp_path / "storage-keys.json")
    other.rotate(1.0)
    assert sealer.open(DIGEST, Sealer(other).seal(DIGEST, PLAIN)) == PLAIN


def test_rotations_at_once_lose_no_key(ring: KeyRing, tmp_path: Path) -> None:
    """Eight rotations from eight rings on one file leave nine keys."""
    rings = [KeyRing.load(tmp_path / "storage-keys.json") for _ in range(8)]
    threads = [threading.Thread(target=each.rotate, args=(1.0,)) for each in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KeyRing.load(tmp_path / "storage-keys.json").key_ids) == 9


def test_the_ring_is_private_stable_and_secret_in_repr(ring: KeyRing, tmp_path: Path) -> None:
    """The file is 0600 whatever the umask, loading twice gives the same keys, repr shows no key."""
    path = tmp_path / "storage-keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.load_or_create(path).current == ring.current
    content = json.loads(path.read_text())
    assert content["current"] in content["keys"]
    assert not any(key in repr(ring) for key in content["keys"].values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"current": "00000000", "keys": {}}',
        '{"current": "zz", "keys": {"zz": "AAAA"}}',
        '{"current": "00000000", "keys": {"00000000": "AAAA"}}',
        '{"current": "00000000", "keys": {"00000000": "not base64!"}}',
    ],
)
def test_a_broken_ring_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    """A file that is not a key ring raises SetupError and is never replaced by a new ring."""
    path = tmp_path / "storage-keys.json"
    path.write_text(text)
    with pytest.raises(SetupError, match="key ring"):
        KeyRing.load_or_create(path)
    with pytest.raises(SetupError):
        check_ring(text)
    assert path.read_text() == text


def test_a_missing_ring_is_not_made_by_load(tmp_path: Path) -> None:
    """Loading an absent ring raises SetupError and makes nothing: a new key could open no old chunk."""
    with pytest.raises(SetupError, match="cannot read"):
        KeyRing.load(tmp_path / "storage-keys.json")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses the new content, the old file stays whole and the temporary one is gone."""
    path = tmp_path / "file"
    write_durably(path, b"old", mode=0o644)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_the_lock_file_keeps_others_out(tmp_path: Path) -> None:
    """A second holder of a lock file enters only after the first has left."""
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with one_program_at_a_time(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    with one_program_at_a_time(tmp_path / "lock"):
        thread.start()
        assert waiting.wait(60)
        thread.join(0.05)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_the_key_of_a_chunk_is_the_documented_one(tmp_path: Path) -> None:
    """A fixed storage key opens a chunk sealed by hand from the module's description of the format."""
    import base64

    from blake3 import blake3
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    storage_key, nonce = bytes(range(32)), bytes(range(12))
    path = tmp_path / "storage-keys.json"
    path.write_text(json.dumps({"current": "0a0b0c0d", "keys": {"0a0b0c0d": base64.b64encode(storage_key).decode()}}))
    secret = blake3(storage_key, derive_key_context="lockstep 2026 chunk sealing v1").digest()
    data_key = blake3(DIGEST, key=secret).digest()
    sealed = b"\x01\x0a\x0b\x0c\x0d" + nonce + AESGCM(data_key).encrypt(nonce, PLAIN, DIGEST)
    assert Sealer(KeyRing.load(path)).open(Digest(DIGEST), sealed) == PLAIN


# ---------------------------------------------------------------- rings that are sent


def rings(ring: KeyRing, tmp_path: Path) -> tuple[KeyRing, KeyRing]:
    """The directory's ring, and another machine's copy of it."""
    (tmp_path / "copy.json").write_text(ring.text)
    return ring, KeyRing.load(tmp_path / "copy.json")


def test_a_newer_ring_is_taken_over(ring: KeyRing, tmp_path: Path) -> None:
    """The new key becomes current, on disk too, and the switch is counted; the same ring again changes nothing."""
    directory, copy = rings(ring, tmp_path)
    made = directory.rotate(5.0)
    assert copy.adopt(directory.text, [])
    assert (copy.current, copy.number, copy.switches) == (made, 1, 1)
    assert KeyRing.load(tmp_path / "copy.json").created == {made: 5.0}
    assert not copy.adopt(directory.text, [])
    assert copy.switches == 1


def test_a_retired_key_goes_unless_it_is_needed(ring: KeyRing, tmp_path: Path) -> None:
    """A key that the sent ring lacks stays if the caller says that it still needs it."""
    directory, copy = rings(ring, tmp_path)
    first = ring.current
    second = directory.rotate(1.0)
    directory.rotate(2.0)
    copy.adopt(directory.text, [])
    directory.retire(first)
    directory.retire(second)
    copy.adopt(directory.text, [second])
    assert copy.key_ids == {second, directory.current}


def test_an_older_ring_takes_nothing_away(ring: KeyRing, tmp_path: Path) -> None:
    """An overtaken reply, or a directory with restored files, neither removes a key nor makes one current."""
    directory, copy = rings(ring, tmp_path)
    overtaken = directory.text
    made = directory.rotate(1.0)
    copy.adopt(directory.text, [])
    copy.adopt(overtaken, [])
    assert copy.current == made
    assert copy.key_ids == directory.key_ids


def test_rings_that_grew_apart_are_joined(ring: KeyRing, tmp_path: Path) -> None:
    """Two rings of the same number with different keys: every key stays."""
    directory, copy = rings(ring, tmp_path)
    own = copy.rotate(1.0)
    other = directory.rotate(1.0)
    copy.adopt(directory.text, [])
    assert copy.current == own
    assert {own, other} < copy.key_ids


def test_a_damaged_ring_replaces_nothing(ring: KeyRing, tmp_path: Path) -> None:
    """SetupError, and the file is as before."""
    _, copy = rings(ring, tmp_path)
    before = (tmp_path / "copy.json").read_bytes()
    for text in ("", "{}", '{"current": "00000000", "keys": {}, "number": 9}'):
        with pytest.raises(SetupError, match="not a key ring"):
            copy.adopt(text, [])
    assert (tmp_path / "copy.json").read_bytes() == before


def test_the_current_key_cannot_be_retired(ring: KeyRing) -> None:
    """Nothing could be written any more."""
    with pytest.raises(ValueError, match="current"):
        ring.retire(ring.current)
    assert ring.current in ring.key_ids


def test_a_ring_without_a_rotation_reads_as_before(ring: KeyRing, tmp_path: Path) -> None:
    """Until the first rotation the file has the form that earlier versions read."""
    assert set(json.loads((tmp_path / "storage-keys.json").read_text())) == {"current", "keys"}
