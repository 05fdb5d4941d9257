"""Backups are whole or refused, a restore is safe to go on from, and what happened since is found again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from directory_server.bootstrap import make_hooks
from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.lock_manager import LockManager
from directory_server.maintenance.backup import Backups
from directory_server.maintenance.fsck import check_metadata
from directory_server.maintenance.recovery import Recovery
from directory_server.maintenance.restore import CURSOR_JUMP, accept_older, begin_again, restore
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.metadata.statements import notifications
from lockstep_store.wire.backup_file import check
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Conflict, Damaged, LockstepError, NotFound, SetupError, StorageFormatError
from lockstep_store.wire.messages.buckets import ChangeBucketRequest
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.recovery import RecoverRequest, RecoveryInfo
from lockstep_store.wire.messages.servers import CommitNote, FoundBlob, FoundRequest
from tests.fakes.clock import ManualClock
from tests.fakes.directory_rig import PeopleByName
from tests.unit.directory_server.maintenance.test_inventories_and_fsck import Rig


class Life:
    """A directory, its backup, and its life after being restored from that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backup = folder / "directory.backup"
        self.rig = Rig(folder / "first")

    def back_up(self) -> None:
        clock = DirectoryClock(ManualClock(start=100.0))
        self.backed_up_at = clock.wall()
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
    rig.recovery.note_fence("1", 50_000_000)
    assert rig.lock("a.txt").number > 50_000_000
    with rig.store.read() as reader:
        assert rig.locks.fence(reader, "files", "never-locked.txt") > 50_000_000
    rig.close()
    again = Rig(rig.folder)
    with again.store.read() as reader:
        assert again.locks.fence(reader, "files", "never-locked.txt") > 50_000_000
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


def test_a_commit_that_was_answered_before_the_backup_is_still_repeated(life: Life) -> None:
    """A repeat of a write that the backup has gives the same version."""
    write_id = life.rig.write_id()
    made = life.rig.write("a.txt", b"once", write_id=write_id)
    life.back_up()
    rig = life.restore()
    assert rig.begin("a.txt", write_id=write_id).version.version == made.version  # type: ignore[union-attr]


# ---------------------------------------------------------------- finding again


def test_versions_committed_after_the_backup_are_found_again(life: Life) -> None:
    """New files, new versions and their order come back with their ids, from several servers in any order."""
    life.rig.write("old.txt", b"1")
    life.back_up()
    middle, newest = life.rig.write("old.txt", b"2"), life.rig.write("old.txt", b"3")
    new = life.rig.write("new.txt", b"4", metadata={"colour": "red"}, content_type="text/plain")
    rig = life.restore()
    assert rig.recovery.found("2", FoundRequest([life.note(newest), life.note(new)])).recovered == 2
    assert rig.recovery.found("1", FoundRequest([life.note(middle)])).recovered == 1
    assert [version.version for version in rig.versions("old.txt")][:2] == [newest.version, middle.version]
    assert rig.lookup("old.txt").digest == newest.digest
    back = rig.lookup("new.txt")
    assert (back.version, back.digest, back.author) == (new.version, new.digest, "ann")
    assert (back.metadata, back.content_type, back.created_at) == ({"colour": "red"}, "text/plain", new.created_at)
    assert rig.holders(middle.digest) == ["1"]
    assert info(rig).recovered_versions == 3
    assert check_metadata(rig.store)[1] == []


def test_finding_again_is_safe_to_repeat_and_never_beats_a_newer_write(life: Life) -> None:
    """The same notes twice make nothing twice, and a write made after the restore stays current."""
    life.back_up()
    lost = life.rig.write("a.txt", b"lost")
    rig = life.restore()
    newer = rig.write("a.txt", b"written after the restore")
    for _ in range(2):
        rig.recovery.found("1", FoundRequest([life.note(lost)]))
    assert rig.lookup("a.txt").version == newer.version
    assert [version.version for version in rig.versions("a.txt")] == [newer.version, lost.version]
    assert info(rig).recovered_versions == 1


def test_a_note_that_does_not_fit_does_not_keep_the_others(life: Life) -> None:
    """A name that is refused, or a size that contradicts the metadata, leaves out that version alone."""
    life.rig.write("known.txt", b"known")
    life.back_up()
    good, bad_name, bad_size = (life.rig.write(f"{n}.txt", b"%d" % n) for n in range(3))
    rig = life.restore()
    bad_name.path = "out\nside"
    bad_size.digest, bad_size.size = chunk_digest(b"known"), 999
    notes = [life.note(version) for version in (bad_name, bad_size, good)]
    assert rig.recovery.found("1", FoundRequest(notes)).recovered == 1
    assert rig.lookup("0.txt").digest == good.digest
    assert check_metadata(rig.store)[1] == []


def test_where_no_versions_are_kept_the_newest_note_wins(life: Life) -> None:
    """In a bucket without versions only the last state comes back, whatever order the notes come in."""
    life.rig.bucket("plain", who="admin", versioning="off")
    life.back_up()
    first, second = (life.rig.write("a.txt", content, who="admin", bucket="plain") for content in (b"1", b"2"))
    rig = life.restore()
    rig.recovery.found("1", FoundRequest([life.note(second)]))
    rig.recovery.found("2", FoundRequest([life.note(first)]))
    assert rig.lookup("a.txt", who="admin", bucket="plain").digest == second.digest
    assert len(rig.versions("a.txt", who="admin", bucket="plain")) == 1
    assert check_metadata(rig.store)[1] == []


def test_a_bucket_that_began_to_keep_versions_after_the_backup_keeps_them_again(life: Life) -> None:
    """Or what was deleted for good would uncover older content."""
    life.rig.bucket("plain", who="admin", versioning="off")
    life.rig.write("a.txt", b"1", who="admin", bucket="plain")
    life.back_up()
    keeping = ChangeBucketRequest("admin", "plain", versioning="enabled")
    life.rig.buckets.change(PeopleByName().authenticate("admin"), keeping)
    second = life.rig.write("a.txt", b"2", who="admin", bucket="plain")
    rig = life.restore()
    rig.recovery.found("1", FoundRequest([life.note(second)]))
    assert rig.lookup("a.txt", who="admin", bucket="plain").digest == second.digest
    rig.delete("a.txt", who="admin", bucket="plain", write_id="a-delete-of-now")
    with pytest.raises(NotFound):
        rig.lookup("a.txt", who="admin", bucket="plain")
    assert len(rig.versions("a.txt", who="admin", bucket="plain")) == 3


def test_notes_that_the_backup_covers_bring_nothing_back(life: Life) -> None:
    """What was deleted for good before the backup stays deleted."""
    gone = life.rig.write("a.txt", b"deleted on purpose")
    life.rig.delete("a.txt", version=gone.version)
    life.back_up()
    rig = life.restore()
    assert rig.recovery.found("1", FoundRequest([life.note(gone)])).recovered == 0


def test_a_bucket_that_the_backup_does_not_have_is_made_again_for_nobody_new(life: Life) -> None:
    """It is private; an author without an account does not own it, because anybody could take that name."""
    life.back_up()
    life.rig.bucket("hers", who="ann")
    version = life.rig.write("a.txt", b"private", who="ann", bucket="hers")
    rig = life.restore()
    rig.recovery.found("1", FoundRequest([life.note(version)]))
    assert rig.lookup("a.txt", who="admin", bucket="hers").digest == version.digest
    with pytest.raises(LockstepError):
        rig.lookup("a.txt", who="ann", bucket="hers")


def test_nothing_is_collected_from_a_server_that_has_not_said_everything(life: Life) -> None:
    """Unknown blobs are kept until their server is done; those without a name are kept after it, too."""
    life.back_up()
    unknown = chunk_digest(b"linked, so nobody noted it")
    rig = life.restore()
    rig.time.advance(10_000)
    assert rig.collector.collect("1", [unknown]) == []
    order = rig.inventories.order_for("1")
    assert order is not None
    reply = rig.compare("1", unknown, order=order.id)
    assert reply.unknown == [unknown]
    rig.recovery.found("1", FoundRequest(blobs=[FoundBlob(unknown, 26)]))
    rig.inventories.note_done("1", order.id)
    assert rig.inventories.order_for("1") is None
    assert info(rig).waiting_for == ["2", "3"]
    assert (info(rig).unnamed_blobs, info(rig).unnamed_bytes) == (1, 26)
    assert rig.collector.collect("1", [unknown]) == []
    assert rig.collector.collect("1", [chunk_digest(b"made later, never committed")]) != []


def test_an_administrator_decides_about_what_has_no_name(life: Life) -> None:
    """Named blobs are files of their holders' content in a private bucket; given up ones may be collected."""
    life.back_up()
    kept, given_up = chunk_digest(b"kept"), chunk_digest(b"given up")
    rig = life.restore()
    for id in ("1", "2"):
        rig.recovery.found(id, FoundRequest(blobs=[FoundBlob(kept, 4)]))
    rig.recovery.decide(RecoverRequest("", unnamed="name"), "admin")
    assert rig.lookup(kept.hex(), who="admin", bucket="recovered").digest == kept
    assert rig.holders(kept) == ["1", "2"]
    rig.recovery.found("3", FoundRequest(blobs=[FoundBlob(given_up, 8), FoundBlob(kept, 4)]))
    assert rig.holders(kept) == ["1", "2", "3"]
    assert info(rig).unnamed_blobs == 1
    rig.recovery.decide(RecoverRequest("", finish=True, unnamed="drop"), "admin")
    assert (info(rig).unnamed_blobs, info(rig).finished) == (0, True)
    rig.time.advance(10_000)
    assert rig.collector.collect("3", [given_up]) == [given_up]
    assert check_metadata(rig.store)[1] == []


def test_a_blob_that_gets_its_name_later_counts_where_it_was_seen(life: Life) -> None:
    """A blob listed by one server before another sends its note has both as holders."""
    life.back_up()
    lost = life.rig.write("a.txt", b"lost")
    rig = life.restore()
    rig.recovery.found("3", FoundRequest(blobs=[FoundBlob(lost.digest, lost.size)]))
    rig.recovery.found("1", FoundRequest([life.note(lost)]))
    assert rig.holders(lost.digest) == ["1", "3"]
    assert info(rig).unnamed_blobs == 0


def test_recovery_survives_the_directorys_own_restarts(life: Life) -> None:
    """Who has said everything is kept; nobody is asked twice, nobody is forgotten."""
    life.back_up()
    rig = life.restore()
    order = rig.inventories.order_for("2")
    assert order is not None
    rig.inventories.note_done("2", order.id)
    rig.close()
    life.rig = again = Rig(rig.folder)
    assert again.inventories.order_for("2") is None
    assert again.inventories.order_for("1") is not None
    assert info(again).waiting_for == ["1", "3"]


def test_a_directory_that_was_never_restored_has_nothing_to_recover(life: Life) -> None:
    """It collects as always, takes no notes, and says so."""
    assert life.rig.recovery.info() is None
    assert life.rig.recovery.found("1", FoundRequest(blobs=[FoundBlob(Digest(bytes(32)), 1)])).recovered == 0
    with pytest.raises(Conflict):
        life.rig.recovery.decide(RecoverRequest("", finish=True), "admin")


def test_recovery_has_not_ended_before_any_file_server_came(tmp_path: Path) -> None:
    """With new metadata no server is known yet: that is no end, and the first that comes is waited for."""
    begin_again(tmp_path / "metadata.db", 0.0, wall=lambda: 100.0)
    store = SqliteStore(tmp_path / "metadata.db")
    clock = DirectoryClock(ManualClock(start=100.0))
    recovery = Recovery(store, clock, LockManager(store, clock), lambda server, digests: [], make_hooks([]))
    found = recovery.info()
    assert found is not None
    assert (found.source, found.waiting_for, found.finished) == ("nothing", [], False)
    store.close()


def test_what_an_unfinished_recovery_still_looks_for_is_not_forgotten_by_the_next(life: Life) -> None:
    """Older metadata that is accepted while file servers are still waited for goes on looking behind the first gap."""
    life.back_up()
    lost = life.rig.write("a.txt", b"between backup and restore")
    rig = life.restore()
    rig.write("b.txt", b"after the restore")
    rig.close()
    accept_older(rig.folder / "metadata.db")
    life.rig = again = Rig(rig.folder)
    assert again.recovery.found("1", FoundRequest([life.note(lost)])).recovered == 1
    assert info(again).source == "older"
    with pytest.raises(SetupError, match="another directory"):
        accept_older(rig.folder / "metadata.db")
    with pytest.raises(SetupError, match="no metadata"):
        accept_older(life.folder / "elsewhere" / "metadata.db")
