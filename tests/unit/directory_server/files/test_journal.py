"""The journal as people read it: each change once, in order, no one else's, and waking who waits for one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import bindparam, column, table, update

from directory_server.files.journal import Changes
from directory_server.files.moment import Moment
from directory_server.files.versions import Versions
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import buckets
from directory_server.metadata.store import Tx
from directory_server.people.person import Person
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import Conflict, Forbidden, NotFound, NotLoggedIn, Overloaded
from lockstep_store.wire.messages.buckets import ChangeBucketRequest
from lockstep_store.wire.messages.journal import Change, ChangesReply, ChangesRequest
from tests.fakes.directory_rig import ADMIN, DirectoryRig, PeopleByName
from tests.waiting import wait_until


def read(rig: DirectoryRig, cursor: int | None = 0, who: str = "ann", **fields: object) -> ChangesReply:
    return rig.changes.read(ChangesRequest(credential=who, cursor=cursor, **fields))  # type: ignore[arg-type]


def told(reply: ChangesReply) -> list[tuple[str, str]]:
    return [(change.kind, change.path) for change in reply.changes]


def remove_bucket(rig: DirectoryRig, name: str, who: str = "ann") -> None:
    rig.buckets.delete(Person(who, who == ADMIN, ""), name)


def waiting(rig: DirectoryRig, answers: list[ChangesReply], **fields: object) -> threading.Thread:
    """A caller that waits for a change, already on hold."""
    thread = threading.Thread(target=lambda: answers.append(read(rig, None, wait_seconds=30.0, **fields)))
    before = rig.changes._on_hold._count
    thread.start()
    wait_until(lambda: rig.changes._on_hold._count > before, what="a caller on hold")
    return thread


def test_each_kind_of_change_is_told_once_and_in_order(rig: DirectoryRig) -> None:
    """Write, linked write, copy, move with both its sides, restore, delete and removal each stand in the journal."""
    first = rig.write("a", b"one")
    linked = rig.begin("linked", digest=first.digest, size=3)
    assert linked.version is not None
    rig.copy("a", "b")
    rig.copy("b", "c", move=True)
    rig.write("a", b"two")
    rig.copy("a", "a", source_version=first.version)
    rig.delete("a")
    rig.delete("a", version=first.version)
    reply = read(rig)
    assert told(reply) == [
        ("write", "a"),
        ("write", "linked"),
        ("copy", "b"),
        ("move", "c"),
        ("delete", "b"),
        ("write", "a"),
        ("restore", "a"),
        ("delete", "a"),
        ("remove", "a"),
    ]
    cursors = [change.cursor for change in reply.changes]
    assert cursors == sorted(set(cursors))
    assert reply.cursor == cursors[-1]
    assert read(rig, reply.cursor).changes == []


def test_a_change_has_the_facts_of_its_version_while_that_exists(rig: DirectoryRig) -> None:
    """Digest, size, author and lock number are the version's; a removed version's change has only its name."""
    lock = rig.lock("a")
    made = rig.write("a", b"one", lock_number=lock.number)
    marker = rig.delete("a", lock_number=lock.number)
    written, deleted = read(rig).changes
    assert written == Change(
        made.cursor, "write", "files", "a", made.version, made.created_at, chunk_digest(b"one"), 3, "ann", lock.number
    )
    assert (deleted.version, deleted.author, deleted.digest, deleted.size) == (marker.version, "ann", None, None)
    rig.delete("a", version=made.version, lock_number=lock.number)
    written, _, removed = read(rig).changes
    assert (written.version, written.digest, written.author) == (made.version, None, "")
    assert (removed.kind, removed.version) == ("remove", made.version)


def test_where_versions_are_not_kept_the_replaced_one_is_told_too(rig: DirectoryRig) -> None:
    """Every version that is gone for good has its removal in the journal, after what took its place."""
    rig.bucket("plain", versioning="off")
    first = rig.write("a", b"one", bucket="plain")
    rig.write("a", b"two", bucket="plain")
    rig.delete("a", bucket="plain")
    changes = read(rig).changes
    assert [change.kind for change in changes] == ["write", "write", "remove", "remove"]
    assert [change.version for change in changes[2:]] == [first.version, changes[1].version]


def test_a_version_put_back_is_told_with_what_it_replaces(rig: DirectoryRig) -> None:
    """What is found again after a restore stands in the journal at its new place, under its old name."""
    rig.bucket("plain", versioning="off")
    old = rig.write("a", b"one", bucket="plain")
    lost = old.version[:-1] + "9"
    found = msgspec.structs.replace(old, version=lost)

    def put_back(tx: Tx) -> bool:
        return Versions(rig.hooks).put_back(
            tx, buckets.require(tx, "plain"), found, "found-again-0001", Moment(2.0, 2.0)
        )

    assert rig.store.write(put_back)
    changes = read(rig).changes[1:]
    assert [(change.kind, change.version) for change in changes] == [("recover", lost), ("remove", old.version)]
    assert changes[0].author == "ann"
    assert rig.lookup("a", bucket="plain").version == lost


def test_a_repeated_request_is_one_change(rig: DirectoryRig) -> None:
    """A write, copy or delete whose answer was lost and that is asked again does not stand in the journal twice."""
    begun = rig.begin("a")
    rig.commit(begun, b"one")
    rig.commit(begun, b"one")
    for _ in range(2):
        rig.copy("a", "b", write_id="the-same-copy-id")
        rig.delete("a", write_id="the-same-delete-id")
    assert told(read(rig)) == [("write", "a"), ("copy", "b"), ("delete", "a")]


def test_a_refused_change_is_not_told(rig: DirectoryRig) -> None:
    """What did not become true is not in the journal."""
    rig.lock("a", who="ben")
    with pytest.raises(Exception, match="ben"):
        rig.write("a")
    assert read(rig).changes == []


def test_the_journal_goes_on_over_a_restart(tmp_path: Path) -> None:
    """A cursor from before a restart of the directory continues where it was, with nothing lost or repeated."""
    rig = DirectoryRig(tmp_path)
    rig.write("a")
    before = read(rig)
    rig.write("b")
    rig.close()
    rig = DirectoryRig(tmp_path)
    rig.write("c", write_id="after-the-restart")
    assert told(read(rig, before.cursor)) == [("write", "b"), ("write", "c")]
    rig.close()


def test_without_a_cursor_it_begins_now(rig: DirectoryRig) -> None:
    """No cursor means: from here on, and the answer says where here is."""
    made = rig.write("a")
    reply = read(rig, None)
    assert (reply.changes, reply.cursor) == ([], made.cursor)


def test_other_peoples_private_changes_are_not_told(rig: DirectoryRig) -> None:
    """Of a private bucket its owner and administrators see changes, nobody else sees even that there are some."""
    rig.bucket("diary")
    rig.write("secret", bucket="diary")
    shown = rig.write("open")
    assert told(read(rig, who="ben")) == [("write", "open")]
    assert read(rig, who="ben", limit=1).cursor == shown.cursor
    assert told(read(rig)) == told(read(rig, who=ADMIN)) == [("write", "secret"), ("write", "open")]
    with pytest.raises(Forbidden):
        read(rig, who="ben", bucket="diary")
    with pytest.raises(NotFound):
        read(rig, bucket="nowhere")
    with pytest.raises(NotLoggedIn):
        read(rig, who="")


def test_a_bucket_that_becomes_shared_shows_its_changes(rig: DirectoryRig) -> None:
    """What a person may see is decided when it is read."""
    rig.bucket("club")
    rig.write("rules", bucket="club")
    assert read(rig, who="ben").changes == []
    rig.buckets.change(Person("ann", False, ""), ChangeBucketRequest("ann", "club", shared=True))
    assert told(read(rig, who="ben")) == told(read(rig, who="ben", bucket="club")) == [("write", "rules")]


def test_a_deleted_buckets_changes_stay_its_own_peoples(rig: DirectoryRig) -> None:
    """Its owner still reads how it ended; who takes the name later learns nothing of what was in it."""
    rig.bucket("diary", versioning="off")
    rig.write("secret", bucket="diary")
    rig.delete("secret", bucket="diary")
    remove_bucket(rig, "diary")
    rig.bucket("diary", who="ben")
    rig.write("mine", who="ben", bucket="diary")
    assert told(read(rig)) == [("write", "secret"), ("remove", "secret")]
    assert told(read(rig, who="ben")) == told(read(rig, who="ben", bucket="diary")) == [("write", "mine")]


def test_rows_of_others_are_walked_over_in_bounded_steps(rig: DirectoryRig) -> None:
    """One answer walks over a bounded part of the journal, may then be empty, and its cursor goes on behind it."""
    rig.bucket("diary")
    for number in range(30):
        rig.write(f"{number}", bucket="diary")
    last = rig.write("found")
    changes = Changes(rig.store, PeopleByName(), step_rows=2)
    cursor, answers, seen = 0, 0, []
    while cursor < last.cursor:
        reply = changes.read(ChangesRequest(credential="ben", cursor=cursor, wait_seconds=30.0))
        assert reply.cursor > cursor
        cursor, answers, seen = reply.cursor, answers + 1, seen + reply.changes
    assert ([change.path for change in seen], answers) == (["found"], 2)


def test_a_cursor_from_the_future_is_refused(rig: DirectoryRig) -> None:
    """After an older backup was restored a cursor may be unknown: silence would lose changes, so it is said."""
    made = rig.write("a")
    with pytest.raises(Conflict, match=f"the newest is {made.cursor}") as refused:
        read(rig, made.cursor + 1)
    assert refused.value.facts["cursor"] == made.cursor


def test_the_gap_that_a_restored_backup_leaves(rig: DirectoryRig) -> None:
    """Reading steps over it at once, every cursor given out is a change's, and one that was lost in it is refused."""
    before = rig.write("a")
    numbering = table("sqlite_sequence", column("name"), column("seq"))
    jump = Statement(update(numbering).where(numbering.c.name == "journal").values(seq=bindparam("to")))
    rig.store.write(lambda tx: tx.run(jump, to=1_000_000_000))
    with pytest.raises(Conflict):
        read(rig, before.cursor + 1)
    rig.bucket("diary")
    after = rig.write("b")
    assert after.cursor == 1_000_000_001
    first = read(rig)
    assert (told(first), first.cursor) == ([("write", "a")], before.cursor)
    second = read(rig, first.cursor)
    assert (told(second), second.cursor) == ([("write", "b")], after.cursor)
    with pytest.raises(Conflict, match="restored"):
        read(rig, before.cursor + 1)
    for number in range(3):
        rig.write(f"{number}", bucket="diary")
    small = Changes(rig.store, PeopleByName(), step_rows=1)
    seen = small.read(ChangesRequest(credential="ben", cursor=after.cursor))
    assert (seen.changes, seen.cursor) == ([], after.cursor + 3)


def test_who_waits_is_woken_by_the_commit(rig: DirectoryRig) -> None:
    """A long poll answers as soon as there is a change of its own, and a stranger's change does not end it."""
    rig.bucket("diary")
    answers: list[ChangesReply] = []
    thread = waiting(rig, answers, who="ben")
    rig.write("secret", bucket="diary")
    assert not answers
    made = rig.write("open")
    thread.join(60)
    assert [change.cursor for change in answers[0].changes] == [made.cursor]


def test_no_commit_falls_between_the_look_and_the_wait(rig: DirectoryRig) -> None:
    """Writers and a reader that always waits: every change comes, though some commit just as the wait begins."""
    count = 60
    writer = threading.Thread(target=lambda: [rig.write(f"{number}") for number in range(count)])
    cursor, seen = read(rig, None).cursor, []
    writer.start()
    until = time.monotonic() + 60
    while len(seen) < count and time.monotonic() < until:
        reply = read(rig, cursor, wait_seconds=20.0, limit=3)
        cursor, seen = reply.cursor, seen + [change.path for change in reply.changes]
    writer.join(60)
    assert seen == [f"{number}" for number in range(count)]


def test_a_wait_without_a_change_ends_in_time(rig: DirectoryRig) -> None:
    """The answer then is empty, and its cursor is as good as before."""
    made = rig.write("a")
    reply = read(rig, made.cursor, wait_seconds=0.01)
    assert (reply.changes, reply.cursor) == ([], made.cursor)


def test_a_wait_ends_with_the_credential(rig: DirectoryRig) -> None:
    """Whoever was disabled or logged out while they waited sees no change that came after it."""
    ended = threading.Event()

    class People(PeopleByName):
        def authenticate(self, credential: str) -> Person:
            if ended.is_set():
                raise NotLoggedIn("the account is disabled")
            return super().authenticate(credential)

    rig.changes = Changes(rig.store, People())
    outcomes: list[object] = []

    def follow() -> None:
        try:
            outcomes.append(told(read(rig, None, wait_seconds=30.0)))
        except NotLoggedIn as refusal:
            outcomes.append(str(refusal))

    thread = threading.Thread(target=follow)
    thread.start()
    wait_until(lambda: rig.changes._on_hold._count > 0, what="a caller on hold")
    ended.set()
    rig.write("secret")
    thread.join(60)
    assert outcomes == ["the account is disabled"]


def test_those_who_wait_are_bounded_and_answered_at_a_stop(rig: DirectoryRig) -> None:
    """Beyond the bound a watcher is refused at once; a directory told to stop answers all of them."""
    rig.changes = Changes(rig.store, PeopleByName(), max_blocked=1)
    answers: list[ChangesReply] = []
    thread = waiting(rig, answers)
    with pytest.raises(Overloaded, match="callers are waiting"):
        read(rig, None, wait_seconds=30.0)
    rig.changes.close()
    thread.join(60)
    assert [reply.changes for reply in answers] == [[]]
    assert read(rig, None, wait_seconds=30.0).changes == []
