"""What every chunk store promises about listing, checking, removing and remembering."""

from __future__ import annotations

import random

from file_server.store.chunk_store import SWEEP_PARTS, BlobRow, ChunkStore
from lockstep_store.wire.codec import encode
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from tests.contract.chunk_store_engines import Storage, storage, store
from tests.fakes.blobs import get, manifest_of, one_chunk, put, put_chunks

__all__ = ["storage", "store"]


def test_dropped_blobs_go_and_shared_chunks_stay(storage: Storage, seed: int) -> None:
    """Dropping a blob frees, after the grace period, exactly the chunks that no other blob refers to."""
    store = storage.open()
    shared, own, other = (one_chunk(random.Random(seed + number).randbytes(400_000)) for number in range(3))
    dropped, kept = put_chunks(store, [shared, own]), put_chunks(store, [shared, other])
    assert store.drop_blob(dropped.digest, store.generation(dropped.digest) or 0)
    assert store.collect_chunks(60).removed == 0
    storage.clock.advance(61)
    assert store.collect_chunks(60).removed == 1
    assert store.missing([own.digest, shared.digest]) == [own.digest]
    assert get(store, kept.digest) == (shared.data or b"") + (other.data or b"")
    assert store.totals.chunks == 2


def test_a_blob_stored_again_is_not_dropped(store: ChunkStore) -> None:
    """A drop decided before the latest write does nothing."""
    digest = put(store, b"content")
    decided_on = store.generation(digest) or 0
    put(store, b"content")
    assert not store.drop_blob(digest, decided_on)
    assert get(store, digest) == b"content"


def test_a_write_under_way_protects_the_chunks_it_counts_on(storage: Storage) -> None:
    """Chunks that a staging counts on are not collected before it ends, however long it takes."""
    store = storage.open()
    chunk = one_chunk(b"counted on" * 10_000)
    put_chunks(store, [chunk])
    with store.stage() as staging:
        staging.put(chunk._replace(data=None))
        store.drop_blob(chunk.digest, store.generation(chunk.digest) or 0)
        for _ in range(3):
            storage.clock.advance(61)
            assert store.collect_chunks(60).removed == 0
    assert store.collect_chunks(60).removed == 0
    storage.clock.advance(61)
    assert store.collect_chunks(60).removed == 1


def test_asking_for_a_chunk_puts_its_collection_off(storage: Storage) -> None:
    """A query for missing chunks keeps the others for another grace period."""
    store = storage.open()
    digest = put(store, b"content")
    store.drop_blob(digest, store.generation(digest) or 0)
    store.collect_chunks(60)
    storage.clock.advance(40)
    assert store.missing([digest]) == []
    storage.clock.advance(40)
    assert store.collect_chunks(60).removed == 0
    storage.clock.advance(21)
    assert store.collect_chunks(60).removed == 1


def test_listings_name_every_blob_once(store: ChunkStore, seed: int) -> None:
    """Pages list every blob, by id or by digest; a generation bound leaves out later ones."""
    contents = [random.Random(seed + number).randbytes(100 + number) for number in range(7)]
    digests = [put(store, data) for data in contents]
    bound = store.latest_generation
    digests.append(put(store, b"later"))
    rows: list[BlobRow] = []
    while page := store.blobs(rows[-1].id if rows else 0, None, 3):
        rows += page
    assert [row.digest for row in rows] == digests
    assert [(row.size, row.generation) for row in rows] == [
        (store.manifest(digest).size, store.generation(digest)) for digest in digests
    ]
    assert [row.digest for row in store.blobs(0, bound, 100)] == digests[:-1]
    listed: list[Digest] = []
    after: Digest | None = None
    while True:
        page_digests, after = store.blobs_by_digest(after, 3)
        listed += page_digests
        if after is None:
            break
    assert listed == sorted(digests)
    unknown = chunk_digest(b"unknown")
    assert store.sizes([digests[0], unknown]) == {digests[0]: 100}
    assert store.not_whole([unknown, digests[0]]) == [unknown]


def test_a_walk_checks_every_chunk_and_reports_damage(storage: Storage, seed: int) -> None:
    """The walk visits every chunk once and goes on past damage."""
    store = storage.open()
    chunks = [one_chunk(random.Random(seed + size).randbytes(size)) for size in (0, 500, 200_000, 200_001)]
    manifest = put_chunks(store, chunks)
    storage.engine.damage(chunks[2].digest)
    place, lengths = 0, []
    while (found := store.verify_next(place)) is not None:
        place, length = found
        lengths.append(length)
    assert sorted(lengths) == [chunk.length for chunk in chunks]
    assert storage.reported == [(chunks[2].digest, [manifest.digest])]
    put_chunks(store, chunks[2:3])
    store.verify_blob(manifest.digest)
    store.verify_blob(chunk_digest(b"unknown"))
    assert len(storage.reported) == 1


def test_numbers_and_notes_are_remembered(storage: Storage) -> None:
    """Durably, and a note as long as its blob: nothing else would be true of what the disk holds."""
    store = storage.open()
    assert store.remembered("place") == 0
    store.remember("place", 5)
    digests = [put(store, b"content %d" % number) for number in range(3)]
    notes = [
        CommitNote(f"write-{number:010}", FileVersion("files", "a", str(number), digest, 9, "ann", 0.0, cursor=number))
        for number, digest in enumerate(digests, 1)
    ]
    for note in notes:
        store.note(note.version.cursor, note.version.digest, lambda note=note: encode(note))  # type: ignore[misc]
    store.keep_notes()
    store = storage.open()
    assert store.remembered("place") == 5
    assert store.notes(0, 3, 100) == notes
    assert store.notes(1, 2, 100) == notes[1:2]
    assert store.notes(0, 3, 2) == notes[:2]
    store.drop_blob(digests[0], store.generation(digests[0]) or 0)
    assert store.notes(0, 3, 100) == notes[1:]


def test_a_store_that_works_has_no_problem(store: ChunkStore) -> None:
    """Probing a storage that takes writes succeeds, changes nothing, and leaves room."""
    put(store, b"content")
    before = store.totals
    store.probe()
    store.check_room()
    assert store.problem == ""
    assert store.totals == before
    capacity, free = store.space()
    assert 0 < free <= capacity
    assert get(store, manifest_of([one_chunk(b"content")]).digest) == b"content"


def test_sweeping_removes_nothing_that_counts(store: ChunkStore, seed: int) -> None:
    """Chunks of blobs and of interrupted uploads are no orphans."""
    blob, kept = (one_chunk(random.Random(seed + number).randbytes(300_000)) for number in range(2))
    put_chunks(store, [blob])
    with store.stage() as staging:
        staging.put(kept)
        staging.keep()
    assert sum(store.sweep_orphans(part) for part in range(SWEEP_PARTS)) == 0
    assert store.missing([blob.digest, kept.digest]) == []
