"""Collection of chunks that nobody needs, and what keeps a chunk from it."""

from __future__ import annotations

import random
import threading

import pytest

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import (
    MissingChunks,
)
from lockstep_store.wire.manifest import Manifest
from tests.fakes.blobs import get, put
from tests.unit.file_server.store.local.store_lab import LARGE, Lab


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
    path = lab.store._files.path(orphan)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"left behind")
    assert sum(lab.store.sweep_orphans(folder) for folder in range(256)) == 1
    assert [path.name for path in lab.files("chunks")] == [lab.store.stored_name(digest)]
