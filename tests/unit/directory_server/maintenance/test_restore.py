"""Backups are whole or refused, and a restore is safe to go on from."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.files.analytics import note_today
from directory_server.maintenance.backup import Backups
from directory_server.maintenance.condition import DirectoryCondition
from directory_server.maintenance.epochs import EPOCHS_SETTING, Epochs, decode_record
from directory_server.maintenance.fsck import check_metadata
from directory_server.maintenance.restore import restore
from directory_server.maintenance.safe_to_start import CURSOR_JUMP
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import notifications, people, redo, totals
from lockstep_store.wire.backup_file import check
from lockstep_store.wire.errors import Conflict, Damaged, SetupError, StorageFormatError
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.recovery import RecoveryInfo
from lockstep_store.wire.messages.servers import CommitNote, FoundRequest
from tests.fakes.clock import ManualClock
from tests.unit.directory_server.maintenance.test_inventories_and_fsck import Rig

DAY = 86_400.0


class Life:
    """A directory, its backup, and its life after being restored from that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backup = folder / "directory.backup"
        self.rig = Rig(folder / "first")

    def back_up(self, later: float = 0.0) -> None:
        """`later`: seconds after other backups."""
        now = ManualClock(start=100.0)
        self.backed_up_at = now.wall()
        now.step_wall(later)
        clock = DirectoryClock(now)
        reply = Backups(self.rig.store, clock, self.rig.folder, "1").stream()
        content = b"".join(reply.body)
        assert dict(reply.headers)["Content-Length"] == str(len(content))
        self.backup.write_bytes(content)
        assert not list(self.rig.folder.glob("*.part")), "no copy stays behind"

    def restore(self, seconds_after: float = 0.0, into: str = "second") -> Rig:
        """The same cluster after its directory's disk was lost, so long after the backup."""
        self.rig.close()
        restore(self.backup, self.folder / into / "metadata.db", wall=lambda: self.backed_up_at + seconds_after)
        self.rig = Rig(self.folder / into)
        return self.rig

    def note(self, version: FileVersion, write_id: str = "") -> CommitNote:
        """What the master remembers of a version."""
        return CommitNote(write_id or f"write-id-of-{version.version}", version)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    yield life
    life.rig.close()


def info(rig: Rig) -> RecoveryInfo:
    found = rig.recovery.info()
    assert found is not None
    return found


# ---------------------------------------------------------------- the file


def test_a_backup_says_what_is_in_it(life: Life) -> None:
    """Counts, cursor and digest stand in the file, and every byte is covered by the digest."""
    life.rig.write("a.txt", b"one")
    life.rig.write("a.txt", b"two")
    life.back_up()
    with life.backup.open("rb") as file:
        made = check(file, "it")
    assert (made.files, made.versions, made.blobs, made.cursor) == (1, 2, 2, 2)
    assert made.rows["version"] == 2


@pytest.mark.parametrize("harm", ["flip", "cut", "longer", "newer", "other", "empty"])
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_changed(life: Life, harm: str) -> None:
    """A flipped bit, a missing end, a newer form or another kind of file: refused with its reason."""
    life.rig.write("a.txt")
    life.back_up()
    content = bytearray(life.backup.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    elif harm == "cut":
        content = content[:-1]
    elif harm == "longer":
        content += b"x"
    elif harm == "newer":
        content = content.replace(b"backup 1\n", b"backup 9\n", 1)
    else:
        content = bytearray(b"a letter\n" if harm == "other" else b"")
    life.backup.write_bytes(content)
    target = life.folder / "second" / "metadata.db"
    with pytest.raises((Damaged, StorageFormatError)):
        restore(life.backup, target)
    assert not target.exists()


def test_what_other_restores_kept_aside_is_no_part_of_a_backup(life: Life) -> None:
    """Neither in it nor in the room that it needs; and what a crash left of an earlier one is cleared away."""
    aside = life.rig.folder / "metadata.db.replaced-20260101-000000"
    with aside.open("wb") as file:
        file.truncate(1 << 42)
    journal = life.rig.folder / "backup-0123456789ab.part-journal"
    journal.touch()
    life.back_up()
    assert aside.exists()
    assert not journal.exists()


def test_a_running_directory_is_not_replaced(life: Life) -> None:
    """While a directory uses the folder, restoring is refused, with and without --replace."""
    life.back_up()
    with pytest.raises(SetupError, match="another directory"):
        restore(life.backup, life.rig.folder / "metadata.db", replace=True)


def test_metadata_that_is_there_is_kept_aside_and_only_when_asked(life: Life) -> None:
    """Without --replace nothing is overwritten; with it the old metadata stays, whole, under a dated name."""
    life.rig.write("a.txt")
    life.back_up()
    life.rig.write("later.txt")
    metadata = life.rig.folder / "metadata.db"
    life.rig.close()
    before = metadata.read_bytes()
    with pytest.raises(Conflict, match="--replace"):
        restore(life.backup, metadata)
    assert metadata.read_bytes() == before
    _, kept = restore(life.backup, metadata, replace=True, wall=lambda: 0.0)
    assert kept == metadata.with_name("metadata.db.replaced-19700101-000000")
    with closing(sqlite3.connect(kept)) as old, closing(sqlite3.connect(metadata)) as new:
        assert old.execute("SELECT count(*) FROM version").fetchone() == (2,)
        assert new.execute("SELECT count(*) FROM version").fetchone() == (1,)


def test_a_log_that_was_left_is_not_played_into_the_restored_metadata(life: Life) -> None:
    """What a crashed directory left in its log goes aside with its metadata."""
    life.rig.write("a.txt")
    life.back_up()
    life.rig.write("later.txt")
    metadata = life.rig.folder / "metadata.db"
    log = metadata.with_name("metadata.db-wal").read_bytes()
    life.rig.close()
    metadata.with_name("metadata.db-wal").write_bytes(log)
    restore(life.backup, metadata, replace=True)
    assert not metadata.with_name("metadata.db-wal").exists()
    store = SqliteStore(metadata)
    assert check_metadata(store)[1] == []
    assert check_metadata(store)[0]["version"] == 1
    store.close()


# ---------------------------------------------------------------- numbers


def test_no_number_is_given_twice_after_a_restore(life: Life) -> None:
    """Lock numbers, version ids, cursors and directory time go on far above whatever was used since the backup."""
    life.rig.write("a.txt")
    life.rig.lock("a.txt")
    life.back_up()
    time_before = life.rig.clock.now()
    for number in range(5):
        life.rig.lock(f"{number}.txt")
    last_lock = life.rig.lock("b.txt").number
    last = life.rig.write("c.txt")
    rig = life.restore()
    with rig.store.read() as reader:
        assert rig.locks.list().locks == [], "locks of before are over"
        assert rig.locks.fence(reader, "files", "b.txt") > last_lock
    assert rig.lock("b.txt").number > last_lock
    made = rig.write("d.txt")
    assert made.cursor > last.cursor + CURSOR_JUMP // 2
    assert made.version > last.version
    assert rig.clock.now() >= time_before


def test_a_second_restore_of_the_same_backup_gives_no_number_twice_and_finds_both_lives(life: Life) -> None:
    """What was written after the first restore is after the backup, too: its numbers were given, and it is found."""
    life.back_up()
    before = life.rig.write("before.txt")
    first = life.restore()
    lock = first.lock("a.txt").number
    made = first.write("between.txt", b"between the restores")
    time_before = first.clock.now()
    second = life.restore(seconds_after=60.0, into="third")
    assert second.lock("a.txt").number > lock
    assert second.write("after.txt").cursor > made.cursor
    assert second.clock.now() >= time_before
    second.recovery.found("1", FoundRequest([life.note(before), life.note(made)]))
    assert second.lookup("between.txt").version == made.version
    assert second.lookup("before.txt").version == before.version


def test_restores_of_two_backups_give_no_number_twice(life: Life) -> None:
    """An administrator restores an old backup, finds a newer one, and restores that: its jump by age is the shorter."""
    life.back_up()
    older = life.backup.read_bytes()
    life.rig.write("before.txt")
    life.back_up(later=2 * DAY - 600.0)
    newer = life.backup.read_bytes()
    life.backup.write_bytes(older)
    first = life.restore(seconds_after=2 * DAY)
    lock = first.lock("a.txt").number
    made = first.write("between.txt", b"between the restores")
    with first.store.read() as reader:
        ended = decode_record(people.read_setting(reader, EPOCHS_SETTING)).newest
        records = redo.newest(reader)
    life.backup.write_bytes(newer)
    second = life.restore(seconds_after=2 * DAY + 60.0, into="third")
    assert second.lock("a.txt").number > lock
    assert second.write("after.txt").cursor > made.cursor
    with second.store.read() as reader:
        assert decode_record(people.read_setting(reader, EPOCHS_SETTING)).newest > ended
        later_records = redo.newest(reader)
    assert records is not None
    assert later_records is not None
    assert later_records.sequence > records.sequence, "file servers sort their files of records by it"


def test_notifications_that_waited_go_on_waiting_and_later_ones_have_greater_numbers(life: Life) -> None:
    """The jump of directory time makes none of them too old, and receivers see sequencers that rise."""

    def queue(rig: Rig) -> int:
        now = rig.clock.now()
        return rig.store.write(lambda tx: notifications.queue(tx, "hook", "{}", queued_time=now))

    first = queue(life.rig)
    life.back_up()
    after_backup = [queue(life.rig) for _ in range(3)][-1]
    rig = life.restore()
    with rig.store.read() as reader:
        assert [row.id for row in notifications.first_waiting(reader, "hook", 10)] == [first]
        _, since = notifications.waiting(reader, "hook")
    assert since is not None
    assert rig.clock.now() - since < 60.0
    assert queue(rig) > after_backup + CURSOR_JUMP // 2


def test_a_server_that_saw_a_higher_lock_number_raises_all(life: Life) -> None:
    """When more locks were granted since than the jump, what a file server has seen decides."""
    life.back_up()
    rig = life.restore()
    rig.recovery.note_fence("1", 10**15)
    assert rig.lock("a.txt").number > 10**15
    with rig.store.read() as reader:
        assert rig.locks.fence(reader, "files", "never-locked.txt") > 10**15
    rig.close()
    again = Rig(rig.folder)
    with again.store.read() as reader:
        assert again.locks.fence(reader, "files", "never-locked.txt") > 10**15
    life.rig = again


def test_secrets_that_could_be_replayed_are_gone(life: Life) -> None:
    """The ticket key and log-ins of the backup are not in the restored metadata; API keys are."""
    life.rig.sql("INSERT INTO setting (name, value) VALUES ('ticket_key', 'aa')")
    life.rig.sql("INSERT INTO session VALUES (zeroblob(32), 'ann', '', 1e9, 1e9, 0)")
    life.rig.sql("INSERT INTO api_key VALUES (zeroblob(32), 'k', 'admin', 'tool', 0)")
    life.back_up()
    rig = life.restore()
    with closing(sqlite3.connect(rig.folder / "metadata.db")) as db:
        assert db.execute("SELECT count(*) FROM setting WHERE name = 'ticket_key'").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM session").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM api_key").fetchone() == (1,)


def test_the_status_asks_for_a_backup_after_a_restore_until_there_is_one(life: Life) -> None:
    """A backup counts once it was fetched to its end, and no longer after a restore, which records cannot bridge."""

    def reported() -> tuple[float | None, float | None]:
        rig = life.rig
        epochs = Epochs(rig.store, rig.clock, rig.recovery, 2, 60.0, rig.folder)
        condition = DirectoryCondition(rig.store, epochs, rig.recovery, rig.clock, rig.folder)
        shown = condition.info(all_of_it=True)
        return shown.last_backup_at, shown.restored_at

    assert reported() == (None, None)
    cut_off = Backups(life.rig.store, DirectoryClock(ManualClock()), life.rig.folder, "1").stream().body
    assert isinstance(cut_off, Generator)
    next(cut_off)
    cut_off.close()
    assert reported() == (None, None)
    life.back_up()
    assert reported() == (life.backed_up_at, None)
    life.restore(seconds_after=60.0)
    assert reported() == (None, life.backed_up_at + 60.0)
    life.back_up(later=90.0)
    assert reported() == (life.backed_up_at + 90.0, None)


def test_totals_are_counted_again(life: Life) -> None:
    """Wrong, missing and left-over ones in a backup are right after the restore; noted days stay."""
    life.rig.write("in/a.txt", b"12345")
    life.rig.store.write(lambda tx: note_today(tx, life.rig.clock.wall()))
    life.rig.sql("UPDATE stored_total SET file_bytes = file_bytes + 1")
    life.rig.sql("DELETE FROM folder_total WHERE folder = 'in/'")
    life.rig.sql("INSERT INTO folder_total (bucket, folder, files, bytes) VALUES ('files', 'none/', 1, 1)")
    life.rig.sql("UPDATE content_total SET blobs = 7")
    life.back_up()
    rig = life.restore()
    _, problems, _ = check_metadata(rig.store)
    assert problems == []
    with rig.store.read() as reader:
        assert totals.folder(reader, "files", "in/") == (1, 5)
        assert [row[1:] for row in totals.days(reader, '["files"]', 0)] == [(1, 5, 1, 5)]


def test_a_commit_that_was_answered_before_the_backup_is_still_repeated(life: Life) -> None:
    """A repeat of a write that the backup has gives the same version."""
    write_id = life.rig.write_id()
    made = life.rig.write("a.txt", b"once", write_id=write_id)
    life.back_up()
    rig = life.restore()
    assert rig.begin("a.txt", write_id=write_id).version.version == made.version  # type: ignore[union-attr]
