"""Pages of the chunk index that change places: good pages, of the wrong table. Nothing of them is believed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.codec import encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, Unavailable
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from tests.fakes.blobs import get, put

TABLES = ("chunk", "inline", "blob", "note", "candidate", "reference", "sealed_fence", "total")
PAGE = 4096


def open_store(root: Path, on_damage: Callable[[Digest, list[Digest]], None] = lambda *_: None) -> LocalChunkStore:
    sealer = Sealer(KeyRing.load_or_create(root / "keys.json"))
    return LocalChunkStore(DiskLayout.open(root / "data"), sealer, reserve_bytes=0, on_damage=on_damage)


def swap_first_pages(index: Path, one: str, two: str) -> None:
    with closing(sqlite3.connect(index)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = dict(db.execute("SELECT name, rootpage FROM sqlite_schema"))
    data = bytearray(index.read_bytes())
    first, second = ((pages[name] - 1) * PAGE for name in (one, two))
    data[first : first + PAGE], data[second : second + PAGE] = data[second : second + PAGE], data[first : first + PAGE]
    index.write_bytes(data)


def walk(store: LocalChunkStore) -> None:
    """Every chunk, as the scrubber looks at them."""
    after = 0
    for _ in range(100):
        found = store.verify_next(after)
        if found is None:
            return
        after, _ = found


def every_look(store: LocalChunkStore, digests: list[Digest]) -> list[Callable[[], object]]:
    """What reads the index, in every way there is."""

    looks: list[Callable[[], object]] = [
        lambda: walk(store),
        lambda: [store.verify_blob(blob.digest) for blob in store.blobs(0, None, 100)],
        lambda: store.blobs_by_digest(None, 100),
        lambda: store.sizes(digests),
        lambda: store.missing(digests),
        lambda: store.lengths(digests),
        store.damaged_blobs,
        store.highest_fence,
        lambda: store.check_fence(Fence("files/a", 3)),
        lambda: store.notes(0, 100, 10),
        lambda: store.collect_chunks(0.0),
        lambda: put(store, b"one more", Fence("files/a", 4)),
    ]
    looks += [lambda digest=digest: store.generation(digest) for digest in digests]  # type: ignore[misc]
    looks += [lambda digest=digest: store.drop_blob(digest, 1) for digest in digests[:1]]  # type: ignore[misc]
    return looks


@pytest.mark.parametrize(("one", "two"), list(combinations(TABLES, 2)))
def test_nothing_is_said_to_be_held_that_is_not(tmp_path: Path, seed: int, one: str, two: str) -> None:
    """What the inventory names is whole, or was reported by the scrubber's walk; or the server asks to be restarted."""
    source = random.Random(seed)
    store = open_store(tmp_path)
    for size in (0, 100, 5_000, 40_000, 300_000, 3_000_000):
        put(store, source.randbytes(size), Fence("files/a", 2))
    store.close()
    swap_first_pages(tmp_path / "data" / "index.db", one, two)
    reported: list[Digest] = []
    store = open_store(tmp_path, lambda _, blobs: reported.extend(blobs))
    try:
        named, _ = store.blobs_by_digest(None, 100)
        walk(store)
        for blob in store.blobs(0, None, 100):
            store.verify_blob(blob.digest)
    except Unavailable:
        assert "it is being rebuilt" in store.problem
    else:
        for digest in set(named) - set(reported):
            get(store, digest)
    finally:
        store.close()


@pytest.mark.parametrize(("one", "two"), list(combinations(TABLES, 2)))
def test_swapped_pages_are_no_surprise(tmp_path: Path, seed: int, one: str, two: str) -> None:
    """Every look answers, or is refused with an error that people are told; no byte read is wrong; and a start after
    the index was found to be damaged makes it whole enough to be written to."""
    source = random.Random(seed)
    contents = [source.randbytes(size) for size in (0, 100, 5_000, 40_000, 90_000, 300_000, 3_000_000)]
    store = open_store(tmp_path)
    digests = [put(store, data, Fence("files/a", 2)) for data in contents]
    version = FileVersion("files", "a", "0000000000000007", digests[1], 100, "ada", 0.0)
    store.note(7, digests[1], lambda: encode(CommitNote("w" * 16, version)))
    store.keep_notes()
    store.close()
    swap_first_pages(tmp_path / "data" / "index.db", one, two)

    store = open_store(tmp_path)
    try:
        for look in every_look(store, digests):
            try:
                look()
            except LockstepError:
                continue
        for digest, data in zip(digests, contents, strict=True):
            try:
                assert get(store, digest) == data
            except LockstepError:
                continue
        damaged = "it is being rebuilt" in store.problem
    finally:
        store.close()
    if damaged:
        store = open_store(tmp_path)
        try:
            for digest, data in zip(digests, contents, strict=True):
                assert get(store, put(store, data)) == data, digest
        finally:
            store.close()


@pytest.mark.parametrize("other", ["reference", "sealed_fence"])
def test_figures_that_are_lost_are_found_at_the_start(tmp_path: Path, seed: int, other: str) -> None:
    """Else the generations would begin anew, below those of the blobs, which nobody would then look at again."""
    source = random.Random(seed)
    contents = [source.randbytes(size) for size in (100, 300_000, 3_000_000)]
    store = open_store(tmp_path)
    digests = [put(store, data) for data in contents]
    store.close()
    swap_first_pages(tmp_path / "data" / "index.db", "total", other)
    store = open_store(tmp_path)
    try:
        assert list((tmp_path / "data" / "quarantine").glob("index-*.db")), "the index was made anew"
        assert [get(store, digest) for digest in digests] == contents
        assert store.latest_generation >= max(blob.generation for blob in store.blobs(0, None, 100))
        assert store.totals.blobs == 3
    finally:
        store.close()


def test_references_that_are_lost_are_found_by_the_scrubber(tmp_path: Path, seed: int) -> None:
    """Without them nobody could say which blobs a damaged chunk is part of, nor which chunks a blob needs."""
    store = open_store(tmp_path)
    digest = put(store, random.Random(seed).randbytes(5_000_000))
    store.verify_blob(digest)
    store.close()
    swap_first_pages(tmp_path / "data" / "index.db", "reference", "sealed_fence")
    store = open_store(tmp_path)
    try:
        with pytest.raises(Unavailable, match="it is being rebuilt"):
            store.verify_blob(digest)
    finally:
        store.close()
    reported: list[Digest] = []
    store = open_store(tmp_path, lambda _, blobs: reported.extend(blobs))
    try:
        store.verify_blob(digest)
        next((tmp_path / "data" / "chunks").glob("*/*")).write_bytes(b"not the chunk")
        walk(store)
        assert reported == [digest]
    finally:
        store.close()


def test_a_blob_of_a_generation_to_come_is_looked_at(tmp_path: Path, seed: int) -> None:
    """A bit of its generation may have flipped: the scrubber's walk leaves none out."""
    store = open_store(tmp_path)
    digest = put(store, random.Random(seed).randbytes(5_000_000))
    store._index.submit(lambda tx: tx._run("UPDATE blob SET generation = generation + (1 << 40)") and None)
    try:
        assert [blob.digest for blob in store.blobs(0, store.latest_generation, 100)] == []
        assert [blob.digest for blob in store.blobs(0, None, 100)] == [digest]
    finally:
        store.close()


def test_a_row_of_another_table_is_a_damaged_index(tmp_path: Path) -> None:
    """It is refused as SQLite's own word of a malformed file is, and the server asks to be started again."""
    store = open_store(tmp_path)
    digest = put(store, b"content")
    store.close()
    swap_first_pages(tmp_path / "data" / "index.db", "chunk", "blob")
    store = open_store(tmp_path)
    try:
        with pytest.raises(Unavailable, match="it is being rebuilt"):
            store.verify_next(0)
        store.probe()
        assert "it is being rebuilt" in store.problem, "a good probe does not make the index good"
    finally:
        store.close()
    store = open_store(tmp_path)
    try:
        assert get(store, put(store, b"content")) == b"content"
        assert store.generation(digest)
    finally:
        store.close()
