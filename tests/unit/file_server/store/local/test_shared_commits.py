"""Writers that share one transaction of the index, and its flush."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from file_server.store.local.index_transaction import IndexTransaction
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.errors import TicketRefused
from tests.fakes.blobs import get, put
from tests.waiting import wait_until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalChunkStore]:
    sealer = Sealer(KeyRing.load_or_create(tmp_path / "keys.json"))
    store = LocalChunkStore(DiskLayout.open(tmp_path / "data"), sealer)
    yield store
    store.close()


@contextmanager
def held_commit(store: LocalChunkStore, writers: int) -> Iterator[None]:
    """Hold a commit until so many writes of the block wait for the next one."""
    begun, gate = threading.Event(), threading.Event()

    def hold(_: IndexTransaction) -> None:
        begun.set()
        assert gate.wait(60)

    holding = threading.Thread(target=store._index.submit, args=(hold,))
    holding.start()
    assert begun.wait(60)
    try:
        yield
        wait_until(lambda: len(store._index._commits._queue) == writers, what="the waiting writes")
    finally:
        gate.set()
        holding.join()


def test_concurrent_writes_share_commits(store: LocalChunkStore) -> None:
    """What arrives during a commit shares the next one."""
    commits: list[str] = []
    store._index._writer.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    contents = [b"content %d" % number for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        with held_commit(store, 32):
            writes = [pool.submit(put, store, content) for content in contents]
        digests = [write.result() for write in writes]
    assert len(commits) == 2
    assert [get(store, digest) for digest in digests] == contents


def test_one_refused_write_spoils_no_other_in_its_commit(store: LocalChunkStore) -> None:
    """Writers that share a commit share neither refusals nor the undoing of them."""
    put(store, b"lock 5", Fence("files/a", 5))
    with ThreadPoolExecutor(8) as pool:
        with held_commit(store, 8):
            good = [pool.submit(put, store, b"good %d" % number, None) for number in range(4)]
            bad = [pool.submit(put, store, b"bad %d" % number, Fence("files/a", 4)) for number in range(4)]
        for future in bad:
            with pytest.raises(TicketRefused):
                future.result()
        for number, future in enumerate(good):
            assert get(store, future.result()) == b"good %d" % number
    assert store.totals.blobs == 5
    assert store.totals.chunks == 5
