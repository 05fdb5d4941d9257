"""Lookups, versions, deletes, copies, moves and restores; and buckets."""

from __future__ import annotations

import pytest

from directory_server.people.person import Person
from lockstep_store.wire.digest import chunk_digest
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadName,
    BadRequest,
    BucketNotEmpty,
    Conflict,
    Forbidden,
    Locked,
    LockStale,
    NotFound,
    PreconditionFailed,
    TooFewHolders,
)
from lockstep_store.wire.messages.buckets import ChangeBucketRequest, CreateBucketRequest
from lockstep_store.wire.messages.files import LookupItem, VersionsRequest
from tests.fakes.directory_rig import ADMIN, DirectoryRig, only_if_absent, only_if_digest

pytestmark = pytest.mark.usefixtures("every_engine")


def person(name: str) -> Person:
    return Person(name, name == ADMIN, "")


def change(rig: DirectoryRig, bucket: str, who: str = "ann", **fields: object) -> str:
    request = ChangeBucketRequest(credential=who, bucket=bucket, **fields)  # type: ignore[arg-type]
    return rig.buckets.change(person(who), request).versioning


# ---------------------------------------------------------------- reading


def test_a_batch_of_lookups_is_one_moment(rig: DirectoryRig) -> None:
    """Each item has its own outcome, in order, and the reply says up to where in the journal it looked."""
    made = rig.write("a")
    items = [LookupItem("ann", "files", "a"), LookupItem("ann", "files", "b"), LookupItem("", "files", "a")]
    reply = rig.lookups.lookup(items)
    assert reply.results[0].unwrap().version == made.version
    assert [outcome.problem.code for outcome in reply.results[1:] if outcome.problem] == ["not_found", "not_logged_in"]
    assert reply.cursor == made.cursor


def test_holders_come_in_reading_order_with_the_dead_last(rig: DirectoryRig) -> None:
    """The replica before the master; a holder that is down is named last and as down."""
    begun = rig.begin("a")
    rig.commit(begun, b"x")
    first, last = rig.lookup("a").holders
    assert begun.master is not None
    assert last.id == begun.master.id
    rig.time.advance(30)
    for id in {"1", "2", "3"} - {first.id}:
        rig.server_up(id)
    assert [(holder.id, holder.up) for holder in rig.lookup("a").holders] == [(last.id, True), (first.id, False)]


def test_versions_newest_first(rig: DirectoryRig) -> None:
    """All versions of a path with the newest first; only that one is current; old ones can be looked up."""
    made = [rig.write("a", content).version for content in (b"1", b"2", b"3")]
    found = rig.versions("a")
    assert [version.version for version in found] == made[::-1]
    assert [version.current for version in found] == [True, False, False]
    old = rig.lookup("a", version=made[0])
    assert (old.digest, old.current) == (chunk_digest(b"1"), False)
    assert old.holders
    assert rig.lookup("a", version=made[2]).current


def test_versions_can_be_paged(rig: DirectoryRig) -> None:
    """Page by page, over one path and over a prefix, every version comes exactly once and in order."""
    for path in ("b/1", "a/2", "a/1", "a/2", "a/1", "a/1"):
        rig.write(path, path.encode())
    rig.delete("a/2")
    for where in ({"path": "a/1"}, {"prefix": "a/"}, {"prefix": ""}):
        everything = _all_versions(rig, 1000, **where)
        for limit in (1, 2, 3):
            assert _all_versions(rig, limit, **where) == everything
    assert [path for path, *_ in _all_versions(rig, 2, prefix="a/")] == ["a/1"] * 3 + ["a/2"] * 3
    assert [flag for *_, flag in _all_versions(rig, 2, prefix="a/")] == [True, False, False] * 2


def test_versions_of_what_never_was(rig: DirectoryRig) -> None:
    """A path that never existed is NotFound; a prefix without files is an empty page."""
    with pytest.raises(NotFound):
        rig.versions("a")
    assert _all_versions(rig, 10, prefix="a") == []


def _all_versions(rig: DirectoryRig, limit: int, **where: str) -> list[tuple[str, str, bool]]:
    found, after = [], None
    while True:
        request = VersionsRequest(credential="ann", bucket="files", limit=limit, after=after, **where)
        reply = rig.lookups.versions(request)
        found += [(version.path, version.version, version.current) for version in reply.versions]
        after = reply.next_after
        if after is None:
            return found


# ---------------------------------------------------------------- deleting


def test_delete_leaves_a_marker_where_versions_are_kept(rig: DirectoryRig) -> None:
    """The path is gone from lookups and listings, its history stays, and the refusal says who deleted it."""
    made = rig.write("a", b"x")
    reply = rig.delete("a", who="bob")
    assert (reply.existed, reply.delete_marker) == (True, True)
    with pytest.raises(NotFound, match="deleted by bob") as refused:
        rig.lookup("a")
    assert refused.value.facts["delete_marker"] is True
    assert rig.list().files == []
    marker, before = rig.versions("a")
    assert (marker.version, marker.delete_marker, marker.current) == (reply.version, True, True)
    assert (before.version, before.current) == (made.version, False)
    assert rig.lookup("a", version=made.version).digest == chunk_digest(b"x")
    assert rig.references(chunk_digest(b"x")) == 1


def test_a_repeated_delete_answers_the_same(rig: DirectoryRig) -> None:
    """The same write id never deletes twice, even when somebody wrote the path anew in between."""
    rig.write("a", b"x")
    write_id = rig.write_id()
    first = rig.delete("a", write_id=write_id)
    rig.write("a", b"new")
    assert rig.delete("a", write_id=write_id) == first
    assert rig.lookup("a").digest == chunk_digest(b"new")
    with pytest.raises(BadRequest):
        rig.begin("a", write_id=write_id)


def test_deleting_what_is_not_there(rig: DirectoryRig) -> None:
    """It is answered as such and leaves no marker, unless one is asked for."""
    assert not rig.delete("a").existed
    with pytest.raises(NotFound):
        rig.versions("a")
    reply = rig.delete("a", mark_missing=True)
    assert (reply.existed, reply.delete_marker) == (False, True)
    assert len(rig.versions("a")) == 1


def test_deleting_one_version_repoints_the_path(rig: DirectoryRig) -> None:
    """Without its newest version the path shows the one before; without its marker, what was deleted is back."""
    one, two = rig.write("a", b"1"), rig.write("a", b"2")
    rig.delete("a", version=two.version)
    assert rig.lookup("a").version == one.version
    assert rig.references(chunk_digest(b"2")) == 0
    marker = rig.delete("a").version
    rig.delete("a", version=marker)
    assert rig.lookup("a").version == one.version
    reply = rig.delete("a", version=one.version)
    assert (reply.existed, reply.version, reply.delete_marker) == (True, one.version, False)
    with pytest.raises(NotFound):
        rig.lookup("a")
    assert rig.references(chunk_digest(b"1")) == 0


def test_deleting_an_old_version_leaves_the_current_one(rig: DirectoryRig) -> None:
    """Only that version goes."""
    one, two = rig.write("a", b"1"), rig.write("a", b"2")
    rig.delete("a", version=one.version)
    assert rig.lookup("a").version == two.version
    assert [version.version for version in rig.versions("a")] == [two.version]


def test_a_version_of_another_path_is_not_deleted(rig: DirectoryRig) -> None:
    """A version id only works with the path and bucket it belongs to."""
    made = rig.write("a", b"1")
    assert not rig.delete("b", version=made.version).existed
    with pytest.raises(NotFound):
        rig.lookup("b", version=made.version)
    assert rig.lookup("a").version == made.version


def test_without_versioning_a_delete_removes(rig: DirectoryRig) -> None:
    """Nothing stays of the path but its place in the journal."""
    rig.bucket("plain", versioning="off")
    made = rig.write("a", b"x", bucket="plain")
    reply = rig.delete("a", bucket="plain")
    assert (reply.version, reply.delete_marker) == (made.version, False)
    with pytest.raises(NotFound):
        rig.versions("a", bucket="plain")
    assert rig.references(chunk_digest(b"x")) == 0


def test_delete_obeys_locks_and_preconditions(rig: DirectoryRig) -> None:
    """A locked path needs its number; a condition that does not hold refuses; release ends the lock."""
    rig.write("a", b"x")
    lock = rig.lock("a", who="bob")
    with pytest.raises(Locked):
        rig.delete("a")
    with pytest.raises(LockStale):
        rig.delete("a", lock_number=lock.number)
    with pytest.raises(PreconditionFailed):
        rig.delete("a", "bob", lock_number=lock.number, preconditions=only_if_digest(b"y"))
    rig.delete("a", "bob", lock_number=lock.number, release_lock=True, preconditions=only_if_digest(b"x"))
    assert rig.locks.list().locks == []


# ---------------------------------------------------------------- suspended versioning


def test_without_versioning_one_version_takes_the_others_place(rig: DirectoryRig) -> None:
    """In a bucket that never kept versions there is one null version a path."""
    rig.bucket("plain", versioning="off")
    rig.write("a", b"1", bucket="plain")
    made = rig.write("a", b"2", bucket="plain")
    (only,) = rig.versions("a", bucket="plain")
    assert (only.version, only.null_version) == (made.version, True)
    assert rig.lookup("a", bucket="plain", version="null").digest == chunk_digest(b"2")


def test_suspending_replaces_only_the_null_version(rig: DirectoryRig) -> None:
    """Versions kept before stay; writes and deletes while suspended take turns as the one null version."""
    rig.bucket("mine", versioning="off")
    rig.write("a", b"before", bucket="mine")
    assert change(rig, "mine", versioning="enabled") == "enabled"
    kept = rig.write("a", b"kept", bucket="mine")
    assert [v.null_version for v in rig.versions("a", bucket="mine")] == [False, True]
    assert change(rig, "mine", versioning="suspended") == "suspended"
    rig.write("a", b"null one", bucket="mine")
    rig.write("a", b"null two", bucket="mine")
    assert [v.digest for v in rig.versions("a", bucket="mine")] == [chunk_digest(b"null two"), kept.digest]
    assert rig.delete("a", bucket="mine").delete_marker
    marker, old = rig.versions("a", bucket="mine")
    assert (marker.delete_marker, marker.null_version, old.version) == (True, True, kept.version)
    rig.delete("a", bucket="mine", version="null")
    assert rig.lookup("a", bucket="mine").version == kept.version


def test_kept_versions_cannot_be_forgotten_by_a_setting(rig: DirectoryRig) -> None:
    """From enabled there is a way to suspended, none to off."""
    rig.bucket("mine", versioning="enabled")
    with pytest.raises(Conflict, match="suspended"):
        change(rig, "mine", versioning="off")


# ---------------------------------------------------------------- copying


def test_a_copy_shares_the_content(rig: DirectoryRig) -> None:
    """No bytes move; type and metadata come along unless others are given."""
    rig.write("a", b"x", content_type="text/plain", metadata={"k": "v"})
    made = rig.copy("a", "b", who="bob")
    assert (made.digest, made.content_type, made.metadata, made.author) == (
        chunk_digest(b"x"), "text/plain", {"k": "v"}, "bob",
    )  # fmt: skip
    assert made.created
    other = rig.copy("a", "c", content_type="image/png", metadata={})
    assert (other.content_type, other.metadata) == ("image/png", {})
    assert rig.references(chunk_digest(b"x")) == 3


def test_restoring_is_copying_an_old_version_onto_its_path(rig: DirectoryRig) -> None:
    """The old content becomes a new, current version; the history grows by one."""
    one = rig.write("a", b"1")
    rig.write("a", b"2")
    rig.delete("a")
    made = rig.copy("a", "a", source_version=one.version)
    assert rig.lookup("a").version == made.version
    assert rig.lookup("a").digest == one.digest
    assert len(rig.versions("a")) == 4


def test_a_move_is_one_change(rig: DirectoryRig) -> None:
    """The target has the content and the source is gone, in one transaction that repeats safely."""
    rig.write("a", b"x")
    write_id = rig.write_id()
    made = rig.copy("a", "b", move=True, write_id=write_id)
    assert rig.copy("a", "b", move=True, write_id=write_id).version == made.version
    assert [file.path for file in rig.list().files] == ["b"]
    assert len(rig.versions("b")) == 1
    assert rig.versions("a")[0].delete_marker


def test_a_move_needs_both_locks(rig: DirectoryRig) -> None:
    """A locked source or target refuses, and then nothing has moved; one lock of both paths is released with it."""
    rig.write("a", b"x")
    lock = rig.lock("a", "b")
    for numbers in ({}, {"lock_number": lock.number}, {"source_lock_number": lock.number}):
        with pytest.raises(Locked):
            rig.copy("a", "b", move=True, **numbers)
    assert [file.path for file in rig.list().files] == ["a"]
    rig.copy("a", "b", move=True, lock_number=lock.number, source_lock_number=lock.number, release_lock=True)
    assert [file.path for file in rig.list().files] == ["b"]
    assert rig.locks.list().locks == []


def test_copies_obey_preconditions_and_sources_must_exist(rig: DirectoryRig) -> None:
    """Conditions are about the target; a missing source or a delete marker has nothing to copy."""
    rig.write("a", b"x")
    rig.write("b", b"y")
    with pytest.raises(PreconditionFailed):
        rig.copy("a", "b", preconditions=only_if_absent())
    with pytest.raises(NotFound):
        rig.copy("missing", "c")
    marker = rig.delete("a").version
    with pytest.raises(NotFound):
        rig.copy("a", "c")
    with pytest.raises(NotFound, match="delete marker"):
        rig.copy("a", "c", source_version=marker)


def test_senseless_moves_are_refused(rig: DirectoryRig) -> None:
    """Onto itself, or of an old version, a move is a mistake; bad names are refused as everywhere."""
    made = rig.write("a", b"x")
    with pytest.raises(BadRequest):
        rig.copy("a", "a", move=True)
    with pytest.raises(BadRequest):
        rig.copy("a", "b", move=True, source_version=made.version)
    with pytest.raises(BadName):
        rig.copy("a", "b\nc")


def test_a_copy_of_under_copied_content_waits_for_repair(rig: DirectoryRig) -> None:
    """A copy would promise what is not there."""
    rig.write("a", b"x")
    rig.membership.remove(rig.lookup("a").holders[0].id)
    with pytest.raises(TooFewHolders):
        rig.copy("a", "b")


def test_copies_between_buckets_need_both(rig: DirectoryRig) -> None:
    """Reading the source and writing the target are both checked."""
    rig.bucket("bobs", who="bob")
    rig.write("a", b"x")
    with pytest.raises(Forbidden):
        rig.copy("a", "a", bucket="bobs")
    rig.copy("a", "a", who="bob", bucket="bobs")
    with pytest.raises(Forbidden):
        rig.copy("a", "b", source_bucket="bobs")


# ---------------------------------------------------------------- buckets


def test_who_may_use_which_bucket(rig: DirectoryRig) -> None:
    """Private is its owner's and the administrators'; shared is everybody's to use, not to change."""
    rig.bucket("private", who="bob")
    rig.bucket("common", who="bob", shared=True)
    rig.write("a", bucket="common", who="ann")
    with pytest.raises(Forbidden):
        rig.list(bucket="private")
    with pytest.raises(Forbidden):
        change(rig, "common", shared=False)
    assert [bucket.name for bucket in rig.buckets.all(person("ann")).buckets] == ["common", "files"]
    assert [bucket.name for bucket in rig.buckets.all(person(ADMIN)).buckets] == ["common", "files", "private"]
    assert change(rig, "common", who=ADMIN, shared=False) == "off"
    with pytest.raises(Forbidden):
        rig.lookup("a", bucket="common")


def test_bucket_names_are_taken_once(rig: DirectoryRig) -> None:
    """A taken or impossible name is refused, whoever owns it."""
    rig.bucket("mine", who="bob")
    for who in ("ann", "bob"):
        with pytest.raises(AlreadyExists):
            rig.bucket("mine", who=who)
    for name in ("api", "A", "ab", "1.2.3.4", "a..b"):
        with pytest.raises(BadName):
            rig.buckets.create(person("ann"), CreateBucketRequest("ann", name))


def test_only_an_empty_bucket_can_be_deleted(rig: DirectoryRig) -> None:
    """Old versions and delete markers are content too; the bucket `files` always stays."""
    rig.bucket("mine", versioning="enabled")
    made = rig.write("a", bucket="mine")
    marker = rig.delete("a", bucket="mine").version
    with pytest.raises(BucketNotEmpty):
        rig.buckets.delete(person("ann"), "mine")
    with pytest.raises(Forbidden):
        rig.buckets.delete(person("bob"), "mine")
    for version in (made.version, marker):
        rig.delete("a", bucket="mine", version=version)
    rig.buckets.delete(person("ann"), "mine")
    with pytest.raises(NotFound):
        rig.list(bucket="mine")
    with pytest.raises(Conflict):
        rig.buckets.delete(person(ADMIN), "files")
