"""A file server's storage keys: when it seals again, how fast, and what it does with what the directory sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from file_server.maintenance.storage_keys import IDLE_SECONDS, MIN_PAUSE_SECONDS, TRY_AGAIN_SECONDS, HeldStorageKeys
from lockstep_store.runtime.storage.sealing import KeyRing
from lockstep_store.wire.errors import Unavailable
from tests.fakes.blobs import one_chunk, put
from tests.unit.file_server.store.local.store_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.store.close()


@pytest.fixture
def keys(lab: Lab) -> HeldStorageKeys:
    return HeldStorageKeys(lab.store, lab.store._sealer.ring, lab.clock)


@pytest.fixture
def directory(lab: Lab, tmp_path: Path) -> KeyRing:
    """The directory's ring, in another file."""
    (tmp_path / "directory.json").write_text(lab.store._sealer.ring.text)
    return KeyRing.load(tmp_path / "directory.json")


def test_a_new_key_wakes_the_job_and_an_old_one_rests(lab: Lab, keys: HeldStorageKeys, directory: KeyRing) -> None:
    """Nothing to do, then a new key: the job is woken, works until all is sealed again, and rests."""
    woken = []
    keys.wake = lambda: woken.append(True)
    for number in range(3):
        put(lab.store, bytes([number]) * 5_000_000)
    assert keys.step() == IDLE_SECONDS
    old = directory.current.hex()
    new = directory.rotate(1.0).hex()
    keys.learn("")
    assert not woken
    keys.learn(directory.text)
    assert woken
    assert (keys.use().number, keys.use().current) == (1, new)
    assert list(keys.use().chunks) == [old]
    pauses = []
    while (pause := keys.step()) != IDLE_SECONDS:
        pauses.append(pause)
        assert len(pauses) < 100
    assert len(pauses) >= 4, "a step seals 4 MiB at most"
    assert min(pauses) >= MIN_PAUSE_SECONDS
    assert list(keys.use().chunks) == [new]


def test_it_waits_for_a_write_under_way(lab: Lab, keys: HeldStorageKeys, directory: KeyRing) -> None:
    """While only an open write needs the old key, the job looks again now and then."""
    with lab.store.stage() as staging:
        staging.put(one_chunk(b"open"))
        directory.rotate(1.0)
        keys.learn(directory.text)
        assert keys.step() == TRY_AGAIN_SECONDS
    assert keys.step() == IDLE_SECONDS


def test_a_retired_key_that_is_needed_here_stays(lab: Lab, keys: HeldStorageKeys, directory: KeyRing) -> None:
    """Whatever the directory decided, nothing on this disk becomes unreadable."""
    digest = put(lab.store, b"under the old key")
    old = directory.current
    directory.rotate(1.0)
    directory.retire(old)
    keys.learn(directory.text)
    assert lab.store.read_chunk(digest) == b"under the old key"
    assert old in lab.store._sealer.ring.key_ids


def test_what_cannot_be_taken_over_changes_nothing(lab: Lab, keys: HeldStorageKeys) -> None:
    """A damaged ring, or a certs folder that takes no writes, is logged; the next heartbeat sends it again."""
    before = lab.store._sealer.ring.text
    keys.learn("nonsense")
    assert lab.store._sealer.ring.text == before


def test_a_broken_disk_only_delays(
    lab: Lab, keys: HeldStorageKeys, directory: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job tries again, and finishes when the disk takes writes."""
    put(lab.store, b"x" * 300_000)
    directory.rotate(1.0)
    keys.learn(directory.text)
    with monkeypatch.context() as patch:

        def refuse(after: int, most_bytes: int) -> None:
            raise Unavailable("the disk takes no writes")

        patch.setattr(lab.store, "reseal", refuse)
        assert keys.step() == TRY_AGAIN_SECONDS
    while keys.step() != IDLE_SECONDS:
        pass
    assert list(keys.use().chunks) == [directory.current.hex()]
