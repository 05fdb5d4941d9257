"""Whichever disk of a write fails at whichever place: no commit is asked for that two disks do not hold."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client_proxy.core.cache import BLOCK_BYTES, SPARE_BYTES, Cache
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import StorageFull, TooFewHolders, Unavailable
from lockstep_store.wire.manifest import Manifest
from tests.fakes.disk import WRITE_SITES, BrokenDisk
from tests.fakes.file_servers import Cluster

FILE, STREAM = 100_000, 2_500_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 3)
    yield cluster
    cluster.stop()


def _break(cluster: Cluster, id: str, site: str, number: int) -> BrokenDisk:
    disk = BrokenDisk()
    cluster.server(id).store._files._disk = disk
    disk.broken = {site: number}
    return disk


@pytest.mark.parametrize("size", [FILE, STREAM])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("site", WRITE_SITES)
def test_a_master_whose_disk_fails_asks_for_no_commit(
    cluster: Cluster, seed: int, site: str, number: int, size: int
) -> None:
    """The write ends in 507 or 503, the directory hears nothing of it, and the same write works on a mended disk."""
    disk = _break(cluster, "1", site, number)
    data = random.Random(seed).randbytes(size)
    with pytest.raises(StorageFull if number == errno.ENOSPC else Unavailable) as refused:
        cluster.write(data, cluster.ticket("12"))
    assert refused.value.status == (507 if number == errno.ENOSPC else 503)
    assert cluster.directory.commits == []
    disk.repair()
    assert cluster.write(data, cluster.ticket("12")).copies == 2


@pytest.mark.parametrize("size", [FILE, STREAM])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("site", WRITE_SITES)
def test_a_replica_whose_disk_fails_is_not_counted(
    cluster: Cluster, seed: int, site: str, number: int, size: int
) -> None:
    """A spare takes its place; without one the write ends in 503 and is not committed."""
    _break(cluster, "2", site, number)
    source = random.Random(seed)
    with pytest.raises(TooFewHolders):
        cluster.write(source.randbytes(size), cluster.ticket("12"))
    assert cluster.directory.commits == []
    data = source.randbytes(size)
    cluster.write(data, cluster.ticket("12", spares="3"))
    assert cluster.directory.commits[-1].items[-1].holders == ["1", "3"]
    digest = Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(data)).digest
    assert cluster.holds("1", digest)
    assert cluster.holds("3", digest)


def _failing(number: int, after: int) -> Callable[..., int]:
    """Free space that is told a few times; then the disk fails."""
    told = 0

    def free_bytes(_: Path) -> int:
        nonlocal told
        told += 1
        if told > after:
            raise OSError(number, os.strerror(number))
        return SPARE_BYTES + 100 * BLOCK_BYTES

    return free_bytes


@pytest.mark.parametrize("after", range(5))
def test_a_cache_disk_that_fails_at_any_moment_raises_nothing(tmp_path: Path, after: int) -> None:
    """Not even asking for free space may fail a read or a write: what is kept stays readable, the rest is a miss."""
    sealer = Sealer(KeyRing.load_or_create(tmp_path / "keys.json"))
    cache = Cache(tmp_path / "cache", sealer, memory_bytes=0, free_bytes=_failing(errno.EIO, after))
    for number in range(4):
        data = bytes([number]) * 1000
        cache.keep_chunk(chunk_digest(data), data)
        assert cache.chunk(chunk_digest(data)) in (data, None)
    assert not cache.writable
