"""The cache of chunks: bounded, checked, and never needed."""

from __future__ import annotations

from pathlib import Path

from lockstep_store.client.mount.chunk_cache import ChunkCache
from lockstep_store.wire.digest import chunk_digest
from tests.unit.people import noise

KIB = 1024


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_chunks_outlive_the_process(tmp_path: Path) -> None:
    data = noise(1, 5000)
    ChunkCache(tmp_path / "own" / "c", KIB * KIB).put(chunk_digest(data), data)
    again = ChunkCache(tmp_path / "own" / "c", KIB * KIB)
    assert again.has(chunk_digest(data))
    assert again.get(chunk_digest(data)) == data
    assert [(tmp_path / made).stat().st_mode & 0o077 for made in ("own", "own/c")] == [0, 0]


def test_a_damaged_or_missing_chunk_is_none(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, KIB * KIB)
    data = noise(2, 5000)
    cache.put(chunk_digest(data), data)
    (file,) = _files(tmp_path)
    file.write_bytes(b"x" + data[1:])
    assert cache.get(chunk_digest(data)) is None
    assert _files(tmp_path) == []
    cache.put(chunk_digest(data), data)
    _files(tmp_path)[0].unlink()
    assert cache.get(chunk_digest(data)) is None
    assert not cache.has(chunk_digest(data))


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    """Small files count as a disk's block each; a smaller limit holds from the next start on."""
    cache = ChunkCache(tmp_path, 3 * 4 * KIB)
    chunks = [noise(seed, 100) for seed in range(4)]
    for data in chunks[:3]:
        cache.put(chunk_digest(data), data)
    cache.get(chunk_digest(chunks[0]))
    cache.put(chunk_digest(chunks[3]), chunks[3])
    assert [cache.get(chunk_digest(data)) is not None for data in chunks] == [True, False, True, True]
    assert len(_files(tmp_path)) == 3
    ChunkCache(tmp_path, 4 * KIB)
    assert len(_files(tmp_path)) == 1


def test_what_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, 4 * KIB)
    data = noise(3, 5 * KIB)
    cache.put(chunk_digest(data), data)
    assert not cache.has(chunk_digest(data))
    assert _files(tmp_path) == []


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, KIB * KIB)
    data = noise(4, 100)
    (tmp_path / str(chunk_digest(data))[:2]).write_text("a file where the cache needs a folder")
    cache.put(chunk_digest(data), data)
    assert cache.get(chunk_digest(data)) is None


def test_half_written_chunks_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "abcd.17.part").write_bytes(b"half")
    ChunkCache(tmp_path, KIB * KIB)
    assert _files(tmp_path) == []
