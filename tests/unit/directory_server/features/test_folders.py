"""Moves and deletions of whole folders: as one change, or as a job that names what it could not do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from directory_server.features.folders.calls import KEPT_SECONDS, MAX_RUNNING, Folders
from directory_server.features.folders.job import FolderJob
from directory_server.metadata.statements import people, quotas, redo, s3_settings
from directory_server.metadata.store import Tx
from directory_server.people.accounts import insert_account
from directory_server.people.passwords import NOBODY
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadName,
    BadRequest,
    Conflict,
    Forbidden,
    Locked,
    NotFound,
    Overloaded,
    QuotaExceeded,
    TooFewHolders,
)
from lockstep_store.wire.messages.folders import (
    DeleteFolderRequest,
    FolderChange,
    FolderChangeRequest,
    FolderChangesRequest,
    MoveFolderRequest,
    SteerFolderChangeRequest,
)
from lockstep_store.wire.messages.journal import ChangesRequest
from lockstep_store.wire.messages.s3 import TAGS
from tests.fakes.directory_rig import ADMIN, DirectoryRig, PeopleByName

AT_ONCE = 4
BATCH = 2


class FolderRig:
    """A directory whose folders of more than four files take a job, which handles two of them in a step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rig = DirectoryRig(folder)
        for name in ("ann", "ben"):
            self.rig.store.write(partial(insert_account, name=name, password=NOBODY, admin=False, at=0.0))
        self._build()

    def _build(self) -> None:
        rig = self.rig
        self.folders = Folders(rig.store, rig.clock, PeopleByName(), rig.namespace, at_once=AT_ONCE)
        self.job = FolderJob(rig.store, rig.clock, rig.namespace, batch=BATCH)

    def restart(self) -> None:
        """Close the store as a killed directory leaves it, and open it again."""
        self.rig.close()
        self.rig = DirectoryRig(self.folder)
        self._build()

    def fill(self, *paths: str, **fields: Any) -> None:
        for path in paths:
            self.rig.write(path, path.encode(), **fields)

    def move(self, path: str, to_path: str, who: str = "ann", **fields: Any) -> FolderChange:
        fields.setdefault("write_id", self.rig.write_id())
        bucket = fields.pop("bucket", "files")
        wanted = {"bucket": bucket, "to_bucket": bucket, **fields}
        return self.folders.move(MoveFolderRequest(credential=who, path=path, to_path=to_path, **wanted))

    def delete(self, path: str, who: str = "ann", bucket: str = "files", **fields: Any) -> FolderChange:
        fields.setdefault("write_id", self.rig.write_id())
        return self.folders.delete(DeleteFolderRequest(credential=who, bucket=bucket, path=path, **fields))

    def get(self, id: str, who: str = "ann", **fields: Any) -> FolderChange:
        return self.folders.get(FolderChangeRequest(who, id, **fields))

    def steer(self, id: str, action: Any, who: str = "ann") -> FolderChange:
        return self.folders.steer(SteerFolderChangeRequest(who, id, action))

    def run(self, id: str) -> FolderChange:
        """Take the job's steps until the change has ended."""
        for _ in range(100):
            change = self.get(id, ADMIN)
            if change.state != "running":
                return change
            self.job.step()
        raise AssertionError("the change does not end")

    def paths(self, bucket: str = "files") -> list[str]:
        return [file.path for file in self.rig.list(ADMIN, bucket).files]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FolderRig]:
    here = FolderRig(tmp_path)
    yield here
    here.rig.close()


# ---------------------------------------------------------------- small folders


def test_a_small_folder_moves_as_one_change(here: FolderRig) -> None:
    """Every file, the folder's own object and deeper folders; neighbours with similar names stay."""
    here.fill("a/", "a/1", "a/b/2", "a-c", "a.d", "a", "a0")
    change = here.move("a/", "z/y/")
    assert (change.state, change.total, change.done, change.failed) == ("done", 3, 3, 0)
    assert here.paths() == ["a", "a-c", "a.d", "a0", "z/y/", "z/y/1", "z/y/b/2"]
    assert here.rig.lookup("z/y/1").cursor <= change.cursor
    assert [version.delete_marker for version in here.rig.versions("a/1")] == [True, False]


def test_a_small_move_is_one_transaction(here: FolderRig) -> None:
    """A reader of the journal gets all of it at once, and the next change comes after."""
    here.fill("a/1", "a/2", "a/3")
    before = here.rig.changes.read(ChangesRequest("ann")).cursor
    records = _records(here)
    here.move("a/", "b/")
    assert _records(here) == records + 1
    kinds = [
        (change.kind, change.path) for change in here.rig.changes.read(ChangesRequest("ann", cursor=before)).changes
    ]
    assert kinds == [pair for n in "123" for pair in (("move", f"b/{n}"), ("delete", f"a/{n}"))]


def test_a_small_folder_is_deleted_as_one_change(here: FolderRig) -> None:
    """Where the bucket keeps versions, every file gets a delete marker; elsewhere it is gone."""
    here.fill("a/", "a/1", "b")
    assert here.delete("a/").done == 2
    assert here.paths() == ["b"]
    assert here.rig.versions("a/1")[0].delete_marker
    plain = here.rig.bucket("plain")
    here.fill("a/1", bucket=plain)
    here.delete("a/", bucket=plain)
    with pytest.raises(NotFound):
        here.rig.versions("a/1", bucket=plain)


def test_a_locked_file_refuses_the_whole(here: FolderRig) -> None:
    """The refusal names the holder and the file; nothing has moved."""
    here.fill("a/1", "a/2")
    here.rig.lock("a/2", who="ben")
    for attempt in (lambda: here.move("a/", "b/"), lambda: here.delete("a/")):
        with pytest.raises(Locked, match=r"'a/2'.*locked by ben") as refusal:
            attempt()
        assert (refusal.value.facts["holder"], refusal.value.facts["file"]) == ("ben", "a/2")
    assert here.paths() == ["a/1", "a/2"]
    here.rig.lock("b/1", who="ben")
    with pytest.raises(Locked):
        here.move("a/", "b/")


def test_a_taken_target_is_named(here: FolderRig) -> None:
    """A folder there, a file of that name, or, when merging, a file of the same name."""
    here.fill("a/1", "a/2", "b/2", "b/3", "c")
    with pytest.raises(AlreadyExists, match="folder files/b/ already"):
        here.move("a/", "b/")
    with pytest.raises(AlreadyExists, match="there is a file files/c"):
        here.move("a/", "c/")
    with pytest.raises(AlreadyExists, match="files/b/2 exists already"):
        here.move("a/", "b/", merge=True)
    assert here.paths() == ["a/1", "a/2", "b/2", "b/3", "c"]


def test_merging_keeps_the_targets_own_object(here: FolderRig) -> None:
    """Both folders were created; afterwards there is one, with the files of both."""
    here.fill("a/", "a/1", "b/", "b/2")
    own = here.rig.lookup("b/").version
    here.move("a/", "b/", merge=True)
    assert here.paths() == ["b/", "b/1", "b/2"]
    assert here.rig.lookup("b/").version == own


def test_a_folder_moves_to_another_bucket(here: FolderRig) -> None:
    """With everything in it, and back."""
    other = here.rig.bucket("other")
    here.fill("a/", "a/1")
    here.move("a/", "b/", to_bucket=other)
    assert (here.paths(), here.paths(other)) == ([], ["b/", "b/1"])
    here.move("b/", "b/", bucket=other, to_bucket="files")
    assert here.paths() == ["b/", "b/1"]


def test_tags_move_along(here: FolderRig) -> None:
    """With the file, as S3's copies do; a retention does not."""
    here.fill("a/1", settings={TAGS: '{"TagSet":[]}'})
    here.move("a/", "b/")
    with here.rig.store.read() as reader:
        assert s3_settings.version_values(reader, here.rig.lookup("b/1").version) == {TAGS: '{"TagSet":[]}'}


def test_what_is_no_folder_is_refused(here: FolderRig) -> None:
    """A missing folder, one into itself or onto itself. The slash at the end may be left out."""
    here.fill("a/1")
    with pytest.raises(NotFound, match="there is no folder 'x/'"):
        here.delete("x/")
    with pytest.raises(BadRequest, match="inside it"):
        here.move("a", "a/b")
    with pytest.raises(BadRequest, match="the same folder"):
        here.move("a/", "a/")


def test_a_name_that_becomes_too_long_refuses_the_whole(here: FolderRig) -> None:
    """A path has at most 1024 bytes, and the refusal names the file."""
    here.fill("a/1", f"a/{'x' * 1000}")
    with pytest.raises(BadName, match="nothing was moved, because of 'a/xxx"):
        here.move("a/", f"{'y' * 100}/")
    assert len(here.paths()) == 2


def test_a_repeated_call_does_nothing_again(here: FolderRig) -> None:
    """The reply of the first is given again; for another folder the id is refused."""
    here.fill("a/1")
    first = here.move("a/", "b/", write_id="the-id-of-this-move")
    here.fill("a/2")
    assert here.move("a/", "b/", write_id="the-id-of-this-move") == first
    assert here.paths() == ["a/2", "b/1"]
    with pytest.raises(BadRequest, match="used for another change"):
        here.delete("a/", write_id="the-id-of-this-move")


def test_a_stranger_may_neither_move_nor_delete(here: FolderRig) -> None:
    """In a bucket that is not shared, of which not even the folder's existence is told."""
    private = here.rig.bucket("private")
    here.fill("a/1", bucket=private)
    for path in ("a/", "missing/"):
        with pytest.raises(Forbidden):
            here.delete(path, "ben", bucket=private)
        with pytest.raises(Forbidden):
            here.move(path, "b/", "ben", bucket=private, to_bucket="files")
    here.fill("b/1")
    with pytest.raises(Forbidden):
        here.move("b/", "b/", "ben", to_bucket=private)


def test_too_few_copies_refuse_a_move(here: FolderRig) -> None:
    """As of a single file: a move never makes a version with fewer copies than promised."""
    here.fill("a/1")
    here.rig.namespace._copies = 3
    with pytest.raises(TooFewHolders, match="'a/1'"):
        here.move("a/", "b/")


# ---------------------------------------------------------------- large folders


def test_a_large_folder_moves_as_a_job(here: FolderRig) -> None:
    """It answers at once with what there is to do, and goes on batch by batch until everything is done."""
    here.fill(*(f"a/{n}" for n in range(7)))
    begun = here.move("a/", "b/")
    assert (begun.state, begun.total, begun.done) == ("running", 7, 0)
    here.job.step()
    assert (here.get(begun.id).done, len(here.paths())) == (2, 7)
    ended = here.run(begun.id)
    assert (ended.state, ended.done, ended.failed) == ("done", 7, 0)
    assert here.paths() == [f"b/{n}" for n in range(7)]
    assert here.job.step() > 1


def test_a_large_folder_is_deleted_as_a_job(here: FolderRig) -> None:
    """File by file, by the same rules."""
    here.fill(*(f"a/{n}" for n in range(6)), "b")
    assert here.run(here.delete("a/").id).done == 6
    assert here.paths() == ["b"]


def test_a_job_names_what_it_could_not_do_and_tries_it_again(here: FolderRig) -> None:
    """A lock and a taken name leave two files where they are; once both are gone, a retry moves them."""
    here.fill(*(f"a/{n}" for n in range(7)))
    lock = here.rig.lock("a/1", who="ben")
    begun = here.move("a/", "b/")
    here.fill("b/5")
    ended = here.run(begun.id)
    assert (ended.state, ended.done, ended.failed) == ("incomplete", 5, 2)
    assert [(one.path, one.problem.code) for one in ended.problems] == [("a/1", "locked"), ("a/5", "already_exists")]
    assert ended.problems[0].problem.facts["holder"] == "ben"
    page = here.get(begun.id, limit=1)
    assert ([one.path for one in page.problems], page.next_after) == (["a/1"], "a/1")
    assert [one.path for one in here.get(begun.id, after="a/1", limit=1).problems] == ["a/5"]
    here.rig.locks.release("ben", lock.id)
    here.rig.delete("b/5")
    assert here.steer(begun.id, "retry").state == "running"
    done = here.run(begun.id)
    assert (done.state, done.done, done.failed, done.problems) == ("done", 7, 0, [])
    assert here.paths() == [f"b/{n}" for n in range(7)]
    with pytest.raises(Conflict, match="nothing to retry"):
        here.steer(begun.id, "retry")


def test_a_job_continues_after_a_restart(here: FolderRig) -> None:
    """From the last batch that was committed, and does no file twice."""
    here.fill(*(f"a/{n}" for n in range(7)))
    begun = here.move("a/", "b/")
    here.job.step()
    here.restart()
    assert here.run(begun.id).done == 7
    assert here.paths() == [f"b/{n}" for n in range(7)]
    assert all(len(here.rig.versions(f"b/{n}")) == 1 for n in range(7))


def test_a_job_can_be_stopped(here: FolderRig) -> None:
    """What is done stays done, and a retry goes on."""
    here.fill(*(f"a/{n}" for n in range(7)))
    begun = here.move("a/", "b/")
    here.job.step()
    assert here.steer(begun.id, "stop").reason == "ann stopped it"
    here.job.step()
    assert here.get(begun.id).done == 2
    here.steer(begun.id, "retry")
    assert here.run(begun.id).done == 7


def test_a_job_ends_with_its_persons_account(here: FolderRig) -> None:
    """A disabled account moves nothing more; nor does one that may only read by then."""
    here.fill(*(f"a/{n}" for n in range(7)))
    begun = here.move("a/", "b/")
    _set_state(here, "ann", disabled=True)
    ended = here.run(begun.id)
    assert (ended.state, ended.done) == ("stopped", 0)
    assert "disabled" in ended.reason
    _set_state(here, "ann", read_only=True)
    here.steer(begun.id, "retry")
    ended = here.run(begun.id)
    assert (ended.state, ended.failed, ended.problems[0].problem.code) == ("incomplete", 7, "forbidden")


def test_jobs_take_turns(here: FolderRig) -> None:
    """A small change does not wait for the end of a large one."""
    here.fill(*(f"a/{n}" for n in range(20)), *(f"c/{n}" for n in range(5)))
    large, small = here.move("a/", "b/"), here.move("c/", "d/")
    here.run(small.id)
    assert here.get(large.id).state == "running"


def test_a_hopeless_job_does_not_begin(here: FolderRig) -> None:
    """Without the right to the first file, without a log-in, and beyond what may run at a time."""
    private = here.rig.bucket("private")
    here.fill(*(f"a/{n}" for n in range(5)), bucket=private)
    with pytest.raises(Forbidden):
        here.delete("a/", "ben", bucket=private)
    for number in range(MAX_RUNNING + 1):
        here.fill(*(f"{number}/{n}" for n in range(5)))
    for number in range(MAX_RUNNING):
        here.delete(f"{number}/")
    with pytest.raises(Overloaded):
        here.delete(f"{MAX_RUNNING}/")
    assert here.delete(f"{MAX_RUNNING}/", "ben").state == "running"


def test_changes_are_their_persons(here: FolderRig) -> None:
    """Listed newest first; others get a 404, administrators see them; a week after its end a change is forgotten."""
    here.fill("a/1")
    first = here.move("a/", "b/")
    here.rig.time.advance(1)
    second = here.move("b/", "a/")
    listed = here.folders.all(FolderChangesRequest("ann")).changes
    assert [change.id for change in listed] == [second.id, first.id]
    assert here.folders.all(FolderChangesRequest("ben")).changes == []
    with pytest.raises(NotFound):
        here.get(first.id, "ben")
    assert here.get(first.id, ADMIN).id == first.id
    here.rig.time.advance(KEPT_SECONDS + 1)
    here.rig.store.write(here.folders.remove_ended)
    assert here.folders.all(FolderChangesRequest("ann")).changes == []


def test_a_job_keeps_quotas(here: FolderRig) -> None:
    """A file that would pass the target bucket's quota stays, and says so."""
    other = here.rig.bucket("other")
    here.fill(*(f"a/{n}" for n in range(6)))
    _allow(here, other, files=2)
    begun = here.move("a/", "a/", to_bucket=other)
    ended = here.run(begun.id)
    assert (ended.state, ended.done, ended.failed) == ("incomplete", 2, 4)
    assert {one.problem.code for one in ended.problems} == {QuotaExceeded.code}
    assert len(here.paths(other)) == 2


# ---------------------------------------------------------------- helpers


def _records(here: FolderRig) -> int:
    with here.rig.store.read() as reader:
        newest = redo.newest(reader)
    assert newest is not None
    return newest.sequence


def _set_state(here: FolderRig, name: str, *, disabled: bool = False, read_only: bool = False) -> None:
    here.rig.store.write(
        lambda tx: people.set_state(tx, name, administrator=False, read_only=read_only, disabled=disabled)
    )


def _allow(here: FolderRig, bucket: str, **allowed: int) -> None:
    for resource, value in allowed.items():
        here.rig.store.write(partial(_set_quota, bucket=bucket, resource=resource, value=value))


def _set_quota(tx: Tx, bucket: str, resource: str, value: int) -> None:
    quotas.set_quota(tx, quotas.BUCKET, bucket, resource, value)
