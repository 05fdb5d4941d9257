"""Storage of format 4 becomes format 5: everything is found as before, nothing plain is left, at whatever row a start
was killed."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from file_server.store.chunk_store import Fence
from file_server.store.local import digest_upgrade
from file_server.store.local.disk import Disk
from lockstep_store.runtime.storage.sealing import key_id_of
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import encode
from lockstep_store.wire.crash_points import ENVIRONMENT
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import DamagedChunk, StorageFormatError, TicketRefused
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import CommitNote
from tests import ROOT
from tests.fakes.blobs import get, put
from tests.fakes.disk_search import digests_of, shown
from tests.fakes.older_storage import make_format_3, make_format_4
from tests.unit.file_server.store.local.store_lab import LARGE, SMALL, Lab

ROWS, FILES = "file_server.upgrade.rows-moved", "file_server.upgrade.file-named"


class Before:
    """A store with something of everything, and what it holds."""

    def __init__(self, lab: Lab, seed: int) -> None:
        source = random.Random(seed)
        self.contents = {
            put(lab.store, content, Fence("a", number + 1)): content
            for number, content in enumerate(source.randbytes(size) for size in (0, SMALL, LARGE, LARGE, 5_000_000))
        }
        self.rotten = put(lab.store, source.randbytes(LARGE))
        lab.change_file(self.rotten, lambda _: b"rot")
        with pytest.raises(DamagedChunk):
            lab.store.read_chunk(self.rotten)
        self.kept = source.randbytes(SMALL)
        with lab.store.stage() as staging:
            staging.put(next(iter(chunk_bytes(self.kept))))
            staging.keep()
        self.notes = []
        for cursor, digest in enumerate(self.contents, 1):
            version = FileVersion("files", "a", f"{cursor:016d}", digest, 7, "ada", 1.0, cursor=cursor)
            self.notes.append(CommitNote(f"write-{cursor:012d}", version))
            lab.store.note(cursor, digest, lambda note=self.notes[-1]: encode(note))  # type: ignore[misc]
        lab.store.keep_notes()
        self.blobs = lab.store.blobs(0, None, 100)
        self.totals, self.sealed_under = lab.store.totals, lab.store.sealed_under()
        lab.store.close()
        self.digests: set[Digest] = digests_of(*self.contents.values(), self.kept) | {self.rotten}

    def check(self, lab: Lab, *, blobs: bool = True) -> None:
        """Everything is there, and nothing is plain. `blobs`: rows have their ids and generations."""
        store = lab.store
        for digest, content in self.contents.items():
            assert get(store, digest) == content
        whole, end = store.blobs_by_digest(None, 100)
        assert (whole, end) == (sorted(self.contents), None)
        assert store.notes(0, 100, 100) == self.notes
        with pytest.raises(TicketRefused):
            store.check_fence(Fence("a", len(self.contents) - 1))
        assert store.sealed_under() == self.sealed_under
        if blobs:
            assert store.blobs(0, None, 100) == self.blobs
            assert store.totals == self.totals
            assert store.damaged_blobs() == [self.rotten]
        assert store.missing(chunk.digest for chunk in chunk_bytes(self.kept)) == []
        assert store.collect_chunks(600).waiting == 1 if blobs else store.collect_chunks(600).waiting >= 1
        assert sum(store.sweep_orphans(part) for part in range(256)) == 0
        assert not list(lab.data.glob("chunks/*/" + "?" * 64))
        assert shown(lab.data, self.digests) == []
        for number, digest in enumerate(self.contents):
            store.verify_blob(digest)
            assert store.drop_blob(digest, store.generation(digest) or 0)
            assert len(store.notes(0, 100, 100)) == len(self.notes) - number - 1
        assert lab.reported == [(self.rotten, [self.rotten])]


@pytest.fixture
def before(lab: Lab, seed: int) -> Before:
    """A closed store of format 4."""
    before = Before(lab, seed)
    make_format_4(lab.data, lab.keys)
    return before


def open_elsewhere(lab: Lab, crash_point: str) -> int:
    """Open the store in another process, two rows at a time, to be killed at a crash point; the exit code."""
    code = (
        "import sys; from pathlib import Path; from file_server.store.local import digest_upgrade;"
        "from tests.unit.file_server.store.local.store_lab import Lab;"
        "digest_upgrade.BATCH = 2; Lab(Path(sys.argv[1])).store.close()"
    )
    command = [sys.executable, "-c", code, str(lab.root)]
    environment = os.environ | {ENVIRONMENT: crash_point}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=240, check=False).returncode


def test_digests_are_plain_before_and_sealed_after(lab: Lab, before: Before) -> None:
    """In rows, manifests, notes, and the names of files, those in quarantine included."""
    plain = shown(lab.data, before.digests)
    assert len(plain) >= len(before.digests)
    quarantined = [path.name[:64] for path in lab.files("quarantine")]
    assert quarantined == [str(before.rotten)]
    lab.open()
    assert (lab.data / "format").read_text() == "lockstep file server storage 5\n"
    assert [path.name[:96] for path in lab.files("quarantine")] == [lab.store.stored_name(before.rotten)]
    before.check(lab)
    lab.store.close()
    assert shown(lab.data, before.digests) == []
    lab.open()


@pytest.mark.parametrize(
    "crash_point", [ROWS, f"{ROWS}:2", f"{ROWS}:4", f"{ROWS}:6", f"{ROWS}:8", FILES, f"{FILES}:2", f"{FILES}:4"]
)
def test_an_upgrade_that_was_killed_goes_on(lab: Lab, before: Before, crash_point: str) -> None:
    """Some rows moved or some files named: the next start does the rest."""
    assert open_elsewhere(lab, crash_point) == -signal.SIGKILL
    assert shown(lab.data, before.digests)
    lab.open()
    before.check(lab)


def test_an_upgrade_that_is_killed_again_and_again_comes_to_its_end(lab: Lab, before: Before) -> None:
    """Each start gets further than the one before it."""
    killed = 0
    for point in (ROWS, FILES):
        while open_elsewhere(lab, point) == -signal.SIGKILL:
            killed += 1
            assert killed < 40
    assert killed > 8
    lab.open()
    before.check(lab)


def test_every_folder_of_a_renamed_file_is_synced(lab: Lab, before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that it leaves too: after a power failure, it might show the digest again."""
    synced: set[Path] = set()
    sync = Disk.sync_folder

    def noted(disk: Disk, folder: Path) -> None:
        synced.add(folder)
        sync(disk, folder)

    monkeypatch.setattr(Disk, "sync_folder", noted)
    left = {path.parent for path in lab.files("chunks")}
    lab.open()
    assert left | {path.parent for path in lab.files("chunks")} <= synced


@pytest.mark.parametrize("crash_point", ["", f"{ROWS}:3", f"{ROWS}:7", f"{FILES}:2"])
def test_an_index_that_is_damaged_during_the_upgrade_is_rebuilt(lab: Lab, before: Before, crash_point: str) -> None:
    """From plain rows and from sealed ones; the index that was set aside keeps what it had."""
    if crash_point:
        assert open_elsewhere(lab, crash_point) == -signal.SIGKILL
    (lab.data / "index-damaged").write_bytes(b"")
    lab.open()
    for path in lab.files("quarantine"):
        if path.name.startswith("index-"):
            path.unlink()
    before.check(lab, blobs=False)


def test_a_lost_index_of_format_4_is_rebuilt_from_files(lab: Lab, before: Before) -> None:
    """Chunk files get their names first, and are then found by them."""
    (lab.data / "index.db").unlink()
    lab.open()
    for content in before.contents.values():
        for chunk in chunk_bytes(content):
            if chunk.length > 70_000:
                assert lab.store.read_chunk(chunk.digest) == chunk.data
    assert shown(lab.data, before.digests) == []


def test_format_3_becomes_format_5_in_one_start(lab: Lab, seed: int) -> None:
    """There was no key yet, and notes and paths were plain."""
    before = Before(lab, seed)
    make_format_3(lab.data, lab.keys, {note.version.cursor: encode(note) for note in before.notes}, {"a": 5})
    assert open_elsewhere(lab, f"{ROWS}:5") == -signal.SIGKILL
    lab.open()
    before.check(lab)


def test_a_swapped_row_in_plain_tables_has_the_index_rebuilt(lab: Lab, before: Before) -> None:
    """A value that no row can have is damage, not the end of the start."""
    with closing(sqlite3.connect(lab.data / "index.db", isolation_level=None)) as db:
        db.execute("UPDATE blob SET digest = zeroblob(7) WHERE id = 2")
    lab.open()
    lost = before.blobs[1].digest
    assert sorted(blob.digest for blob in lab.store.blobs(0, None, 100)) == sorted(set(before.contents) - {lost})


def test_batches_are_bounded_in_bytes(lab: Lab, before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row with a long manifest ends its batch; memory does not grow with the disk."""
    batches: list[int] = []
    batch = digest_upgrade._batch

    def counted(rows: Any) -> Any:
        found = batch(rows)
        batches.append(len(found))
        return found

    monkeypatch.setattr(digest_upgrade, "_batch", counted)
    monkeypatch.setattr(digest_upgrade, "BATCH_BYTES", 80)
    lab.open()
    before.check(lab)
    assert max(batches) <= 3


def test_a_long_upgrade_says_how_far_it_is(
    lab: Lab, before: Before, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows and files that are done, of how many."""
    monkeypatch.setattr(digest_upgrade, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(digest_upgrade, "BATCH", 2)
    with caplog.at_level(logging.INFO):
        lab.open()
    said = [record.getMessage() for record in caplog.records if "format 5" in record.getMessage()]
    rows = before.totals.chunks + before.totals.blobs + len(before.notes)
    assert f"upgrading the storage to format 5: digests in the index: 2 of {rows}" in said
    assert f"upgrading the storage to format 5: digests in the index: {rows} of {rows}" in said
    files = len(lab.files("chunks"))
    assert f"upgraded the storage to format 5: names of files: {files} sealed" in said


def test_a_second_start_upgrades_nothing(lab: Lab, before: Before, caplog: pytest.LogCaptureFixture) -> None:
    """A start costs no walk over files or rows."""
    lab.open()
    lab.store.close()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        lab.open()
    assert not [record for record in caplog.records if "format 5" in record.getMessage()]


def test_a_lost_key_of_format_4_is_refused(lab: Lab, before: Before) -> None:
    """It has no copy of the key yet; nothing is changed."""
    (lab.data / "disk-key").unlink()
    with pytest.raises(StorageFormatError, match="disk-key is missing"):
        lab.open()
    assert not (lab.data / "disk-key").exists()


def test_the_copy_of_the_key_is_sealed(lab: Lab, before: Before) -> None:
    """As the file is: with the storage keys."""
    lab.open()
    row = lab.store._index._writer.execute("SELECT sealed FROM disk_key").fetchone()
    assert row == ((lab.data / "disk-key").read_bytes(),)
    assert key_id_of(row[0]) == lab.store._sealer.ring.current


def test_a_format_4_folder_of_another_place_keeps_its_foreign_files(lab: Lab, before: Before) -> None:
    """What is no chunk file is left alone."""
    other = lab.data / "chunks" / "00" / "README"
    other.parent.mkdir(exist_ok=True)
    other.write_text("?")
    lab.open()
    assert other.read_text() == "?"
    other.unlink()
    before.check(lab)


def test_an_older_program_refuses_the_folder(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the usual sentence, before it changes anything."""
    lab.store.close()
    monkeypatch.setattr("file_server.store.local.disk_layout.FORMAT", "lockstep file server storage 4")
    monkeypatch.setattr("file_server.store.local.disk_layout.OLDER_FORMATS", ("lockstep file server storage 3",))
    with pytest.raises(StorageFormatError, match=r"has the format 'lockstep file server storage 5'.*use the version"):
        lab.open()
