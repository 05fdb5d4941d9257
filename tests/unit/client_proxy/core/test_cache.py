from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from client_proxy.core.cache import BLOCK_BYTES, SPARE_BYTES, Cache, write_unsynced
from client_proxy.metrics import CACHE_DAMAGED, CACHE_UNWRITABLE
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.manifest import Manifest
from tests.fakes.clock import ManualClock
from tests.fakes.proxy_rig import noise

Make = Callable[..., Cache]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a cache on one folder, as the next start of the program would. Memory is off unless asked for."""

    def make(**options: object) -> Cache:
        sealer = Sealer(KeyRing.load_or_create(tmp_path / "keys.json"))
        return Cache(tmp_path / "cache", sealer, **{"memory_bytes": 0, **options})  # type: ignore[arg-type]

    return make


def keep(cache: Cache, content: bytes) -> Digest:
    digest = chunk_digest(content)
    cache.keep_chunk(digest, content)
    return digest


def file_of(tmp_path: Path, digest: Digest, kind: str = "chunks") -> Path:
    return tmp_path / "cache" / kind / str(digest)[:2] / str(digest)


def test_what_was_kept_comes_back_and_survives_a_restart(make: Make) -> None:
    """Chunks and manifests are there after a restart, byte for byte."""
    cache = make()
    content = noise(1, 300_000)
    digest = keep(cache, content)
    manifest = Manifest([(digest, len(content)), (chunk_digest(b"x"), 1)])
    cache.keep_manifest(manifest)
    for again in (cache, make()):
        assert again.chunk(digest) == content
        assert again.manifest(manifest.digest) == manifest
        assert again.stored_bytes == cache.stored_bytes
        assert len(again) == 2


def test_nothing_readable_lies_on_the_disk(make: Make, tmp_path: Path) -> None:
    """Cached content is sealed: a copy of the disk does not give it away."""
    digest = keep(make(), b"secret " * 100)
    assert b"secret" not in file_of(tmp_path, digest).read_bytes()


@pytest.mark.parametrize("place", ["header", "middle", "tag"])
def test_a_flipped_bit_is_a_miss_and_heals(make: Make, tmp_path: Path, place: str) -> None:
    """A damaged entry is never served: it is removed, counted, and can be kept again."""
    cache = make()
    content = noise(2, 5000)
    digest = keep(cache, content)
    file = file_of(tmp_path, digest)
    raw = bytearray(file.read_bytes())
    raw[{"header": 3, "middle": len(raw) // 2, "tag": -1}[place]] ^= 4
    file.write_bytes(raw)
    before = CACHE_DAMAGED._value.get()
    assert cache.chunk(digest) is None
    assert not file.exists()
    assert CACHE_DAMAGED._value.get() == before + 1
    assert (len(cache), cache.stored_bytes) == (0, 0)
    keep(cache, content)
    assert cache.chunk(digest) == content


@pytest.mark.parametrize("kind", ["truncated", "empty", "foreign", "swapped"])
def test_a_file_that_is_not_the_entry_it_says_is_a_miss(make: Make, tmp_path: Path, kind: str) -> None:
    """Cut, empty, other programs' and exchanged files are misses, found when read and not before."""
    digest = keep(make(), noise(3, 5000))
    other = keep(make(), noise(4, 5000))
    file = file_of(tmp_path, digest)
    whole = file.read_bytes()
    file.write_bytes(
        {
            "truncated": whole[:100],
            "empty": b"",
            "foreign": b"#!/bin/sh\n",
            "swapped": file_of(tmp_path, other).read_bytes(),
        }[kind]
    )
    cache = make()
    assert cache.chunk(digest) is None
    assert not file.exists()
    assert cache.chunk(other) is not None


def test_content_sealed_under_a_wrong_name_is_not_served(make: Make, tmp_path: Path) -> None:
    """The seal proves who wrote it, the digest proves what it is: an entry with a good seal is hashed all the same."""
    cache = make()
    wrong = chunk_digest(b"what it should be")
    cache.keep_chunk(wrong, b"what it is")
    assert cache.chunk(wrong) is None
    cache = make(memory_bytes=1 << 20)
    cache.keep_in_memory(wrong, b"what it is")
    assert cache.chunk(wrong) is None
    assert not cache.has_chunk(wrong)


def test_a_removed_file_is_a_miss(make: Make, tmp_path: Path) -> None:
    """Someone who empties the folder by hand breaks nothing."""
    cache = make()
    digest = keep(cache, b"content")
    file_of(tmp_path, digest).unlink()
    assert cache.chunk(digest) is None
    assert cache.stored_bytes == 0


def test_the_least_recently_used_go_first_and_the_bound_holds(make: Make, tmp_path: Path) -> None:
    """The disk never holds more than the bound, and what was read lately stays."""
    cache = make(disk_bytes=40 * 4096)
    digests = [keep(cache, noise(seed, 3000)) for seed in range(40)]
    assert cache.chunk(digests[0]) is not None
    more = [keep(cache, noise(seed, 3000)) for seed in range(40, 60)]
    assert cache.stored_bytes == 40 * 4096
    assert cache.has_chunk(digests[0])
    assert not any(cache.has_chunk(digest) for digest in digests[1:21])
    assert all(cache.has_chunk(digest) for digest in digests[21:] + more)
    assert sum(file.is_file() for file in (tmp_path / "cache").rglob("*")) == 40


def test_the_number_of_entries_is_bounded_too(make: Make) -> None:
    """Countless tiny files cannot grow the index without end."""
    cache = make(max_entries=10)
    for seed in range(25):
        keep(cache, noise(seed, 10))
    assert len(cache) == 10


def test_a_restart_keeps_the_order_of_use(make: Make, tmp_path: Path) -> None:
    """What was used last before a restart is not what goes first after it."""
    clock = ManualClock(1000.0)
    cache = make(clock=clock)
    digests = [keep(cache, noise(seed, 3000)) for seed in range(6)]
    for seconds, digest in enumerate(digests):  # written so fast, files may have the same time
        os.utime(file_of(tmp_path, digest), (seconds, seconds))
    clock.advance(3600)
    assert cache.chunk(digests[0]) is not None
    small = make(disk_bytes=3 * 4096)
    assert [small.has_chunk(digest) for digest in digests] == [True, False, False, False, True, True]


def test_a_chunk_larger_than_the_cache_pushes_nothing_out(make: Make) -> None:
    """What cannot fit is not kept, and costs the others nothing."""
    cache = make(disk_bytes=8 * 4096)
    digest = keep(cache, b"small")
    large = keep(cache, noise(1, 40_000))
    assert not cache.has_chunk(large)
    assert cache.has_chunk(digest)


def test_leftovers_of_a_crash_are_removed_at_start(make: Make, tmp_path: Path) -> None:
    """Half-written and foreign files do not take space outside the bound."""
    digest = keep(make(), b"content")
    (tmp_path / "cache" / "incoming" / "7").write_bytes(b"half")
    (tmp_path / "cache" / "chunks" / "README").write_bytes(b"?")
    (tmp_path / "cache" / "chunks" / str(digest)[:2] / "notes.txt").write_bytes(b"?")
    cache = make()
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == [file_of(tmp_path, digest)]
    assert cache.chunk(digest) == b"content"


def test_a_full_disk_costs_the_copy_and_one_warning(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without space nothing is kept and nothing raised; it is said once, counted each time, and ends by itself."""
    full = True

    def write(path: Path, parts: tuple[bytes, bytes]) -> None:
        if full:
            path.write_bytes(parts[0])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_unsynced(path, parts)

    cache = make(write_file=write)
    before = CACHE_UNWRITABLE._value.get()
    warnings: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *values: warnings.append(text % values))
    digests = [keep(cache, noise(seed, 1000)) for seed in range(5)]
    assert len(warnings) == 1
    assert "No space left" in warnings[0]
    assert CACHE_UNWRITABLE._value.get() == before + 5
    assert not cache.writable
    assert not any(cache.has_chunk(digest) for digest in digests)
    assert not any((cache._root / "incoming").iterdir())
    full = False
    assert keep(cache, b"room again") is not None
    assert cache.writable
    assert len(cache) == 1


def test_the_cache_gives_way_when_the_disk_is_nearly_full(make: Make, tmp_path: Path) -> None:
    """It leaves space for the others on its disk, lets go of what it has when they need more, and fills up again."""
    space = SPARE_BYTES + 3 * BLOCK_BYTES
    folder = tmp_path / "cache"
    cache = make(free_bytes=lambda _: space - BLOCK_BYTES * sum(file.is_file() for file in folder.rglob("*")))
    kept = [keep(cache, noise(seed, 1000)) for seed in range(5)]
    assert [cache.has_chunk(digest) for digest in kept] == [False, False, True, True, True]
    space = SPARE_BYTES
    keep(cache, noise(5, 1000))
    assert (len(cache), cache.stored_bytes, cache.writable) == (0, 0, False)
    space = SPARE_BYTES + 3 * BLOCK_BYTES
    assert cache.has_chunk(keep(cache, noise(6, 1000)))
    assert cache.writable


def test_an_unusable_folder_is_survived(make: Make, tmp_path: Path) -> None:
    """A cache that cannot even be opened leaves a proxy that works without one."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = make(memory_bytes=1 << 20)
    digest = keep(cache, b"content")
    assert cache.chunk(digest) == b"content"
    assert not cache.writable


def test_a_folder_that_was_removed_beside_the_running_proxy_is_made_anew(make: Make, tmp_path: Path) -> None:
    """Whoever empties the cache to have its space costs it what it had, and no more."""
    cache = make()
    digest = keep(cache, noise(1, 5000))
    shutil.rmtree(tmp_path / "cache")
    assert cache.chunk(digest) is None
    keep(cache, noise(2, 5000))
    again = keep(cache, noise(3, 5000))
    assert cache.chunk(again) == noise(3, 5000)
    assert cache.writable
    assert cache.stored_bytes == 2 * BLOCK_BYTES


def test_memory_is_bounded_and_keeps_what_is_used(make: Make) -> None:
    """Small blobs are served from memory, within its bound, least recently used out first; large ones never enter."""
    cache = make(memory_bytes=10 * (4096 + 256), disk_bytes=0)
    digests = [keep(cache, noise(seed, 4096)) for seed in range(10)]
    assert cache.chunk(digests[0]) is not None
    keep(cache, noise(99, 4096))
    assert cache.memory_bytes <= 10 * (4096 + 256)
    assert [cache.has_chunk(digest) for digest in digests[:3]] == [True, False, True]
    large = keep(cache, noise(100, 65 * 1024))
    assert not cache.has_chunk(large)


def test_a_lost_key_empties_the_cache_without_an_error(make: Make, tmp_path: Path) -> None:
    """Entries sealed with keys that are gone are misses."""
    digest = keep(make(), b"content")
    (tmp_path / "keys.json").unlink()
    cache = make()
    assert cache.chunk(digest) is None
    assert keep(cache, b"content") == digest
    assert cache.chunk(digest) == b"content"
