"""Writers that share one transaction of the index, and its flush."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.disk_layout import DiskLayout
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.errors import TicketRefused
from tests.fakes.blobs import get, put


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalChunkStore]:
    sealer = Sealer(KeyRing.load_or_create(tmp_path / "keys.json"))
    store = LocalChunkStore(DiskLayout.open(tmp_path / "data"), sealer)
    yield store
    store.close()


def test_concurrent_writes_share_commits(store: LocalChunkStore, seed: int) -> None:
    """Many writers at once cost far fewer commits than there are writes."""
    commits: list[str] = []
    store._index._writer.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    contents = [random.Random(seed + number).randbytes(2000) for number in range(400)]
    with ThreadPoolExecutor(32) as pool:
        digests = list(pool.map(lambda data: put(store, data), contents))
    assert len(commits) < len(contents) / 2
    store._index._writer.set_trace_callback(None)
    assert [get(store, digest) for digest in digests] == contents


def test_one_refused_write_spoils_no_other_in_its_commit(store: LocalChunkStore) -> None:
    """Writers that share a commit share neither refusals nor the undoing of them."""
    put(store, b"lock 5", Fence("files/a", 5))
    gate = threading.Event()
    holding = threading.Thread(target=lambda: store._index.submit(lambda _: gate.wait(60)))
    holding.start()
    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(put, store, b"good %d" % number, None) for number in range(4)]
        bad = [pool.submit(put, store, b"bad %d" % number, Fence("files/a", 4)) for number in range(4)]
        gate.set()
        for future in bad:
            with pytest.raises(TicketRefused):
                future.result()
        for number, future in enumerate(good):
            assert get(store, future.result()) == b"good %d" % number
    holding.join()
    assert store.totals.blobs == 5
    assert store.totals.chunks == 5
