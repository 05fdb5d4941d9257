"""After a flush that failed: nothing counts that may not be on the disk, in this process or in the next one.

The first process of each test runs apart, because its flushes cannot be mended; it ends as a crash would end it.
"""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from directory_server.metadata.engines.sqlite.store import SqliteStore
from lockstep_store.runtime.storage import write_ahead_log
from lockstep_store.runtime.storage.write_ahead_log import make_log_durable
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.errors import LockstepError, Unavailable
from lockstep_store.wire.manifest import Manifest
from tests import ROOT
from tests.contract.store_rows import GET, PUT
from tests.fakes.blobs import get, put
from tests.fakes.failing_flush import SUPPORTED, break_flushes_of_this_thread
from tests.unit.file_server.store.local.store_lab import LARGE, Lab

KEPT, REFUSED = b"kept" * 50_000, b"refused" * 30_000

needs_filter = pytest.mark.skipif(not SUPPORTED, reason="makes flushes fail by a filter of Linux's system calls")


def _die() -> None:
    sys.stdout.flush()
    os._exit(0)


def _manifest(data: bytes) -> Manifest:
    return Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(data))


def _in_another_process(name: str, folder: Path) -> str:
    """Run one of the functions `first_…` below on `folder` to its sudden end; what it printed."""
    code = f"import sys; from tests.unit.file_server.store.local.test_failed_flush import {name}; {name}(sys.argv[1])"
    command = [sys.executable, "-c", code, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def first_file_server(folder: str) -> None:
    lab = Lab(Path(folder))
    put(lab.store, KEPT)
    index, thread = lab.store._index, ThreadPoolExecutor(1)
    thread.submit(break_flushes_of_this_thread).result()
    submit = index.submit
    index.submit = lambda work: thread.submit(submit, work).result()  # the files' flushes go on working
    try:
        put(lab.store, REFUSED)
    except Unavailable as error:
        print("refused:", error)
    held = [digest for digest, length in _manifest(REFUSED).chunks if lab.store.holds(digest, length)]
    print("held:", len(held), "problem:", bool(lab.store.problem))
    for folder_number in range(256):
        lab.store.sweep_orphans(folder_number)
    _die()


@needs_filter
def test_a_blob_whose_index_flush_failed_is_refused_and_never_half_there(tmp_path: Path) -> None:
    """The seal is refused; whatever a restart finds of the blob is whole, and what was sealed before is intact."""
    printed = _in_another_process("first_file_server", tmp_path)
    assert "refused: the file server's index failed" in printed
    assert "held: 0 problem: True" in printed
    lab = Lab(tmp_path)
    try:
        assert get(lab.store, _manifest(KEPT).digest) == KEPT
        for chunk, length in _manifest(REFUSED).chunks:
            assert length > LARGE  # it is a file, so a row without it would be a copy that is not there
            if lab.store.holds(chunk, length):
                lab.store.read_chunk(chunk)
        put(lab.store, REFUSED)
        assert get(lab.store, _manifest(REFUSED).digest) == REFUSED
    finally:
        lab.store.close()


def first_directory(folder: str) -> None:
    store = SqliteStore(Path(folder) / "metadata.db")
    store.write(lambda tx: tx.run(PUT, name="kept", value="1"))
    store.write(lambda tx: break_flushes_of_this_thread())
    for attempt in ("refused", "again"):
        try:
            store.write(lambda tx, name=attempt: tx.run(PUT, name=name, value="1"))
            print("committed", attempt)
        except Unavailable as error:
            print("refused:", error)
        gc.collect()  # what still refers to the failed connection must not be what hides its commit
        with store.read() as reader:
            print(attempt, reader.one(GET, key=attempt))
    _die()


@needs_filter
def test_a_commit_whose_flush_failed_is_not_seen_while_the_process_runs(tmp_path: Path) -> None:
    """Every writer whose flush fails is refused, no reader sees what it wrote, and a restart keeps what was before."""
    printed = _in_another_process("first_directory", tmp_path)
    assert printed.count("refused: the directory's disk failed") == 2
    assert "refused None" in printed
    assert "again None" in printed
    store = SqliteStore(tmp_path / "metadata.db")
    try:
        with store.read() as reader:
            assert reader.one(GET, key="kept") == ("1",)
    finally:
        store.close()


def first_with_a_log(folder: str) -> None:
    store = SqliteStore(Path(folder) / "metadata.db")
    store.write(lambda tx: tx.run(PUT, name="kept", value="1"))
    _die()


def test_what_an_earlier_process_left_in_the_log_is_flushed_before_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is written again byte for byte and flushed; while that fails, neither program starts on it."""
    _in_another_process("first_with_a_log", tmp_path)
    database = tmp_path / "metadata.db"
    log = tmp_path / "metadata.db-wal"
    before = log.read_bytes()
    written: list[int] = []
    real_pwrite, real_fsync = os.pwrite, os.fsync

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        written.append(offset)
        return real_pwrite(descriptor, data[:1000], offset)  # a disk may take less than it is given

    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(write_ahead_log.os, "pwrite", pwrite)
    assert make_log_durable(database) == len(before)
    assert written == list(range(0, len(before), 1000))
    assert log.read_bytes() == before
    monkeypatch.setattr(write_ahead_log.os, "fsync", fsync)
    with pytest.raises(LockstepError, match="cannot flush the metadata"):
        SqliteStore(database)
    monkeypatch.setattr(write_ahead_log.os, "fsync", real_fsync)
    store = SqliteStore(database)
    with store.read() as reader:
        assert reader.one(GET, key="kept") == ("1",)
    store.close()
    assert make_log_durable(tmp_path / "none.db") == 0


def test_a_chunk_folder_is_flushed_into_its_parent_even_when_someone_else_made_it(tmp_path: Path) -> None:
    """A folder whose own name was never flushed (the flush failed, or a crash came first) is not taken for durable."""
    lab = Lab(tmp_path)
    flushed: list[Path] = []
    real = lab.disk.sync_folder
    lab.disk.sync_folder = lambda folder: (flushed.append(folder), real(folder))[1]  # type: ignore[method-assign, func-returns-value]
    digest = _manifest(KEPT).chunks[0][0]
    chunks = tmp_path / "data" / "chunks"
    lab.disk.broken["sync_folder"] = errno.EIO
    with pytest.raises(Unavailable):
        put(lab.store, KEPT)
    folder = lab.store._files.path(digest).parent
    assert folder.is_dir()
    lab.disk.repair()
    flushed.clear()
    put(lab.store, KEPT)
    assert flushed == [chunks, folder]
    lab.store.close()


def test_refused_writers_of_one_batch_leave_the_store_usable_by_the_next_process(tmp_path: Path) -> None:
    """A process that dies right after many threads' writes were refused leaves a store that opens and takes writes."""
    if not SUPPORTED:
        pytest.skip("makes flushes fail by a filter of Linux's system calls")
    printed = _in_another_process("first_crowd", tmp_path)
    assert printed.split() == ["refused"] * 8
    store = SqliteStore(tmp_path / "metadata.db")
    store.write(lambda tx: tx.run(PUT, name="after", value="1"))
    with store.read() as reader:
        assert reader.one(GET, key="after") == ("1",)
    store.close()


def first_crowd(folder: str) -> None:
    store = SqliteStore(Path(folder) / "metadata.db")
    store.write(lambda tx: break_flushes_of_this_thread())
    refused: list[int] = []

    def write(number: int) -> None:
        try:
            store.write(lambda tx: tx.run(PUT, name=f"n{number}", value="1"))
        except LockstepError:
            refused.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*["refused" for _ in refused])
    _die()
