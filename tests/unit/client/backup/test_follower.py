"""A continuous backup can be restored to the latest record at each moment, whatever ends its process."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from directory_server.maintenance.backup import Backups
from directory_server.maintenance.redo_log import RedoLog
from directory_server.maintenance.replay import open_folder, replay
from directory_server.maintenance.restore import accept_older, restore
from directory_server.metadata import redo_lines
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import people
from lockstep_store.client.backup.folder import BackupFolder
from lockstep_store.client.backup.follower import Follower
from lockstep_store.client.local_storage import LocalFileError
from lockstep_store.runtime.storage import redo_files
from lockstep_store.wire.backup_file import check, read_header
from lockstep_store.wire.errors import Damaged, Forbidden, SetupError, Unavailable
from lockstep_store.wire.messages.recovery import BackupInfo
from lockstep_store.wire.messages.redo import RedoPlace, RedoReply
from tests.fakes.clock import ManualClock


class Cluster:
    """A directory's metadata, asked as a proxy would ask."""

    def __init__(self, folder: Path) -> None:
        self.metadata = folder / "directory" / "metadata.db"
        self.failure: Exception | None = None
        self.changes = 0
        self.backups = 0
        self.open()
        self.change()

    def open(self) -> None:
        self.store = SqliteStore(self.metadata)
        clock = ManualClock()
        self._log = RedoLog(self.store, clock, dict)  # type: ignore[arg-type]
        self._backups = Backups(self.store, clock, self.metadata.parent, "1")  # type: ignore[arg-type]

    def change(self, times: int = 1, size: int = 1) -> int:
        for _ in range(times):
            self.changes += 1
            value = f"{self.changes} {os.urandom(size).hex()}"
            self.store.write(lambda tx, value=value: people.write_setting(tx, "changes", value))  # type: ignore[misc]
        return self.changes

    def backup(self, target: Path) -> BackupInfo:
        self._fail()
        self.backups += 1
        target.write_bytes(b"".join(self._backups.stream().body))
        with target.open("rb") as file:
            return check(file, str(target))

    def redo_records(self, after: RedoPlace) -> RedoReply:
        self._fail()
        return self._log.read(after, sealed=False)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Following:
    """One process that follows into one folder."""

    def __init__(self, cluster: Cluster, path: Path, **options: int) -> None:
        self.clock = ManualClock()
        self.folder = BackupFolder(path)
        self.follower = Follower(self.folder, cluster, self.clock.monotonic, **options)

    def steps(self, count: int = 8) -> Follower:
        for _ in range(count):
            self.follower.step()
            if self.follower._fetch is not None:
                self.follower._fetch.join()
            self.clock.advance(1.0)
        return self.follower

    def die(self) -> None:
        """As with kill -9: what is written stays, nothing is tidied up."""
        if self.follower._fetch is not None:
            self.follower._fetch.join()  # a thread of this process goes on, which nobody looks at
        self.folder.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def reached(path: Path) -> int:
    """The same, without all that makes a restored directory safe: for tests that look often."""
    base, batches = open_folder(path)
    with base.open("rb") as file, closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        read_header(file, str(base))
        db.deserialize(file.read())
        replay(db, batches)
        return int(db.execute("SELECT value FROM setting WHERE name = 'changes'").fetchone()[0].split()[0])


def restored(path: Path) -> int:
    """Which change was the last, in a directory that is restored from the folder."""
    target = path.parent / f"restored-{os.urandom(4).hex()}" / "metadata.db"
    restore(path, target)
    with closing(sqlite3.connect(target)) as db:
        return int(db.execute("SELECT value FROM setting WHERE name = 'changes'").fetchone()[0].split()[0])


def test_it_follows_and_says_how_far_behind_it_is(cluster: Cluster, path: Path) -> None:
    """First a backup, then each change; the status counts from when everything was there."""
    following = Following(cluster, path)
    assert following.follower.seconds_behind is None
    assert not following.follower.is_whole
    follower = following.steps()
    assert follower.is_whole
    assert follower.seconds_behind == pytest.approx(1.0)
    assert restored(path) == cluster.change() - 1
    following.steps(1)
    assert restored(path) == cluster.changes
    cluster.failure = Unavailable("the directory is away")
    follower = following.steps(5)
    assert follower.problem == "the directory is away"
    assert follower.seconds_behind == pytest.approx(6.0)
    cluster.failure = None
    assert following.steps(1).problem == ""
    following.die()


def test_it_goes_on_after_a_kill_at_any_byte(cluster: Cluster, path: Path) -> None:
    """The torn end of the file is no damage: it is restored up to the last whole record, and followed on from there."""
    following = Following(cluster, path)
    following.steps()
    (log,) = path.glob("redo-*.log")
    before = log.stat().st_size
    known = cluster.changes
    cluster.change()
    following.steps(1)
    following.die()
    whole = log.read_bytes()
    for length in range(before, len(whole)):
        for rest in (b"", bytes(40)):
            log.write_bytes(whole[:length] + rest)
            assert reached(path) == known
    assert restored(path) == known
    following = Following(cluster, path)
    following.steps(1)
    assert restored(path) == cluster.changes
    assert cluster.backups == 1
    following.die()


def test_a_damaged_middle_is_named_and_nothing_is_changed(cluster: Cluster, path: Path) -> None:
    """A flipped byte before the last record: the file and the place, and what to do about it."""
    following = Following(cluster, path)
    following.steps()
    (log,) = path.glob("redo-*.log")
    damaged_at = log.stat().st_size
    cluster.change()
    following.steps(1)
    cluster.change()
    following.steps(1)
    following.die()
    content = bytearray(log.read_bytes())
    content[damaged_at + 60] ^= 1
    log.write_bytes(content)
    with pytest.raises(Damaged, match=rf"{log.name} is damaged at byte {damaged_at}.*truncate -s {damaged_at}"):
        restored(path)
    with pytest.raises(LocalFileError, match="damaged"):
        BackupFolder(path)
    os.truncate(log, damaged_at)
    assert restored(path) == cluster.changes - 2


def test_a_missing_file_of_records_is_named(cluster: Cluster, path: Path) -> None:
    """What comes after the gap is never applied to metadata that it does not follow."""
    following = Following(cluster, path)
    following.steps()
    for _ in range(2):
        cluster.change()
        following.steps(1)
        following.folder.records.begin(following.follower.place, fresh=False)
    cluster.change()
    following.steps(1)
    following.die()
    files = sorted(path.glob("redo-*.log"))
    assert len(files) == 3
    assert restored(path) == cluster.changes
    files[1].unlink()
    with pytest.raises(Damaged, match="are missing before"):
        restored(path)


@pytest.mark.parametrize("fails", ["write", "flush", "head"])
def test_a_full_or_failing_disk_is_reported_and_no_record_is_lost(
    cluster: Cluster, path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """It tries again by itself, into a new file: what a failed flush left in the old one may be lost later."""
    following = Following(cluster, path)
    following.steps()
    known = cluster.changes
    cluster.change()
    with monkeypatch.context() as patch:
        if fails == "flush":
            patch.setattr(redo_files.os, "fsync", raising(errno.EIO))
        else:
            patch.setattr(redo_files, "_write_all", raising(errno.ENOSPC))
        follower = following.steps(1 if fails == "write" else 3)
        assert "cannot write to" in follower.problem
    assert reached(path) == known
    assert following.steps().problem == ""
    assert reached(path) == cluster.changes
    assert cluster.backups == 1
    following.die()


def raising(number: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups are not longer for the records that the directory keeps for followers."""
    monkeypatch.setattr(redo_lines, "KEPT_BYTES", 500_000)
    monkeypatch.setattr(redo_lines, "TRIM_EVERY", 4)


@pytest.mark.usefixtures("few_kept")
def test_a_new_backup_replaces_records_that_outgrew_the_last(cluster: Cluster, path: Path) -> None:
    """The folder is bounded, and whole at each moment of the change."""
    following = Following(cluster, path, min_record_bytes=1)
    following.steps()
    grown = 0
    while cluster.backups < 3:
        assert grown < 500
        cluster.change(5, size=10_000)
        following.follower.step()
        grown += 1
        if grown % 10 == 0:
            assert reached(path) == cluster.changes
    following.steps()
    assert reached(path) == cluster.changes
    assert len(list(path.glob("base-*"))) == 1
    assert len(list(path.glob("redo-*"))) <= 2
    following.die()


@pytest.mark.usefixtures("few_kept")
def test_a_failed_new_backup_leaves_the_old_one_in_use(cluster: Cluster, path: Path) -> None:
    """The problem is told, and the records go on."""
    following = Following(cluster, path, min_record_bytes=1)
    following.steps()
    real, following.follower._directory.backup = cluster.backup, raising(errno.ENOSPC)  # type: ignore[method-assign]
    for _ in range(100):
        cluster.change(5, size=10_000)
        following.steps(1)
        if following.follower.problem:
            break
    assert "no new backup" in following.follower.problem
    assert reached(path) == cluster.changes
    cluster.backup = real  # type: ignore[method-assign]
    assert following.steps(30).problem == ""
    assert reached(path) == cluster.changes
    following.die()


def test_who_was_away_too_long_begins_again_with_a_backup(
    cluster: Cluster, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is there, the older one can be restored; records from after the gap never go on top of that."""
    monkeypatch.setattr(redo_lines, "KEPT_BYTES", 20_000)
    following = Following(cluster, path)
    following.steps()
    known = cluster.changes
    following.die()
    cluster.change(3 * redo_lines.TRIM_EVERY, size=100)
    following = Following(cluster, path)
    assert following.follower.is_whole
    following.follower.step()
    following.follower.step()
    cluster.change()
    assert reached(path) == known
    assert not following.follower.is_whole
    following.die()
    following = Following(cluster, path)
    assert not following.follower.is_whole, "a restart must not take the gap for whole"
    following.steps()
    assert reached(path) == cluster.changes
    assert following.follower.is_whole
    following.die()


def test_a_restored_directory_is_followed_with_a_new_backup(cluster: Cluster, path: Path) -> None:
    """Its numbers jumped without records, so the old backup and new records would not make its metadata."""
    following = Following(cluster, path)
    following.steps()
    cluster.store.close()
    accept_older(cluster.metadata)
    cluster.open()
    cluster.change()
    following.steps()
    assert cluster.backups == 2
    assert reached(path) == cluster.changes
    following.die()


def test_one_process_follows_into_a_folder_and_refusals_end_it(cluster: Cluster, path: Path) -> None:
    """A second one is refused; so is following without the right to it."""
    following = Following(cluster, path)
    with pytest.raises(SetupError, match="another"):
        BackupFolder(path)
    cluster.failure = Forbidden("only administrators may")
    with pytest.raises(Forbidden):
        following.follower.step()
    following.die()


def test_a_folder_without_a_backup_is_refused(path: Path, tmp_path: Path) -> None:
    """Restoring names what is missing."""
    path.mkdir()
    with pytest.raises(SetupError, match="there is no backup in"):
        restore(path, tmp_path / "new" / "metadata.db")
