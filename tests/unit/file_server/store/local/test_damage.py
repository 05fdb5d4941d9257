"""Damaged chunks and rows: found, quarantined, reported, mended."""

from __future__ import annotations

import errno
import random

import pytest

from lockstep_store.wire.chunking import Chunk
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    Damaged,
    DamagedChunk,
    StorageFormatError,
)
from lockstep_store.wire.manifest import Manifest
from tests.fakes.blobs import get, put
from tests.unit.file_server.store.local.store_lab import LARGE, SMALL, Lab


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
    other = lab.store._files.path(second).read_bytes()
    lab.change_file(first, lambda _: other)
    with pytest.raises(DamagedChunk):
        lab.store.read_chunk(first)
    assert lab.store.read_chunk(second)


def test_a_blob_whose_size_is_not_its_chunks_is_damage(lab: Lab, seed: int) -> None:
    """One chunk names its blob, so no digest vouches for the size in the blob's row: it is compared with the chunk's,
    and a blob that says something else is told of, given up and made again."""
    data = random.Random(seed).randbytes(LARGE)
    digest = put(lab.store, data)
    lab.store._index.submit(lambda tx: tx._run("UPDATE blob SET size = size + 1024"))
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
    lab.store._index.submit(lambda tx: tx._run("UPDATE chunk SET length = length + 1"))
    assert put(lab.store, data) == digest
    assert get(lab.store, digest) == data
    assert lab.store.manifest(digest).size == size


def test_a_missing_storage_key_quarantines_nothing(lab: Lab, seed: int) -> None:
    """Without the key it was sealed with a chunk cannot be read, but it is not damaged and stays where it is."""
    digests = [put(lab.store, random.Random(seed).randbytes(size)) for size in (SMALL, LARGE)]
    ring = lab.store._sealer.ring
    old = ring.current
    ring.rotate(1.0)
    lab.store._names.save(lab.store._names.sealed_again())
    (lab.root / "kept.json").write_text(ring.text)
    ring.retire(old)
    lab.store.close()
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


def test_damage_is_told_even_when_quarantine_has_no_room(lab: Lab, seed: int) -> None:
    """A full disk keeps neither the reader from the truth nor the repair from being ordered."""
    digest = put(lab.store, random.Random(seed).randbytes(LARGE))
    lab.change_file(digest, DAMAGE["content"])
    lab.disk.broken = {"rename": errno.ENOSPC}
    with pytest.raises(DamagedChunk):
        lab.store.read_chunk(digest)
    assert lab.reported == [(digest, [digest])]
