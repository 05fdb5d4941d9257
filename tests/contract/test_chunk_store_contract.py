"""Writes and reads of every chunk store: blobs are whole and durable once completed, or absent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from file_server.store.chunk_store import SWEEP_PARTS, ChunkStore, Fence, WholeBlob
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import DamagedChunk, MissingChunks, NotFound, TicketRefused
from lockstep_store.wire.manifest import Manifest
from tests.contract.chunk_store_engines import Storage, storage, store
from tests.fakes.blobs import get, manifest_of, one_chunk, put, put_chunks

__all__ = ["storage", "store"]

SIZES = [0, 1, 4096, 64 * 1024 - 33, 64 * 1024, 300_000, 3_000_000]
"""The third and fourth are on both sides of what the local engine keeps in its index (sealing adds 33 bytes)."""


@pytest.mark.parametrize("size", SIZES)
def test_completed_content_reads_back(store: ChunkStore, seed: int, size: int) -> None:
    """A blob is read back byte for byte, whatever its size."""
    data = random.Random(seed).randbytes(size)
    assert get(store, put(store, data)) == data


def test_reopening_finds_every_blob(storage: Storage, seed: int) -> None:
    """Closing and opening the storage changes nothing, figures included."""
    contents = [random.Random(seed + size).randbytes(size) for size in SIZES]
    store = storage.open()
    digests = [put(store, data) for data in contents]
    totals, store_id = store.totals, store.store_id
    store = storage.open()
    assert [get(store, digest) for digest in digests] == contents
    assert (store.totals, store.store_id) == (totals, store_id)


def test_what_is_not_held_is_not_found(store: ChunkStore) -> None:
    """Asking for a chunk or blob that was never stored is NotFound, not an empty answer."""
    unknown = chunk_digest(b"never stored")
    for ask in (store.read_chunk, store.manifest, lambda digest: store.lengths([digest])):
        with pytest.raises(NotFound):
            ask(unknown)
    assert store.missing([unknown, unknown]) == [unknown]
    assert store.generation(unknown) is None
    assert not store.drop_blob(unknown, 1)


def test_equal_content_is_stored_once(store: ChunkStore, seed: int) -> None:
    """A chunk that is held already, or comes twice in one write, takes no space again."""
    piece = random.Random(seed).randbytes(1_000_000)
    chunk = one_chunk(piece)
    manifest = Manifest([(chunk.digest, chunk.length)] * 3)
    for _ in range(2):
        with store.stage() as staging:
            staging.put(chunk)
            staging.put(chunk)
            staging.complete(manifest)
    assert store.totals.chunks == 1
    assert store.totals.stored_bytes < 1_001_000
    assert get(store, manifest.digest) == piece * 3


def test_aborted_chunks_leave_nothing(storage: Storage, store: ChunkStore, seed: int) -> None:
    """A write that is given up leaves no chunk, no object and no figure behind, however often it is aborted."""
    with store.stage() as staging:
        for chunk in chunk_bytes(random.Random(seed).randbytes(2_000_000)):
            staging.put(chunk)
        staging.abort()
    assert store.totals == (0, 0, 0)
    assert storage.engine.objects() == 0


def test_kept_chunks_survive_a_restart_without_a_blob(storage: Storage, seed: int) -> None:
    """A sender that was cut off needs to send only the rest, for the grace period and not longer."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(6_000_000)))
    store = storage.open()
    with store.stage() as staging:
        for chunk in chunks[:-1]:
            staging.put(chunk)
        staging.keep()
    store = storage.open()
    digests = [chunk.digest for chunk in chunks]
    assert store.missing(digests) == digests[-1:]
    assert store.totals.blobs == 0
    store.collect_chunks(60)
    storage.clock.advance(61)
    assert store.collect_chunks(60).removed == len(set(digests[:-1]))
    assert storage.engine.objects() == 0


def test_a_manifest_with_absent_chunks_is_refused_by_name(store: ChunkStore, seed: int) -> None:
    """Completing with chunks that are not here names exactly those, and what did arrive needs no second sending."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(6_000_000)))
    manifest = manifest_of(chunks)
    with store.stage() as staging:
        for chunk in chunks[:-1]:
            staging.put(chunk)
        assert staging.missing(chunk.digest for chunk in chunks) == [chunks[-1].digest]
        with pytest.raises(MissingChunks) as refusal:
            staging.complete(manifest)
    assert refusal.value.facts["digests"] == [str(chunks[-1].digest)]
    with pytest.raises(NotFound):
        store.manifest(manifest.digest)
    with store.stage() as staging:
        staging.put(chunks[-1])
        staging.complete(manifest)
    assert len(get(store, manifest.digest)) == 6_000_000


@pytest.mark.parametrize("size", [5000, 200_000])
@pytest.mark.parametrize("beside", [False, True], ids=["held before", "in the same stream"])
def test_a_length_that_is_not_the_chunks_makes_no_blob(store: ChunkStore, seed: int, size: int, beside: bool) -> None:
    """A sender that says "you have it" of a chunk under another length is asked for its bytes, and nothing is stored:
    readers would take the blob for damaged, and nobody could write that content any more."""
    data = random.Random(seed).randbytes(size)
    digest = chunk_digest(data)
    if not beside:
        put(store, data)
        store.drop_blob(digest, store.generation(digest) or 0)
    for lie in (0, size - 1, size + 1):
        manifest = Manifest([(digest, size), (digest, lie)] if beside else [(digest, lie)])
        with store.stage() as staging:
            if beside:
                staging.put(Chunk(digest, size, data))
            staging.put(Chunk(digest, lie, None))
            with pytest.raises(MissingChunks) as refusal:
                staging.complete(manifest)
        assert refusal.value.facts["digests"] == [str(digest)]
        assert store.generation(manifest.digest) is None
    assert get(store, put(store, data)) == data
    assert store.manifest(digest).size == size


def test_a_newer_lock_shuts_out_older_writes_for_good(storage: Storage) -> None:
    """Once a lock number was seen on a path, lower ones are refused there, also after a restart, and only there."""
    store = storage.open()
    put(store, b"first", Fence("files/a", 7))
    for attempt in range(2):
        with pytest.raises(TicketRefused) as refusal:
            put(store, b"late", Fence("files/a", 6))
        assert refusal.value.facts["fence"] == 7
        with pytest.raises(TicketRefused):
            store.check_fence(Fence("files/a", 6))
        assert store.missing([chunk_digest(b"late")])
        assert store.highest_fence() == 7
        put(store, b"same lock %d" % attempt, Fence("files/a", 7))
        put(store, b"elsewhere", Fence("files/b", 1))
        store = storage.open()


def test_storing_again_is_safe_and_makes_a_new_generation(store: ChunkStore) -> None:
    """The same content stored again is one blob, of a higher generation."""
    digest = put(store, b"content")
    first = store.generation(digest)
    assert put(store, b"content") == digest
    assert first is not None
    assert (store.generation(digest) or 0) > first
    assert store.latest_generation == store.generation(digest)
    assert store.totals.blobs == 1


def test_concurrent_writers_share_neither_refusals_nor_their_undoing(store: ChunkStore, seed: int) -> None:
    """Each of many writers at once gets what it stored, or its own refusal, which leaves nothing of it."""
    put(store, b"lock 5", Fence("files/a", 5))
    contents = [random.Random(seed + number).randbytes(2000) for number in range(60)]
    with ThreadPoolExecutor(16) as pool:
        good = [pool.submit(put, store, data) for data in contents]
        bad = [pool.submit(put, store, b"bad %d" % number, Fence("files/a", 4)) for number in range(20)]
    for future in bad:
        with pytest.raises(TicketRefused):
            future.result()
    assert [get(store, future.result()) for future in good] == contents
    assert (store.totals.blobs, store.totals.chunks) == (61, 61)


@pytest.mark.parametrize("large", [3000, 300_000, 3_000_000])
def test_blobs_put_together_are_each_decided_alone(storage: Storage, seed: int, large: int) -> None:
    """Good ones are durable on return, whatever their size; a refused one changes nothing and spoils no other."""
    store = storage.open()
    put(store, b"lock 5", Fence("files/a", 5))
    contents = [random.Random(seed + size).randbytes(size) for size in (0, 1000, large)]
    blobs = [_whole(data) for data in contents]
    known, absent = one_chunk(b"lock 5"), one_chunk(b"never stored")
    again = [known._replace(data=None), blobs[1].chunks[0]]
    lacking = [one_chunk(b"beside"), absent._replace(data=None)]
    outcomes = store.put_blobs(
        [
            blobs[0],
            WholeBlob([one_chunk(b"late")], manifest_of([one_chunk(b"late")]), Fence("files/a", 4)),
            WholeBlob(again, manifest_of(again), Fence("files/a", 6)),
            WholeBlob(lacking, manifest_of(lacking)),
            *blobs[1:],
        ]
    )
    refused, missing = outcomes[1], outcomes[3]
    assert isinstance(refused, TicketRefused)
    assert isinstance(missing, MissingChunks)
    assert missing.facts["digests"] == [str(absent.digest)]
    assert [outcomes[position] for position in (0, 2, 4, 5)] == [None] * 4
    store = storage.open()
    assert [get(store, blob.manifest.digest) for blob in blobs] == contents
    assert get(store, manifest_of(again).digest) == b"lock 5" + contents[1]
    assert store.generation(manifest_of(lacking).digest) is None
    assert store.missing([one_chunk(b"late").digest]) == [one_chunk(b"late").digest]
    assert store.highest_fence() == 6


def test_damage_is_never_returned_and_reported_once(storage: Storage, seed: int) -> None:
    """A chunk that fails its check is no longer held, its blobs are named, and storing it again mends them."""
    store = storage.open()
    data = random.Random(seed).randbytes(200_000)
    digest = put_chunks(store, [one_chunk(data)]).digest
    storage.engine.damage(digest)
    for _ in range(2):
        with pytest.raises(DamagedChunk):
            store.read_chunk(digest)
    assert storage.reported == [(digest, [digest])]
    assert store.missing([digest]) == store.damaged_blobs() == store.not_whole([digest]) == [digest]
    put_chunks(store, [one_chunk(data)])
    assert get(store, digest) == data
    assert store.damaged_blobs() == store.not_whole([digest]) == []


def _whole(data: bytes) -> WholeBlob:
    chunks = list(chunk_bytes(data))
    return WholeBlob(chunks, manifest_of(chunks))


_CHILD = """
import random, sys, threading
from pathlib import Path
from tests.contract.chunk_store_engines import Storage
from tests.fakes.blobs import put
name, root, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
store = Storage(name, root).open()
guard = threading.Lock()
def work(number):
    source = random.Random(seed + number)
    while True:
        data = source.randbytes(source.choice([100, 5000, 200_000, 1_500_000]))
        digest = put(store, data)
        with guard:
            print(digest, flush=True)
for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
threading.Event().wait()
"""


def test_killed_in_mid_write_every_acknowledged_blob_is_whole(storage: Storage, tmp_path: Path, seed: int) -> None:
    """After kill -9 at any moment, whatever was acknowledged is complete and intact, and nothing else is counted."""
    acknowledged: list[str] = []
    for round_number in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, storage.name, str(tmp_path), str(seed + 10 * round_number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        wanted = random.Random(seed + round_number).randrange(5, 40)
        for line in child.stdout:
            acknowledged.append(line.strip())
            wanted -= 1
            if wanted == 0:
                os.kill(child.pid, signal.SIGKILL)
        child.stdout.close()
        child.wait()
        store = storage.open()
        for text in (text for text in acknowledged if len(text) == 64):
            digest = Digest.parse(text)
            assert store.manifest(digest).size == len(get(store, digest))
        for row in store.blobs(0, store.latest_generation, 100_000):
            assert len(get(store, row.digest)) == row.size
        for part in range(SWEEP_PARTS):
            store.sweep_orphans(part)
        assert storage.engine.objects() <= store.totals.chunks
        storage.close()
    assert len(acknowledged) >= 20
