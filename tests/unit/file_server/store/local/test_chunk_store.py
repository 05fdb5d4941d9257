"""The chunk store when things go wrong: damage, full and broken disks, races, other versions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.wire.chunking import Chunk, chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    LockstepError,
    NotFound,
    SetupError,
    StorageFormatError,
)
from lockstep_store.wire.manifest import Manifest
from tests.fakes.blobs import get, put
from tests.unit.file_server.store.local.store_lab import LARGE, Lab


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
