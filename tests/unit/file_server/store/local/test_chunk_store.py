"""The chunk store when things go wrong: damage, full and broken disks, races, other versions."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local import index_rescue
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.flush_watch import HANGING_LOOKS, HANGING_SECONDS, FlushWatch
from file_server.store.local.index_transaction import INLINE
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.codec import encode
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import (
    Damaged,
    DamagedChunk,
    LockstepError,
    MissingChunks,
    NotFound,
    SetupError,
    StorageFormatError,
    StorageFull,
    Unavailable,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from tests.fakes.blobs import get, put
from tests.fakes.clock import ManualClock
from tests.fakes.disk import WRITE_SITES, BrokenDisk

SMALL, LARGE = 1000, 200_000


class Lab:
    """A store with a disk that breaks, a clock that is moved, and a list of reported damage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.disk = BrokenDisk()
        self.clock = ManualClock()
        self.reported: list[tuple[Digest, list[Digest]]] = []
        self.store = self.open()

    def open(self) -> LocalChunkStore:
        self.store = LocalChunkStore(
            DiskLayout.open(self.data),
            Sealer(KeyRing.load_or_create(self.root / "keys.json")),
            clock=self.clock,
            disk=self.disk,
            reserve_bytes=0,
            on_damage=lambda chunk, blobs: self.reported.append((chunk, blobs)),
        )
        return self.store

    def files(self, folder: str) -> list[Path]:
        return [path for path in (self.data / folder).rglob("*") if path.is_file()]

    def change_inline(self, digest: Digest, change: object) -> None:
        row = self.store._index.chunk(digest)
        assert row is not None
        assert row.place == INLINE
        assert row.sealed is not None
        damaged = change(row.sealed)  # type: ignore[operator]
        self.store._index.submit(lambda tx: tx._run("UPDATE inline SET sealed = ? WHERE chunk = ?", (damaged, row.id)))

    def limit_index(self, size: int) -> None:
        """Let the index grow to about `size` bytes and no further, or not at all beyond what it has."""
        writer = self.store._index._writer
        pages = max(1, size // 4096)
        self.store._index.submit(lambda _: writer.execute(f"PRAGMA max_page_count = {pages}").fetchall() and None)

    def change_file(self, digest: Digest, change: object) -> None:
        path = self.data / "chunks" / digest.hex()[:2] / digest.hex()
        path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.store.close()


def _flip(position: int) -> object:
    def change(sealed: bytes) -> bytes:
        damaged = bytearray(sealed)
        damaged[position] ^= 1
        return bytes(damaged)

    return change


DAMAGE = {
    "first byte": _flip(0),
    "key id": _flip(2),
    "nonce": _flip(9),
    "content": _flip(400),
    "last byte": _flip(-1),
    "cut": lambda sealed: sealed[:-1],
    "cut to its header": lambda sealed: sealed[:17],
    "emptied": lambda sealed: b"",
    "longer": lambda sealed: sealed + b"x",
}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_quarantined_reported_and_mended(lab: Lab, seed: int, size: int, kind: str) -> None:
    """No damaged byte is ever served; the chunk is set aside, its blobs named, and a new copy mends it."""
    content = random.Random(seed).randbytes(size)
    digest = put(lab.store, content)
    (lab.change_inline if size == SMALL else lab.change_file)(digest, DAMAGE[kind])
    for _ in range(2):
        with pytest.raises(DamagedChunk):
            lab.store.read_chunk(digest)
    assert lab.reported == [(digest, [digest])]
    assert len(lab.files("quarantine")) == 1
    assert lab.store.missing([digest]) == [digest]
    assert lab.store.damaged_blobs() == [digest]
    put(lab.store, content)
    assert get(lab.store, digest) == content
    assert lab.store.damaged_blobs() == []


def test_damage_names_every_blob_that_has_the_chunk(lab: Lab, seed: int) -> None:
    """The report names blobs, one-chunk and larger ones alike, because those are what can be repaired."""
    source = random.Random(seed)
    pieces = [source.randbytes(LARGE) for _ in range(2)]
    chunks = [Chunk(chunk_digest(piece), LARGE, piece) for piece in pieces]
    manifest = Manifest((chunk.digest, LARGE) for chunk in chunks)
    put(lab.store, pieces[0])
    with lab.store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk)
        staging.complete(manifest)
    lab.change_file(chunks[0].digest, DAMAGE["content"])
    with pytest.raises(DamagedChunk):
        lab.store.read_chunk(chunks[0].digest)
    ((chunk, blobs),) = lab.reported
    assert chunk == chunks[0].digest
    assert sorted(blobs) == sorted([manifest.digest, chunks[0].digest])


def test_a_lost_file_is_damage(lab: Lab, seed: int) -> None:
    """A chunk whose file is gone counts as damaged, not as an error of the server."""
    digest = put(lab.store, random.Random(seed).randbytes(LARGE))
    (path,) = lab.files("chunks")
    path.unlink()
    with pytest.raises(DamagedChunk):
        lab.store.read_chunk(digest)
    assert lab.store.missing([digest]) == [digest]


def test_a_swapped_file_is_damage(lab: Lab, seed: int) -> None:
    """Another chunk's intact file in its place does not pass for the chunk."""
    source = random.Random(seed)
    first, second = put(lab.store, source.randbytes(LARGE)), put(lab.store, source.randbytes(LARGE))
    other = (lab.data / "chunks" / second.hex()[:2] / second.hex()).read_bytes()
    lab.change_file(first, lambda _: other)
    with pytest.raises(DamagedChunk):
        lab.store.read_chunk(first)
    assert lab.store.read_chunk(second)


def test_a_blob_whose_size_is_not_its_chunks_is_damage(lab: Lab, seed: int) -> None:
    """One chunk names its blob, so no digest vouches for the size in the blob's row: it is compared with the chunk's,
    and a blob that says something else is told of, given up and made again."""
    data = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, data)
    lab.store._index.submit(lambda tx: tx._run("UPDATE blob SET size = size + 1024 WHERE digest = ?", (digest,)))
    with pytest.raises(Damaged):
        lab.store.manifest(digest)
    assert lab.reported == [(digest, [digest])]
    assert lab.store.generation(digest) is None
    assert lab.store.collect_chunks(600).waiting == 1, "its chunk is not forgotten"
    assert get(lab.store, put(lab.store, data)) == data
    assert lab.store.manifest(digest).size == LARGE


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_bytes_that_come_again_mend_the_length_in_a_chunks_row(lab: Lab, seed: int, size: int) -> None:
    """Whoever writes the content is not refused for what has rotted here."""
    data = random.Random(seed).randbytes(size)
    digest = put(lab.store, data)
    lab.store._index.submit(lambda tx: tx._run("UPDATE chunk SET length = length + 1 WHERE digest = ?", (digest,)))
    assert put(lab.store, data) == digest
    assert get(lab.store, digest) == data
    assert lab.store.manifest(digest).size == size


def test_a_rotten_note_is_left_behind_when_the_index_is_made_anew(lab: Lab) -> None:
    """It must not make the next index a damaged one too: no restored directory would ever be told of the others."""
    digest = put(lab.store, b"content")
    for cursor in (7, 8):
        version = FileVersion("files", "a", f"{cursor:016d}", digest, 7, "ada", 0.0, cursor=cursor)
        lab.store.note(cursor, digest, partial(encode, CommitNote("w" * 16, version)))
    lab.store.keep_notes()
    lab.store._index.submit(lambda tx: tx._run("UPDATE note SET note = ? WHERE cursor = 7", (b"\x80rot",)))
    with pytest.raises(Unavailable, match="restart this file server"):
        lab.store.notes(0, 100, 10)
    lab.store.close()
    lab.open()
    assert [note.version.cursor for note in lab.store.notes(0, 100, 10)] == [8]
    assert lab.store.problem == ""


def test_a_row_that_stands_in_a_wrong_place_has_the_index_made_anew(lab: Lab) -> None:
    """SQLite finds no row whose key has rotted, and none for sure that is written in its place; it does not say so."""
    digests = [put(lab.store, bytes([number]) * 100) for number in range(3)]
    root = lab.store._index._writer.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'inline'").fetchone()[0]
    lab.store.close()
    index = bytearray((lab.data / "index.db").read_bytes())
    page = (root - 1) * 4096
    cell = page + int.from_bytes(index[page + 8 : page + 10], "big")
    key = cell + (2 if index[cell] & 0x80 else 1)  # behind the size of what follows
    assert (index[page], index[key]) == (0x0D, 1)
    index[key] = 9
    (lab.data / "index.db").write_bytes(index)
    lab.open()
    with pytest.raises(Unavailable, match="restart this file server"):
        lab.store.read_chunk(digests[0])
    assert lab.reported == [(digests[0], [digests[0]])]
    lab.store.close()
    lab.open()
    assert lab.store.problem == ""
    for number, digest in enumerate(digests):
        assert put(lab.store, bytes([number]) * 100) == digest
        assert get(lab.store, digest) == bytes([number]) * 100


@pytest.mark.parametrize("what", ["gone", "empty"])
def test_chunk_files_are_kept_when_the_index_is_lost(lab: Lab, seed: int, what: str) -> None:
    """They may be the last good ones: repair finds them here, whenever it comes, and nobody sweeps them away."""
    halves = [random.Random(seed + number).randbytes(LARGE) for number in range(2)]
    chunks = [Chunk(chunk_digest(half), len(half), half) for half in halves]
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    with lab.store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk)
        staging.complete(manifest)
    lab.store.close()
    index = lab.data / "index.db"
    index.unlink() if what == "gone" else index.write_bytes(b"")
    lab.open()
    for number in range(256):
        assert lab.store.sweep_orphans(number) == 0
    for _ in range(3):
        assert lab.store.collect_chunks(600).removed == 0
        lab.clock.advance(10_000)
    with lab.store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk._replace(data=None))
        staging.complete(manifest)
    assert get(lab.store, manifest.digest) == b"".join(halves)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_index_made_anew_knows_which_chunks_nobody_needs(lab: Lab, seed: int, size: int) -> None:
    """They are collected after their grace period, as if nothing had been damaged."""
    source = random.Random(seed)
    unneeded = put(lab.store, source.randbytes(size))
    lab.store.drop_blob(unneeded, lab.store.generation(unneeded) or 0)
    needed = source.randbytes(size)
    put(lab.store, needed)
    lab.store.close()
    (lab.data / "index-damaged").touch()
    lab.open()
    assert lab.store.missing([unneeded]) == []
    lab.store.collect_chunks(600)
    lab.clock.advance(600)
    assert lab.store.collect_chunks(600) == (1, 0)
    assert lab.store.missing([unneeded]) == [unneeded]
    assert get(lab.store, chunk_digest(needed)) == needed


def test_an_index_is_not_set_aside_while_the_disk_takes_no_mark(
    lab: Lab, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start is refused, and the next one makes the index anew: it never takes a half-made one for good."""
    data = random.Random(seed).randbytes(SMALL)
    digest = put(lab.store, data)
    lab.store.close()
    index = lab.data / "index.db"
    index.write_bytes(b"no database" + index.read_bytes()[11:])

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space")

    layout = DiskLayout.open(lab.data)
    with monkeypatch.context() as patch:
        patch.setattr(index_rescue, "write_durably", full)
        with pytest.raises(OSError, match="no space"):
            index_rescue.open_index(
                layout, Sealer(KeyRing.load_or_create(lab.root / "keys.json")), FlushWatch()
            ).close()
    layout.close()
    assert index.exists()
    index.write_bytes(b"SQLite format 3" + index.read_bytes()[15:])
    lab.open()
    assert get(lab.store, digest) == data


def test_a_missing_storage_key_quarantines_nothing(lab: Lab, seed: int) -> None:
    """Without the key it was sealed with a chunk cannot be read, but it is not damaged and stays where it is."""
    digests = [put(lab.store, random.Random(seed).randbytes(size)) for size in (SMALL, LARGE)]
    lab.store.close()
    (lab.root / "keys.json").rename(lab.root / "kept.json")
    lab.open()
    for digest in digests:
        with pytest.raises(StorageFormatError):
            lab.store.read_chunk(digest)
    assert lab.store.verify_next(0) is not None
    assert lab.reported == []
    assert lab.files("quarantine") == []
    lab.store.close()
    (lab.root / "kept.json").rename(lab.root / "keys.json")
    lab.open()
    assert [len(lab.store.read_chunk(digest)) for digest in digests] == [SMALL, LARGE]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("site", WRITE_SITES)
def test_a_disk_that_fails_anywhere_leaves_nothing_half_done(lab: Lab, seed: int, site: str, number: int) -> None:
    """A write that the disk refuses is refused whole, cleaned up, remembered as a problem, and works later."""
    content = random.Random(seed).randbytes(2_500_000)
    lab.disk.broken = {site: number}
    with pytest.raises(StorageFull if number == errno.ENOSPC else Unavailable):
        put(lab.store, content)
    assert lab.store.problem
    assert lab.files("incoming") == []
    assert lab.files("chunks") == []
    assert lab.store.totals == (0, 0, 0)
    if site != "rename":  # a probe does not rename
        with pytest.raises(Unavailable):
            lab.store.probe()
    lab.disk.repair()
    lab.store.probe()
    assert not lab.store.problem
    assert get(lab.store, put(lab.store, content)) == content


def test_a_full_index_refuses_and_recovers(lab: Lab, seed: int) -> None:
    """When the index itself cannot grow, small writes are refused as StorageFull, and nothing of them stays."""
    source = random.Random(seed)
    kept = put(lab.store, b"kept")
    lab.limit_index(200_000)
    stored = []
    with pytest.raises(StorageFull):
        for _ in range(100):
            stored.append(put(lab.store, source.randbytes(40_000)))
    assert 0 < len(stored) < 10
    assert lab.store.totals.blobs == len(stored) + 1
    assert lab.store.problem
    lab.limit_index(1 << 40)
    lab.store.probe()
    assert put(lab.store, source.randbytes(40_000))
    assert all(get(lab.store, digest) for digest in [kept, *stored])


def test_a_full_index_takes_back_the_files_of_the_seal(lab: Lab, seed: int) -> None:
    """Files that were already in place when the index refused are removed again."""
    lab.limit_index(1)
    source = random.Random(seed)
    with pytest.raises(StorageFull):
        for _ in range(200):
            put(lab.store, source.randbytes(LARGE))
    assert len(lab.files("chunks")) == lab.store.totals.chunks
    assert lab.files("incoming") == []


@pytest.mark.parametrize("site", ["write_new", "sync_and_close", "sync_folder", "commit"])
def test_a_disk_that_hangs_is_a_problem_until_it_answers(lab: Lab, seed: int, site: str) -> None:
    """After five seconds it is told and new writes are refused at once; nobody tries it; then all is well again."""
    let_go = threading.Event()
    if site == "commit":
        hold_commits(lab, let_go)
    lab.disk.hanging = {site: let_go}
    content = random.Random(seed).randbytes(LARGE)
    writer = threading.Thread(target=put, args=(lab.store, content))
    writer.start()
    try:
        assert lab.disk.reached.wait(60)
        lab.disk.hanging = {}
        for _ in range(HANGING_LOOKS + 1):
            lab.store.probe()
            lab.clock.advance(HANGING_SECONDS / (HANGING_LOOKS + 1))
        with pytest.raises(Unavailable, match="hangs"):
            lab.store.probe()
        assert "hangs" in lab.store.problem
        with pytest.raises(Unavailable, match="hangs"):
            put(lab.store, b"another")
    finally:
        let_go.set()
        writer.join(60)
    lab.store.probe()
    assert not lab.store.problem
    assert get(lab.store, put(lab.store, content)) == content


def hold_commits(lab: Lab, let_go: threading.Event) -> None:
    """Have the index's next commit wait like a disk that hangs."""
    index = lab.store._index
    connection = index._writer

    class Held:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def execute(self, statement: str, *more: Any) -> Any:
            if statement == "COMMIT" and not let_go.is_set():
                lab.disk.reached.set()
                assert let_go.wait(60)
            return connection.execute(statement, *more)

    index._writer = Held()  # type: ignore[assignment]


def test_a_program_that_was_stopped_does_not_blame_its_disk(lab: Lab, seed: int) -> None:
    """However long it was stopped in the middle of a flush: time alone is not enough."""
    let_go = threading.Event()
    lab.disk.hanging = {"sync_and_close": let_go}
    writer = threading.Thread(target=put, args=(lab.store, random.Random(seed).randbytes(LARGE)))
    writer.start()
    try:
        assert lab.disk.reached.wait(60)
        lab.store.probe()
        lab.clock.advance(3600)
        lab.store.probe()
    finally:
        let_go.set()
        writer.join(60)


def test_space_runs_out_at_the_reserve(lab: Lab, tmp_path: Path) -> None:
    """Writes stop while the reserve is still free, and start again when there is room."""
    lab.store._files._reserve_bytes = lab.store._reserve_bytes = 1 << 20
    lab.disk.free = 1 << 20
    assert lab.store.space()[1] == 0
    put(lab.store, b"")
    with pytest.raises(StorageFull):
        put(lab.store, bytes(LARGE))
    lab.disk.free = (1 << 20) - 1
    with pytest.raises(StorageFull):
        put(lab.store, b"x")
    with pytest.raises(StorageFull):
        lab.store.probe()
    lab.disk.repair()
    lab.store.probe()
    put(lab.store, bytes(LARGE))


def test_damage_is_told_even_when_quarantine_has_no_room(lab: Lab, seed: int) -> None:
    """A full disk keeps neither the reader from the truth nor the repair from being ordered."""
    digest = put(lab.store, random.Random(seed).randbytes(LARGE))
    lab.change_file(digest, DAMAGE["content"])
    lab.disk.broken = {"rename": errno.ENOSPC}
    with pytest.raises(DamagedChunk):
        lab.store.read_chunk(digest)
    assert lab.reported == [(digest, [digest])]


def test_collection_waits_a_grace_period_of_its_own_time(lab: Lab, seed: int) -> None:
    """Neither a jump of the wall clock nor time spent stopped ends a grace period."""
    content = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, content)
    lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
    lab.store.collect_chunks(60)
    lab.clock.step_wall(1e9)
    assert lab.store.collect_chunks(60).waiting == 1
    lab.store.close()
    lab.clock.advance(1000)
    lab.open()
    assert lab.store.collect_chunks(60).removed == 0
    lab.clock.advance(61)
    assert lab.store.collect_chunks(60).removed == 1
    assert lab.files("chunks") == []


def test_saying_that_a_chunk_is_here_keeps_it_for_a_grace_period(lab: Lab, seed: int) -> None:
    """A sender that was told not to send a chunk finds it there when it seals."""
    content = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, content)
    lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
    lab.store.collect_chunks(60)
    lab.clock.advance(59)
    assert lab.store.missing([digest]) == []
    lab.clock.advance(59)
    assert lab.store.collect_chunks(60).removed == 0
    with lab.store.stage() as staging:
        staging.complete(Manifest([(digest, LARGE)]))
    lab.clock.advance(61)
    assert lab.store.collect_chunks(60) == (0, 0)
    assert get(lab.store, digest) == content


def test_an_upload_under_way_keeps_the_chunks_that_it_counts_on(lab: Lab, seed: int) -> None:
    """However long an upload takes, what it was told is here, or found here, is here at its seal."""
    source = random.Random(seed)
    contents = [source.randbytes(LARGE) for _ in range(2)]
    chunks = [Chunk(chunk_digest(content), LARGE, content) for content in contents]
    for content, chunk in zip(contents, chunks, strict=True):
        put(lab.store, content)
        lab.store.drop_blob(chunk.digest, lab.store.generation(chunk.digest) or 0)
    manifest = Manifest((chunk.digest, LARGE) for chunk in chunks)
    with lab.store.stage() as staging:
        staging.put(chunks[0]._replace(data=None))
        staging.put(chunks[1])
        for _ in range(5):
            lab.clock.advance(1000)
            assert lab.store.collect_chunks(60).removed == 0
        staging.complete(manifest)
    assert get(lab.store, manifest.digest) == contents[0] + contents[1]
    lab.store.drop_blob(manifest.digest, lab.store.generation(manifest.digest) or 0)
    lab.store.collect_chunks(60)
    lab.clock.advance(61)
    assert lab.store.collect_chunks(60).removed == 2


def test_collected_before_the_seal_is_said_not_hidden(lab: Lab, seed: int) -> None:
    """A manifest with a chunk that has been collected is refused by the seal, which names it."""
    content = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, content)
    with lab.store.stage() as staging:
        assert staging.missing([digest]) == []
        lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
        lab.store.collect_chunks(0)
        with pytest.raises(MissingChunks):
            staging.complete(Manifest([(digest, LARGE)]))
    assert get(lab.store, put(lab.store, content)) == content


def test_collection_never_takes_a_file_that_is_being_put_back(lab: Lab, seed: int) -> None:
    """Sealing, dropping and collecting the same chunks at once never loses what was sealed last."""
    source = random.Random(seed)
    contents = [source.randbytes(LARGE) for _ in range(3)]
    stop = threading.Event()
    failures: list[BaseException] = []

    def collect() -> None:
        while not stop.is_set():
            try:
                lab.store.collect_chunks(0)
            except BaseException as error:
                failures.append(error)

    def put_patiently(content: bytes) -> Digest:
        while True:
            try:
                return put(lab.store, content)
            except MissingChunks:
                continue  # it was held when it was staged and collected before the seal: send it again

    def write(content: bytes) -> None:
        try:
            for _ in range(40):
                digest = put_patiently(content)
                assert get(lab.store, digest) == content
                lab.store.drop_blob(digest, lab.store.generation(digest) or 0)
            put_patiently(content)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    collector = threading.Thread(target=collect)
    collector.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    collector.join()
    assert failures == []
    lab.store.collect_chunks(0)
    assert [get(lab.store, chunk_digest(content)) for content in contents] == contents
    assert lab.reported == []
    assert len(lab.files("chunks")) == 3


def test_files_without_a_row_are_swept_and_others_are_not(lab: Lab, seed: int) -> None:
    """A crash between moving a file and recording it leaves a file that a sweep removes."""
    source = random.Random(seed)
    digest = put(lab.store, source.randbytes(LARGE))
    orphan = chunk_digest(b"orphan")
    path = lab.data / "chunks" / orphan.hex()[:2] / orphan.hex()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"left behind")
    assert sum(lab.store.sweep_orphans(folder) for folder in range(256)) == 1
    assert [path.name for path in lab.files("chunks")] == [digest.hex()]


def test_many_small_chunks_do_not_pile_up_in_memory(lab: Lab, seed: int) -> None:
    """A blob of countless small chunks goes to files once a few MiB of them wait."""
    source = random.Random(seed)
    pieces = [source.randbytes(60_000) for _ in range(120)]
    chunks = [Chunk(chunk_digest(piece), len(piece), piece) for piece in pieces]
    manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
    with lab.store.stage() as staging:
        for chunk in chunks:
            staging.put(chunk)
        assert staging._inline_bytes <= 4 * 1024 * 1024
        staging.complete(manifest)
    assert get(lab.store, manifest.digest) == b"".join(pieces)
    assert lab.files("chunks")


def test_keeping_what_arrived_spares_its_second_sending(lab: Lab, seed: int) -> None:
    """Chunks of a write that was cut off are there for the next try, and go when nobody comes back."""
    chunks = list(chunk_bytes(random.Random(seed).randbytes(3_000_000)))
    with lab.store.stage() as staging:
        staging.put(chunks[0])
        staging.keep()
    assert lab.store.missing(chunk.digest for chunk in chunks) == [chunk.digest for chunk in chunks[1:]]
    lab.store.collect_chunks(60)
    lab.clock.advance(60)
    assert lab.store.collect_chunks(60).removed == 1


def test_one_folder_has_one_process(lab: Lab) -> None:
    """A second file server on the same folder is refused and told who has it."""
    with pytest.raises(SetupError, match="is using"):
        DiskLayout.open(lab.data)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """Storage of another version, or without its format file, is left alone and said so."""
    lab = Lab(tmp_path)
    lab.store.close()
    (lab.data / "format").write_text("lockstep file server storage 99\n")
    with pytest.raises(StorageFormatError, match="storage 99"):
        DiskLayout.open(lab.data)
    (lab.data / "format").unlink()
    with pytest.raises(StorageFormatError, match="no file `format`"):
        DiskLayout.open(lab.data)


def test_an_interrupted_creation_is_finished(tmp_path: Path) -> None:
    """A folder that was being made when the machine stopped becomes a working storage."""
    (tmp_path / "data" / "chunks").mkdir(parents=True)
    (tmp_path / "data" / "store-id").write_text("0123")
    lab = Lab(tmp_path)
    assert len(lab.store.store_id) == 32
    assert get(lab.store, put(lab.store, b"content")) == b"content"
    lab.store.close()


def test_a_folder_that_cannot_be_used_is_a_clear_sentence(tmp_path: Path) -> None:
    """A data folder that is a file gives a SetupError that says what to do."""
    (tmp_path / "data").write_text("")
    with pytest.raises(SetupError, match="--data"):
        DiskLayout.open(tmp_path / "data")


def test_a_fence_holds_inside_the_seal(lab: Lab) -> None:
    """A lock granted between a write's first check and its seal still shuts the write out."""
    lab.store.check_fence(Fence("files/a", 3))
    with lab.store.stage() as staging:
        chunk = next(iter(chunk_bytes(b"slow write")))
        staging.put(chunk)
        put(lab.store, b"newer", Fence("files/a", 4))
        with pytest.raises(LockstepError) as refusal:
            staging.complete(Manifest([(chunk.digest, chunk.length)]), Fence("files/a", 3))
    assert refusal.value.code == "ticket_refused"
    with pytest.raises(NotFound):
        lab.store.manifest(chunk.digest)


def test_bytes_that_come_after_their_announcement_count(lab: Lab, seed: int) -> None:
    """A chunk first named without bytes and sent with them later in the same stream is there at the seal."""
    content = random.Random(seed).randbytes(LARGE)
    chunk = Chunk(chunk_digest(content), LARGE, content)
    manifest = Manifest([(chunk.digest, LARGE)] * 2)
    with lab.store.stage() as staging:
        staging.put(chunk._replace(data=None))
        staging.put(chunk)
        staging.complete(manifest)
    assert get(lab.store, manifest.digest) == content * 2
