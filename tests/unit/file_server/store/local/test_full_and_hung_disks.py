"""Disks that are full, fail or hang."""

from __future__ import annotations

import errno
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from file_server.store.local.flush_watch import HANGING_LOOKS, HANGING_SECONDS
from lockstep_store.wire.errors import (
    StorageFull,
    Unavailable,
)
from tests.fakes.blobs import get, put
from tests.fakes.disk import WRITE_SITES
from tests.unit.file_server.store.local.store_lab import LARGE, Lab


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("site", WRITE_SITES)
def test_a_disk_that_fails_anywhere_leaves_nothing_half_done(lab: Lab, seed: int, site: str, number: int) -> None:
    """A write that the disk refuses is refused whole, cleaned up, remembered as a problem, and works later."""
    content = random.Random(seed).randbytes(2_500_000)
    lab.disk.broken = {site: number}
    with pytest.raises(StorageFull if number == errno.ENOSPC else Unavailable):
        put(lab.store, content)
    assert lab.store.problem
    assert lab.files("incoming") == []
    assert lab.files("chunks") == []
    assert lab.store.totals == (0, 0, 0)
    if site != "rename":  # a probe does not rename
        with pytest.raises(Unavailable):
            lab.store.probe()
    lab.disk.repair()
    lab.store.probe()
    assert not lab.store.problem
    assert get(lab.store, put(lab.store, content)) == content


def test_a_full_index_refuses_and_recovers(lab: Lab, seed: int) -> None:
    """When the index itself cannot grow, small writes are refused as StorageFull, and nothing of them stays."""
    source = random.Random(seed)
    kept = put(lab.store, b"kept")
    lab.limit_index(200_000)
    stored = []
    with pytest.raises(StorageFull):
        for _ in range(100):
            stored.append(put(lab.store, source.randbytes(40_000)))
    assert 0 < len(stored) < 10
    assert lab.store.totals.blobs == len(stored) + 1
    assert lab.store.problem
    lab.limit_index(1 << 40)
    lab.store.probe()
    assert put(lab.store, source.randbytes(40_000))
    assert all(get(lab.store, digest) for digest in [kept, *stored])


def test_a_full_index_takes_back_the_files_of_the_seal(lab: Lab, seed: int) -> None:
    """Files that were already in place when the index refused are removed again."""
    lab.limit_index(1)
    source = random.Random(seed)
    with pytest.raises(StorageFull):
        for _ in range(200):
            put(lab.store, source.randbytes(LARGE))
    assert len(lab.files("chunks")) == lab.store.totals.chunks
    assert lab.files("incoming") == []


@pytest.mark.parametrize("site", ["write_new", "sync_and_close", "sync_folder", "commit"])
def test_a_disk_that_hangs_is_a_problem_until_it_answers(lab: Lab, seed: int, site: str) -> None:
    """After five seconds it is told and new writes are refused at once; nobody tries it; then all is well again."""
    let_go = threading.Event()
    if site == "commit":
        hold_commits(lab, let_go)
    lab.disk.hanging = {site: let_go}
    content = random.Random(seed).randbytes(LARGE)
    writer = threading.Thread(target=put, args=(lab.store, content))
    writer.start()
    try:
        assert lab.disk.reached.wait(60)
        lab.disk.hanging = {}
        for _ in range(HANGING_LOOKS + 1):
            lab.store.probe()
            lab.clock.advance(HANGING_SECONDS / (HANGING_LOOKS + 1))
        with pytest.raises(Unavailable, match="hangs"):
            lab.store.probe()
        assert "hangs" in lab.store.problem
        with pytest.raises(Unavailable, match="hangs"):
            put(lab.store, b"another")
    finally:
        let_go.set()
        writer.join(60)
    lab.store.probe()
    assert not lab.store.problem
    assert get(lab.store, put(lab.store, content)) == content


def hold_commits(lab: Lab, let_go: threading.Event) -> None:
    """Have the index's next commit wait like a disk that hangs."""
    index = lab.store._index
    connection = index._writer

    class Held:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def execute(self, statement: str, *more: Any) -> Any:
            if statement == "COMMIT" and not let_go.is_set():
                lab.disk.reached.set()
                assert let_go.wait(60)
            return connection.execute(statement, *more)

    index._writer = Held()  # type: ignore[assignment]


def test_a_program_that_was_stopped_does_not_blame_its_disk(lab: Lab, seed: int) -> None:
    """However long it was stopped in the middle of a flush: time alone is not enough."""
    let_go = threading.Event()
    lab.disk.hanging = {"sync_and_close": let_go}
    writer = threading.Thread(target=put, args=(lab.store, random.Random(seed).randbytes(LARGE)))
    writer.start()
    try:
        assert lab.disk.reached.wait(60)
        lab.store.probe()
        lab.clock.advance(3600)
        lab.store.probe()
    finally:
        let_go.set()
        writer.join(60)


def test_space_runs_out_at_the_reserve(lab: Lab, tmp_path: Path) -> None:
    """Writes stop while the reserve is still free, and start again when there is room."""
    lab.store._files._reserve_bytes = lab.store._reserve_bytes = 1 << 20
    lab.disk.free = 1 << 20
    assert lab.store.space()[1] == 0
    put(lab.store, b"")
    with pytest.raises(StorageFull):
        put(lab.store, bytes(LARGE))
    lab.disk.free = (1 << 20) - 1
    with pytest.raises(StorageFull):
        put(lab.store, b"x")
    with pytest.raises(StorageFull):
        lab.store.probe()
    lab.disk.repair()
    lab.store.probe()
    put(lab.store, bytes(LARGE))
