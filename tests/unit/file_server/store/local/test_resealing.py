"""Stored chunks after a rotation of the storage keys: sealed again, whatever else happens to them meanwhile."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing, suppress

import pytest

from file_server.store.chunk_store import WholeBlob
from lockstep_store.runtime.storage.sealing import HEADER_BYTES, KeyRing, key_id_of
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import DamagedChunk, NotFound, Unavailable
from tests.fakes.blobs import get, manifest_of, one_chunk, put
from tests.fakes.older_storage import make_format_4
from tests.unit.file_server.store.local.store_lab import LARGE, SMALL, Lab

MANY = 1 << 30


def ring_of(lab: Lab) -> KeyRing:
    return lab.store._sealer.ring


def rotate(lab: Lab) -> tuple[bytes, bytes]:
    """Rotate; return the old key and the new one."""
    old = ring_of(lab).current
    return old, ring_of(lab).rotate(1.0)


def reseal_all(lab: Lab) -> int:
    """Take steps to the end; return how many chunks were sealed again."""
    after: int | None = 0
    chunks = 0
    while after is not None:
        after, done, _ = lab.store.reseal(after, MANY)
        chunks += done
    return chunks


def keys_on_disk(lab: Lab) -> Counter[bytes]:
    """The key that each stored chunk names itself, in the index and in files."""
    with closing(sqlite3.connect(lab.data / "index.db")) as db:
        sealed = [row[0] for row in db.execute("SELECT sealed FROM inline")]
    return Counter(key_id_of(one) for one in [*sealed, *(path.read_bytes() for path in lab.files("chunks"))])


def test_everything_is_sealed_again_and_the_old_key_is_free(lab: Lab, seed: int) -> None:
    """Small and large chunks then open without the old key, also after a restart; the counts say what the disk has."""
    contents = [random.Random(seed + number).randbytes(size) for number, size in enumerate([SMALL] * 5 + [LARGE] * 3)]
    digests = [put(lab.store, content) for content in contents]
    old, new = rotate(lab)
    put(lab.store, b"sealed with the new key")
    assert lab.store.sealed_under() == keys_on_disk(lab) == {old: 8, new: 1}
    assert reseal_all(lab) == 8
    assert lab.store.sealed_under() == keys_on_disk(lab) == {new: 9}
    ring_of(lab).retire(old)
    lab.store.close()
    lab.open()
    assert lab.store.sealed_under() == {new: 9}
    assert [get(lab.store, digest) for digest in digests] == contents
    assert lab.reported == []


def test_a_step_is_bounded_and_goes_on_where_it_was(lab: Lab, seed: int) -> None:
    """A step ends with the chunk that reaches its size."""
    for number in range(3):
        put(lab.store, random.Random(seed + number).randbytes(LARGE))
    old, new = rotate(lab)
    first = lab.store.reseal(0, 1)
    assert (first.chunks, first.size) == (1, LARGE)
    assert lab.store.sealed_under() == {old: 2, new: 1}
    assert lab.store.reseal(first.after or 0, MANY).chunks == 2
    assert lab.store.sealed_under() == {new: 3}


def test_the_key_of_the_names_is_sealed_again_first(lab: Lab) -> None:
    """Without any chunk the old key is needed by that one file, until the first step."""
    old, new = rotate(lab)
    assert lab.store.sealed_under() == {old: 0}
    assert reseal_all(lab) == 0
    assert lab.store.sealed_under() == {}
    assert key_id_of((lab.data / "disk-key").read_bytes()) == new
    ring_of(lab).retire(old)
    lab.store.close()
    lab.open()


def test_a_write_under_way_needs_the_key_that_it_began_with(lab: Lab, seed: int) -> None:
    """The old key counts as needed until a write that began before the rotation has ended, then for its chunks."""
    small, large = (one_chunk(random.Random(seed).randbytes(size)) for size in (SMALL, LARGE))
    with lab.store.stage() as staging:
        staging.put(small)
        staging.put(large)
        old, new = rotate(lab)
        assert reseal_all(lab) == 0
        assert lab.store.sealed_under() == {old: 0}
        with lab.store.stage() as later:
            later.put(one_chunk(b"begun after the rotation"))
            later.keep()
            staging.complete(manifest_of([small, large]))
    assert lab.store.sealed_under() == {old: 2, new: 1}
    assert reseal_all(lab) == 2
    assert lab.store.sealed_under() == {new: 3}


def test_an_aborted_write_needs_no_key(lab: Lab) -> None:
    """Nothing of it is left to read."""
    with lab.store.stage() as staging:
        staging.put(one_chunk(b"never completed"))
        rotate(lab)
        reseal_all(lab)
        assert lab.store.sealed_under()
    assert lab.store.sealed_under() == {}


def test_a_crash_between_file_and_row_loses_nothing(lab: Lab, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row still names the old key, which therefore counts as needed; the next step finishes."""
    content = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, content)
    old, new = rotate(lab)

    def fail(*_: object) -> bool:
        raise Unavailable("the process ends here")

    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(lab.store._resealing, "_record_file", fail)
        lab.store.reseal(0, MANY)
    assert keys_on_disk(lab) == {new: 1}
    lab.store.close()
    lab.open()
    assert lab.store.sealed_under() == {old: 1}
    assert get(lab.store, digest) == content
    assert reseal_all(lab) == 1
    assert lab.store.sealed_under() == {new: 1}


def test_a_write_that_replaces_the_file_meanwhile_keeps_its_key(lab: Lab, seed: int) -> None:
    """A write from before the rotation may move its own file into place just then: the row must name its key."""
    content = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, content)
    path = lab.files("chunks")[0]
    of_old_write = path.read_bytes()
    old, new = rotate(lab)
    resealing = lab.store._resealing
    record = resealing._record_file

    def replaced(tx: object, row: object, head: bytes) -> bool:
        path.write_bytes(of_old_write)
        return record(tx, row, head)  # type: ignore[arg-type]

    resealing._record_file = replaced  # type: ignore[method-assign, assignment]
    lab.store.reseal(0, MANY)
    assert lab.store.sealed_under() == keys_on_disk(lab) == {old: 1}
    resealing._record_file = record  # type: ignore[method-assign]
    assert reseal_all(lab) == 1
    assert lab.store.sealed_under() == keys_on_disk(lab) == {new: 1}
    assert get(lab.store, digest) == content


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_chunk_forgotten_meanwhile_leaves_nothing(lab: Lab, seed: int, size: int) -> None:
    """The collector may remove a chunk between its reading and its recording."""
    digest = put(lab.store, random.Random(seed).randbytes(size))
    rotate(lab)
    lab.store._names.save(lab.store._names.sealed_again())
    row = lab.store._index.chunk(digest)
    assert row is not None
    plain = lab.store.read_chunk(digest)
    lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
    lab.store.collect_chunks(0)
    lab.clock.advance(1)
    assert lab.store.collect_chunks(0).removed + lab.store.totals.chunks <= 1
    resealing, index = lab.store._resealing, lab.store._index
    if size == LARGE:
        resealing._reseal_file(index, row, plain)
    else:
        resealing._record_small(index, [(row, lab.store._sealer.seal(digest, plain))])
    assert lab.store.totals.chunks == 0
    assert lab.store.sealed_under() == {}
    assert keys_on_disk(lab) == {}


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_damaged_chunk_is_reported_and_needs_no_key(lab: Lab, seed: int, size: int) -> None:
    """Sealing again finds damage as a read does; what is quarantined does not hold up the old key."""
    digest = put(lab.store, random.Random(seed).randbytes(size))
    _, new = rotate(lab)
    put(lab.store, b"whole")

    def spoil(sealed: bytes) -> bytes:
        return sealed[:HEADER_BYTES] + bytes([sealed[HEADER_BYTES] ^ 1]) + sealed[HEADER_BYTES + 1 :]

    (lab.change_file if size == LARGE else lab.change_inline)(digest, spoil)
    assert reseal_all(lab) == 0
    assert lab.store.sealed_under() == {new: 1}
    assert lab.reported == [(digest, [digest])]
    with suppress(NotFound), pytest.raises(DamagedChunk):
        lab.store.read_chunk(digest)


def test_a_chunk_whose_key_is_missing_stays(lab: Lab, seed: int) -> None:
    """It is neither damage nor done: the key still counts as needed, and with the key the chunk is read."""
    content = random.Random(seed).randbytes(SMALL)
    digest = put(lab.store, content)
    old, _ = rotate(lab)
    both = (lab.root / "keys.json").read_bytes()
    ring_of(lab).retire(old)
    assert reseal_all(lab) == 0
    assert lab.store.sealed_under() == {old: 1}
    assert lab.reported == []
    (lab.root / "keys.json").write_bytes(both)
    assert get(lab.store, digest) == content
    assert reseal_all(lab) == 1


def test_storage_of_the_format_before_is_counted_at_its_start(lab: Lab, seed: int) -> None:
    """Format 2 had no numbers of chunks by key; damaged chunks do not count."""
    for number in range(4):
        put(lab.store, random.Random(seed + number).randbytes(SMALL))
    old, new = rotate(lab)
    put(lab.store, b"under the new key")
    damaged = lab.store._index.next_chunk(0)
    assert damaged is not None
    lab.store._index.submit(lambda tx: tx.mark_damaged(damaged.id))
    lab.store.close()
    make_format_4(lab.data, lab.keys)
    with closing(sqlite3.connect(lab.data / "index.db", isolation_level=None)) as db:
        db.execute("DELETE FROM total WHERE name LIKE 'sealed_under%' OR name = 'keys_counted'")
    (lab.data / "format").write_text("lockstep file server storage 2\n")
    lab.open()
    assert (lab.data / "format").read_text() == "lockstep file server storage 5\n"
    assert lab.store.sealed_under() == {old: 3, new: 1}


def test_a_write_undone_within_a_transaction_does_not_count(lab: Lab) -> None:
    """One refused write of a shared commit takes its counts back, also under a key that had none."""
    chunk = one_chunk(b"refused")
    staged = lab.store._sealed(WholeBlob([chunk], manifest_of([chunk])))[0]

    def work(tx: object) -> None:
        with suppress(ZeroDivisionError), tx.savepoint():  # type: ignore[attr-defined]
            tx.put_chunk(staged)  # type: ignore[attr-defined]
            raise ZeroDivisionError

    lab.store._index.submit(work)
    assert lab.store.sealed_under() == {}
    assert lab.store.totals.chunks == 0


def test_counts_are_true_after_any_sequence(lab: Lab, seed: int) -> None:
    """Puts, repeated puts, drops, collections, rotations, steps and restarts: the counts equal what the disk has."""
    source = random.Random(seed)
    known: list[Digest] = []
    for _ in range(120):
        action = source.choice(["put", "put", "again", "drop", "rotate", "reseal", "restart"])
        if action == "put":
            known.append(put(lab.store, source.randbytes(source.choice([SMALL, LARGE]))))
        elif action == "again" and known:
            put(lab.store, get(lab.store, source.choice(known)))
        elif action == "drop" and known:
            digest = known.pop(source.randrange(len(known)))
            lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
            lab.store.collect_chunks(0)
        elif action == "rotate" and len(ring_of(lab).key_ids) < 8:
            rotate(lab)
        elif action == "reseal":
            lab.store.reseal(0, source.choice([1, MANY]))
        elif action == "restart":
            lab.store.close()
            lab.open()
        counted = {key: count for key, count in lab.store.sealed_under().items() if count}
        assert counted == keys_on_disk(lab)
        assert set(lab.store.sealed_under()) - set(counted) <= {lab.store._names.storage_key}
