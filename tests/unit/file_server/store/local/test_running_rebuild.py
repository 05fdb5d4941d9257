"""A damaged index is rebuilt while the server runs: nothing acknowledged is lost, and nobody restarts anything."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local.chunk_store import LocalChunkStore
from file_server.store.local.storage_health import StorageHealth
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError, Unavailable
from tests.fakes.blobs import get, put
from tests.unit.file_server.store.local.test_swapped_index_pages import every_look, open_store, swap_first_pages


def damage(store: LocalChunkStore) -> None:
    """What SQLite raises for a malformed page, as some call met it."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # type: ignore[misc]
    store._health.failed(error)


def test_a_healthy_index_is_left_alone(tmp_path: Path) -> None:
    """Nothing is closed, nothing is moved."""
    store = open_store(tmp_path)
    put(store, b"content")
    assert not store.rebuild()
    assert get(store, put(store, b"content")) == b"content"
    store.close()


def test_what_was_acknowledged_around_a_rebuild_is_there_after_it(tmp_path: Path) -> None:
    """Writers go on all the while; each write is refused, or it is there."""
    store = open_store(tmp_path)
    put(store, b"before", Fence("files/a", 7))
    acknowledged: dict[Digest, bytes] = {}
    stop = threading.Event()

    def write(number: int) -> None:
        for count in range(10_000):
            if stop.is_set():
                return
            content = b"%d of writer %d" % (count, number) * (1 + 40_000 * (count % 2))
            with suppress(LockstepError):
                acknowledged[put(store, content)] = content

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    generation = 0
    for _ in range(3):
        known = len(acknowledged)
        while len(acknowledged) < known + 20:
            pass
        damage(store)
        assert "index is damaged" in store.problem
        assert store.rebuild()
        assert store.problem == ""
        assert store.latest_generation > generation
        generation = store.latest_generation
    stop.set()
    for writer in writers:
        writer.join()
    assert {digest: get(store, digest) for digest in acknowledged} == acknowledged
    assert store.highest_fence() == 7
    store.close()
    again = open_store(tmp_path)
    assert not (tmp_path / "data" / "index-damaged").exists()
    assert {digest: get(again, digest) for digest in acknowledged} == acknowledged
    again.close()


def test_real_damage_is_found_by_whoever_meets_it_and_then_gone(tmp_path: Path) -> None:
    """Two pages of the file change places under the running store."""
    store = open_store(tmp_path)
    digests = [put(store, b"%d" % number * 2000) for number in range(200)]
    store.close()
    store = open_store(tmp_path)
    swap_first_pages(tmp_path / "data" / "index.db", "chunk", "blob")
    for look in every_look(store, digests):
        with suppress(LockstepError):
            look()
    assert store.problem
    assert store.rebuild()
    for look in every_look(store, digests):
        with suppress(LockstepError):
            look()
    assert store.problem == ""
    assert get(store, put(store, b"new")) == b"new"
    store.close()


def test_a_rebuild_waits_for_what_is_under_way_and_refuses_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot get the storage for itself is tried again later."""
    monkeypatch.setattr("file_server.store.local.storage_health.WAIT_SECONDS", 0.01)
    health = StorageHealth()
    error = sqlite3.DatabaseError("malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # type: ignore[misc]
    health.failed(error)
    with health.guard(), health.rebuilding() as is_idle:
        assert not is_idle
        with pytest.raises(Unavailable, match="rebuilds its damaged index"), health.guard():
            raise AssertionError
    assert health.needs_rebuild
    with health.rebuilding() as is_idle:
        assert is_idle
    assert not health.needs_rebuild
