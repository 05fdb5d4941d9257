"""The trash: deleted files are listed, restored as they were, and removed for good by hand or after some days."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from directory_server.features import trash as trash_feature
from directory_server.features.trash import AT_ONCE, DAY_SECONDS, Trash, days_of
from directory_server.metadata.statements import buckets, s3_settings
from directory_server.metadata.statements import trash as rows
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Locked, NotFound
from lockstep_store.wire.messages.buckets import ChangeBucketRequest
from lockstep_store.wire.messages.s3 import RETENTION, TAGS
from lockstep_store.wire.messages.trash import (
    TRASH_SETTING,
    EmptyTrashReply,
    EmptyTrashRequest,
    RestoreTrashRequest,
    TrashEntry,
    TrashRequest,
    TrashTotals,
)
from tests.fakes.directory_rig import ADMIN, DirectoryRig, PeopleByName


class TrashRig:
    """A directory with a trash, and the bucket `files`, which keeps versions."""

    def __init__(self, folder: Path) -> None:
        self.rig = DirectoryRig(folder)
        rig = self.rig
        self.trash = Trash(rig.store, rig.clock, PeopleByName(), rig.locks, rig.namespace, rig.hooks)

    def list(self, who: str = "ann", bucket: str = "files", **fields: Any) -> list[TrashEntry]:
        return self.trash.page(TrashRequest(who, bucket, **fields)).entries

    def totals(self) -> TrashTotals:
        return self.trash.totals(TrashRequest("ann", "files"))

    def restore(self, entry: TrashEntry, who: str = "ann", bucket: str = "files", **fields: Any) -> str:
        request = RestoreTrashRequest(who, self.rig.write_id(), bucket, entry.path, entry.marker, **fields)
        return self.trash.restore(request).version

    def empty(self, who: str = "ann", bucket: str = "files", **fields: Any) -> EmptyTrashReply:
        return self.trash.empty(EmptyTrashRequest(who, bucket, **fields))

    def keep(self, days: int, bucket: str = "files") -> None:
        value = f'{{"days": {days}}}'
        self.rig.store.write(lambda tx: s3_settings.put_bucket_value(tx, bucket, TRASH_SETTING, value))

    def run_round(self) -> None:
        while self.trash.step() <= trash_feature.PAUSE_SECONDS:
            pass


@pytest.fixture
def here(tmp_path: Path) -> Iterator[TrashRig]:
    here = TrashRig(tmp_path)
    yield here
    here.rig.close()


def test_deleted_files_are_listed_the_last_first(here: TrashRig) -> None:
    """With who deleted them, and the bytes of all their versions; files that exist are not."""
    here.rig.write("a", b"1")
    here.rig.write("a", b"three")
    here.rig.write("b", b"22")
    here.rig.write("kept")
    here.rig.delete("a", "ben")
    here.rig.delete("b")
    listed = here.list()
    assert [(one.path, one.size, one.versions, one.bytes) for one in listed] == [("b", 2, 1, 2), ("a", 5, 2, 6)]
    assert (listed[1].deleted_by, listed[1].ends_at) == ("ben", None)
    assert here.totals() == TrashTotals(files=2, versions=3, bytes=8)
    assert [one.path for one in here.list(prefix="a")] == ["a"]


def test_the_list_comes_in_pages(here: TrashRig) -> None:
    """Each entry once; markers that deleted nothing are left out."""
    for name in "abcde":
        here.rig.write(name)
        here.rig.delete(name)
    here.rig.delete("never-there", mark_missing=True)
    found, after = [], ""
    while True:
        page = here.trash.page(TrashRequest("ann", "files", after=after, limit=2))
        found += [one.path for one in page.entries]
        if page.next_after is None:
            break
        after = page.next_after
    assert found == list("edcba")


def test_a_restored_file_is_as_it_was(here: TrashRig) -> None:
    """The same version with its tags, author and history; it is not in the trash any more."""
    here.rig.write("a", b"1")
    last = here.rig.write("a", b"2", who="ben", settings={TAGS: '{"TagSet":[]}'})
    here.rig.delete("a")
    assert here.restore(here.list()[0]) == last.version
    found = here.rig.lookup("a")
    assert (found.version, found.author) == (last.version, "ben")
    assert len(here.rig.versions("a")) == 2
    assert here.list() == []


def test_a_taken_name_needs_another(here: TrashRig) -> None:
    """The refusal says so; under another name the deleted content is there, with its tags."""
    here.rig.write("a", b"old", settings={TAGS: '{"TagSet":[]}'})
    here.rig.delete("a")
    here.rig.write("a", b"new")
    here.rig.write("taken")
    entry = here.list()[0]
    with pytest.raises(AlreadyExists, match="under another name"):
        here.restore(entry)
    with pytest.raises(AlreadyExists, match="choose another name"):
        here.restore(entry, to_path="taken")
    version = here.restore(entry, to_path="a-old")
    assert here.rig.lookup("a-old").size == 3
    with here.rig.store.read() as reader:
        assert s3_settings.version_values(reader, version) == {TAGS: '{"TagSet":[]}'}
    assert here.rig.lookup("a").size == 3
    assert [one.path for one in here.list()] == ["a"]


def test_a_file_deleted_twice_is_there_twice(here: TrashRig) -> None:
    """Each entry has the versions since the deletion before, and one is removed without the other."""
    here.rig.write("a", b"1")
    here.rig.delete("a")
    here.rig.write("a", b"22")
    here.rig.delete("a")
    newer, older = here.list()
    assert ([newer.bytes, older.bytes], here.totals().files) == ([2, 1], 2)
    assert here.empty(path="a", marker=older.marker) == EmptyTrashReply(1, 1)
    assert [one.marker for one in here.list()] == [newer.marker]
    here.restore(newer)
    assert here.rig.lookup("a").size == 2


def test_locks_and_rights_count(here: TrashRig) -> None:
    """As for a delete of versions: a locked name, a stranger, a read-only neighbour."""
    here.rig.write("a")
    here.rig.delete("a")
    here.rig.lock("a", who="ben")
    entry = here.list()[0]
    with pytest.raises(Locked):
        here.restore(entry)
    with pytest.raises(Locked):
        here.empty(path="a", marker=entry.marker)
    assert here.empty().kept[0].problem.code == "locked"
    private = here.rig.bucket("private", versioning="enabled")
    here.rig.write("p", bucket=private)
    here.rig.delete("p", bucket=private)
    mine = here.list(bucket=private)[0]
    for attempt in (
        lambda: here.list("ben", private),
        lambda: here.restore(mine, "ben", private),
        lambda: here.empty("ben", private),
        lambda: here.empty("ben", private, path="p", marker=mine.marker),
    ):
        with pytest.raises(Forbidden):
            attempt()


def test_emptying_removes_versions_for_good(here: TrashRig) -> None:
    """A few files in each call; the content's references go, and files that exist keep theirs."""
    digest = here.rig.write("only", b"unique").digest
    here.rig.delete("only")
    here.rig.write("kept", b"kept")
    for number in range(AT_ONCE):
        here.rig.write(f"b/{number}")
        here.rig.delete(f"b/{number}")
    first = here.empty()
    assert (first.removed, first.next_after is not None) == (AT_ONCE, True)
    last = here.empty(after=first.next_after)
    assert (last.removed, last.bytes, last.next_after) == (1, 6, None)
    assert here.list() == []
    assert here.rig.references(digest) == 0
    assert [file.path for file in here.rig.list().files] == ["kept"]
    with pytest.raises(NotFound):
        here.rig.versions("only")


def test_what_is_not_in_the_trash_is_refused(here: TrashRig) -> None:
    """A version that is no marker, half a name, a marker that is gone."""
    version = here.rig.write("a").version
    with pytest.raises(NotFound, match="not in the trash"):
        here.empty(path="a", marker=version)
    with pytest.raises(BadRequest, match="path and its marker"):
        here.empty(path="a")
    here.rig.delete("a")
    entry = here.list()[0]
    here.restore(entry)
    with pytest.raises(NotFound, match="not in the trash"):
        here.restore(entry)


def test_days_end_what_is_in_the_trash(here: TrashRig) -> None:
    """Only after that many days, only in buckets that have them, and not while something holds it."""
    here.keep(2)
    other = here.rig.bucket("other", versioning="enabled")
    for bucket in ("files", other):
        here.rig.write("a", bucket=bucket)
        here.rig.delete("a", bucket=bucket)
    assert here.list()[0].ends_at == here.list()[0].deleted_at + 2 * DAY_SECONDS
    here.rig.time.advance(2 * DAY_SECONDS - 1)
    here.run_round()
    assert len(here.list()) == 1
    here.rig.time.advance(1)
    lock = here.rig.lock("a", who="ben")
    here.run_round()
    assert len(here.list()) == 1
    here.rig.locks.release("ben", lock.id)
    here.run_round()
    assert (here.list(), len(here.list(bucket=other))) == ([], 1)


def test_many_due_files_take_several_steps(here: TrashRig) -> None:
    """Every one of them is removed in one round, also behind one that a retention holds."""
    here.keep(1)
    held = here.rig.bucket("held", versioning="enabled", object_lock=True)
    here.keep(1, held)
    until = f'{{"Mode":"COMPLIANCE","RetainUntilDate":{here.rig.time.wall() + 100 * DAY_SECONDS}}}'
    here.rig.write("a", bucket=held, settings={RETENTION: until})
    here.rig.delete("a", bucket=held)
    for number in range(AT_ONCE + 3):
        here.rig.write(f"b/{number}")
        here.rig.delete(f"b/{number}")
    here.rig.time.advance(DAY_SECONDS + 1)
    here.run_round()
    assert (here.list(), [one.path for one in here.list(bucket=held)]) == ([], ["a"])
    assert here.empty(bucket=held).kept[0].problem.code == "forbidden"


def test_a_file_with_many_versions_goes_in_parts(here: TrashRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oldest versions first, so that it can be restored until the last part."""
    monkeypatch.setattr(rows, "MAX_VERSIONS", 2)
    for content in (b"1", b"2", b"3"):
        here.rig.write("a", content)
    here.rig.delete("a")
    entry = here.list()[0]
    assert here.empty(path="a", marker=entry.marker) == EmptyTrashReply(0, 2)
    assert here.list()[0].version == entry.version
    assert here.empty(path="a", marker=entry.marker) == EmptyTrashReply(1, 1)
    assert here.list() == []


def test_a_trash_needs_versions(here: TrashRig) -> None:
    """The setting is refused without them, and they cannot be suspended while it is there."""
    plain = here.rig.bucket("plain")
    with here.rig.store.read() as reader:
        found = buckets.require(reader, plain)
        person = PeopleByName().authenticate("ann")
        with pytest.raises(Conflict, match="turn versioning on"):
            here.rig.hooks.check_bucket_setting(reader, found, person, TRASH_SETTING, '{"days": 3}', 0.0)
        for bad in ('{"days": 0}', '{"days": 99999}', "{}", "3", '{"days": 3, "hours": 1}'):
            with pytest.raises(BadRequest, match="1 to 36500 days"):
                here.rig.hooks.check_bucket_setting(reader, found, person, TRASH_SETTING, bad, 0.0)
    here.keep(3)
    admin = PeopleByName().authenticate(ADMIN)
    with pytest.raises(Conflict, match="turn the trash off"):
        here.rig.buckets.change(admin, ChangeBucketRequest(ADMIN, "files", versioning="suspended"))
    with here.rig.store.read() as reader:
        assert days_of(reader, buckets.require(reader, "files")) == 3
