"""Recovery after a restore: what happened since the backup is found again, and nothing is collected before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.bootstrap import make_hooks
from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.lock_manager import LockManager
from directory_server.maintenance.fsck import check_metadata
from directory_server.maintenance.recovery import Recovery
from directory_server.maintenance.restore import accept_older, begin_again
from directory_server.metadata.engines.sqlite.store import SqliteStore
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Conflict, LockstepError, NotFound, SetupError
from lockstep_store.wire.messages.buckets import ChangeBucketRequest
from lockstep_store.wire.messages.recovery import RecoverRequest
from lockstep_store.wire.messages.servers import FoundBlob, FoundRequest
from tests.fakes.clock import ManualClock
from tests.fakes.directory_rig import PeopleByName
from tests.unit.directory_server.maintenance.test_inventories_and_fsck import Rig
from tests.unit.directory_server.maintenance.test_restore import Life, info


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    yield life
    life.rig.close()


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
