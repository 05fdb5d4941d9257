"""What a chunk store promises, whoever asks: whole blobs, durable when sealed, gone or complete after a crash."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from file_server.store.local.chunk_store import ChunkStore
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.index_transaction import Fence
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import MissingChunks, NotFound, TicketRefused
from lockstep_store.wire.manifest import Manifest
from tests.fakes.clock import ManualClock

SIZES = [0, 1, 4096, 64 * 1024 - 33, 64 * 1024, 300_000, 3_000_000]
"""The third and fourth lie on both sides of what is kept in the index (a seal adds 33 bytes)."""

Reopen = Callable[[], ChunkStore]


def _open(root: Path, clock: ManualClock | None = None) -> ChunkStore:
    sealer = Sealer(KeyRing.load_or_create(root / "keys.json"))
    return ChunkStore(DiskLayout.open(root / "data"), sealer, clock=clock or ManualClock(), reserve_bytes=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[ChunkStore]:
    store = _open(tmp_path, clock)
    yield store
    store.close()


def put(store: ChunkStore, data: bytes, fence: Fence | None = None) -> Digest:
    """Store a file's content as a write does; its digest."""
    chunks = list(chunk_bytes(data))
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    with store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk)
        staging.seal(manifest, fence)
    return manifest.digest


def get(store: ChunkStore, digest: Digest) -> bytes:
    """A blob's content, every chunk verified."""
    return b"".join(store.read_chunk(chunk) for chunk, _ in store.manifest(digest).chunks)


@pytest.mark.parametrize("size", SIZES)
def test_sealed_content_reads_back(store: ChunkStore, seed: int, size: int) -> None:
    """What was sealed is read back byte for byte, whatever its size."""
    data = random.Random(seed).randbytes(size)
    assert get(store, put(store, data)) == data


def test_reopening_finds_every_blob(tmp_path: Path, seed: int) -> None:
    """Closing and opening the folder again changes nothing, figures included."""
    contents = [random.Random(seed + size).randbytes(size) for size in SIZES]
    store = _open(tmp_path)
    digests = [put(store, data) for data in contents]
    totals, store_id = store.totals, store.store_id
    store.close()
    store = _open(tmp_path)
    assert [get(store, digest) for digest in digests] == contents
    assert (store.totals, store.store_id) == (totals, store_id)
    store.close()


def test_what_is_not_held_is_not_found(store: ChunkStore) -> None:
    """Asking for a chunk or blob that was never stored is NotFound, not an empty answer."""
    unknown = chunk_digest(b"never stored")
    for ask in (store.read_chunk, store.manifest, lambda digest: store.lengths([digest])):
        with pytest.raises(NotFound):
            ask(unknown)
    assert store.missing([unknown, unknown]) == [unknown]
    assert store.generation(unknown) is None


def test_equal_content_is_stored_once(store: ChunkStore, seed: int) -> None:
    """A chunk that is held already, or comes twice in one write, takes no space again."""
    piece = random.Random(seed).randbytes(1_000_000)
    chunk = Chunk(chunk_digest(piece), len(piece), piece)
    manifest = Manifest([(chunk.digest, chunk.length)] * 3)
    for _ in range(2):
        with store.stage() as staging:
            staging.put(chunk)
            staging.put(chunk)
            staging.seal(manifest)
    assert store.totals.chunks == 1
    assert store.totals.stored_bytes < 1_001_000
    assert get(store, manifest.digest) == piece * 3


def test_unsealed_chunks_leave_nothing(tmp_path: Path, store: ChunkStore, seed: int) -> None:
    """A write that is given up leaves no chunk, no file and no figure behind."""
    with store.stage() as staging:
        for chunk in chunk_bytes(random.Random(seed).randbytes(2_000_000)):
            staging.put(chunk)
    assert store.totals == (0, 0, 0)
    assert [path for path in (tmp_path / "data" / "incoming").iterdir()] == []
    assert [path for path in (tmp_path / "data" / "chunks").rglob("*") if path.is_file()] == []


def test_a_manifest_with_absent_chunks_is_refused_by_name(store: ChunkStore, seed: int) -> None:
    """Sealing with chunks that are not here names exactly those, and what did arrive needs no second sending."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(6_000_000)))
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    with store.stage() as staging:
        for chunk in chunks[:-1]:
            staging.put(chunk)
        with pytest.raises(MissingChunks) as refusal:
            staging.seal(manifest)
    assert refusal.value.facts["digests"] == [str(chunks[-1].digest)]
    with pytest.raises(NotFound):
        store.manifest(manifest.digest)
    with store.stage() as staging:
        staging.put(chunks[-1])
        staging.seal(manifest)
    assert len(get(store, manifest.digest)) == 6_000_000


@pytest.mark.parametrize("size", [5000, 200_000])
@pytest.mark.parametrize("beside", [False, True], ids=["held before", "in the same stream"])
def test_a_length_that_is_not_the_chunks_makes_no_blob(store: ChunkStore, seed: int, size: int, beside: bool) -> None:
    """A sender that says "you have it" of a chunk under another length is asked for its bytes, and nothing is sealed:
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
                staging.seal(manifest)
        assert refusal.value.facts["digests"] == [str(digest)]
        assert store.generation(manifest.digest) is None
    assert get(store, put(store, data)) == data
    assert store.manifest(digest).size == size


def test_a_newer_lock_shuts_out_older_writes_for_good(tmp_path: Path) -> None:
    """Once a lock number was seen on a path, lower ones are refused there, also after a restart, and only there."""
    store = _open(tmp_path)
    put(store, b"first", Fence("files/a", 7))
    for attempt in range(2):
        with pytest.raises(TicketRefused) as refusal:
            put(store, b"late", Fence("files/a", 6))
        assert refusal.value.facts["fence"] == 7
        with pytest.raises(TicketRefused):
            store.check_fence(Fence("files/a", 6))
        assert store.missing([chunk_digest(b"late")])
        put(store, b"same lock %d" % attempt, Fence("files/a", 7))
        put(store, b"elsewhere", Fence("files/b", 1))
        store.close()
        store = _open(tmp_path)
    store.close()


def test_sealing_again_is_safe_and_makes_a_new_generation(store: ChunkStore) -> None:
    """The same content sealed again is one blob, of a higher generation."""
    digest = put(store, b"content")
    first = store.generation(digest)
    assert put(store, b"content") == digest
    assert first is not None
    assert (store.generation(digest) or 0) > first
    assert store.totals.blobs == 1


def test_concurrent_seals_are_all_durable_and_share_commits(tmp_path: Path, seed: int) -> None:
    """Many writers at once all get what they sealed, with far fewer commits than seals."""
    store = _open(tmp_path)
    commits: list[str] = []
    store._index._writer.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    contents = [random.Random(seed + number).randbytes(2000) for number in range(400)]
    with ThreadPoolExecutor(32) as pool:
        digests = list(pool.map(lambda data: put(store, data), contents))
    assert len(commits) < len(contents) / 2
    store._index._writer.set_trace_callback(None)
    store.close()
    store = _open(tmp_path)
    assert [get(store, digest) for digest in digests] == contents
    store.close()


def test_one_refused_seal_spoils_no_other_in_its_commit(store: ChunkStore) -> None:
    """Writers that share a commit share neither refusals nor the undoing of them."""
    put(store, b"lock 5", Fence("files/a", 5))
    gate = threading.Event()
    holding = threading.Thread(target=lambda: store._index.submit(lambda _: gate.wait(60)))
    holding.start()
    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(put, store, b"good %d" % number, None) for number in range(4)]
        bad = [pool.submit(put, store, b"bad %d" % number, Fence("files/a", 4)) for number in range(4)]
        gate.set()
        for future in bad:
            with pytest.raises(TicketRefused):
                future.result()
        for number, future in enumerate(good):
            assert get(store, future.result()) == b"good %d" % number
    holding.join()
    assert store.totals.blobs == 5
    assert store.totals.chunks == 5


def test_dropped_blobs_go_and_shared_chunks_stay(store: ChunkStore, clock: ManualClock, seed: int) -> None:
    """Dropping a blob frees, after the grace period, exactly the chunks that no other blob refers to."""
    shared, own, other = (random.Random(seed + number).randbytes(400_000) for number in range(3))
    pieces = {data: Chunk(chunk_digest(data), len(data), data) for data in (shared, own, other)}

    def blob(*contents: bytes) -> Manifest:
        manifest = Manifest((pieces[data].digest, len(data)) for data in contents)
        with store.stage() as staging:
            for data in contents:
                staging.put(pieces[data])
            staging.seal(manifest)
        return manifest

    dropped, kept = blob(shared, own), blob(shared, other)
    assert store.drop_blob(dropped.digest, store.generation(dropped.digest) or 0)
    assert store.collect_chunks(60).removed == 0
    clock.advance(61)
    assert store.collect_chunks(60).removed == 1
    assert store.missing([pieces[own].digest, pieces[shared].digest]) == [pieces[own].digest]
    assert get(store, kept.digest) == shared + other
    assert store.totals.chunks == 2


def test_a_blob_sealed_again_is_not_dropped(store: ChunkStore) -> None:
    """A drop decided before the latest seal does nothing."""
    digest = put(store, b"content")
    decided_on = store.generation(digest) or 0
    put(store, b"content")
    assert not store.drop_blob(digest, decided_on)
    assert get(store, digest) == b"content"


_CHILD = """
import random, sys, threading
from pathlib import Path
from tests.contract.test_chunk_store_contract import _open, put
root, seed = Path(sys.argv[1]), int(sys.argv[2])
store = _open(root)
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


def test_killed_in_mid_seal_every_acknowledged_blob_is_whole(tmp_path: Path, seed: int) -> None:
    """After kill -9 at any moment, whatever was acknowledged is complete and intact, and nothing else is counted."""
    acknowledged: list[str] = []
    for round_number in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path), str(seed + 10 * round_number)],
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
        whole = [text for text in acknowledged if len(text) == 64]
        store = _open(tmp_path)
        assert list((tmp_path / "data" / "incoming").iterdir()) == []
        for text in whole:
            digest = Digest.parse(text)
            assert store.manifest(digest).size == len(get(store, digest))
        for row in store.blobs(0, store.latest_generation, 100_000):
            assert len(get(store, row.digest)) == row.size
        for folder in range(256):
            store.sweep_orphans(folder)
        files = sum(1 for path in (tmp_path / "data" / "chunks").rglob("*") if path.is_file())
        assert files <= store.totals.chunks
        store.close()
    assert len(acknowledged) >= 20
