"""Quotas: what is counted, what is refused with which figures, and what no race passes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from directory_server.maintenance.fsck import check_metadata
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements import quotas as rows
from directory_server.people.accounts import insert_account
from directory_server.people.audit import AuditJournal
from directory_server.people.passwords import NOBODY
from directory_server.people.person import Person
from directory_server.people.quotas import Quotas
from lockstep_store.wire.errors import BadRequest, Forbidden, LockstepError, NotFound, QuotaExceeded
from lockstep_store.wire.messages.buckets import ChangeBucketRequest, CreateBucketRequest
from lockstep_store.wire.messages.journal import ChangesRequest
from lockstep_store.wire.messages.locks import AcquireRequest, LockPath
from lockstep_store.wire.messages.quotas import BUILT_IN, QuotaScope
from tests.fakes.directory_rig import DirectoryRig
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("every_engine")

ADMIN = Person("admin", True, "session-admin")
BUCKET = "album"


class QuotaRig(DirectoryRig):
    """Ann owns `album`, which keeps no versions; Bob writes into the shared bucket `files`, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("ann", "bob"):
            self.store.write(lambda tx, name=name: insert_account(tx, name, NOBODY, admin=False, at=0.0))
        self.quotas = Quotas(self.store, AuditJournal(self.store, self.clock))
        self.quotas.watch(partial(setattr, self.writes, "demand_room"))
        self.make(BUCKET)

    def make(self, bucket: str, who: str = "ann", **more: Any) -> None:
        self.buckets.create(Person(who, False, f"session-{who}"), CreateBucketRequest(who, bucket, **more))

    def allow(self, scope: QuotaScope, name: str, **values: int | None) -> None:
        self.quotas.set(ADMIN, scope, name, values)

    def used(self, scope: QuotaScope, name: str) -> dict[str, int | None]:
        return {one.resource: one.used for one in self.quotas.show(ADMIN, scope, name).quotas}

    def problems(self) -> list[tuple[str, str]]:
        """What fsck says about quotas."""
        return [(one.kind, one.detail) for one in check_metadata(self.store)[1] if "quota" in one.kind]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[QuotaRig]:
    rig = QuotaRig(tmp_path)
    yield rig
    assert rig.problems() == []
    rig.close()


def test_a_bucket_takes_no_more_bytes_than_allowed(rig: QuotaRig) -> None:
    """The write that would pass the quota is refused with the figures, at its begin and at its commit."""
    rig.allow("bucket", BUCKET, bytes=10)
    rig.write("a", b"12345678", bucket=BUCKET)
    with pytest.raises(QuotaExceeded, match="may have 10 bytes, and this would make it 11") as refused:
        rig.write("b", b"123", bucket=BUCKET)
    facts = {"scope": "bucket", "name": BUCKET, "resource": "bytes", "wanted": 11, "allowed": 10}
    assert refused.value.facts == facts
    with pytest.raises(QuotaExceeded):
        rig.begin("b", bucket=BUCKET, size=3)
    rig.write("b", b"12", bucket=BUCKET)
    assert rig.used("bucket", BUCKET)["bytes"] == 10


def test_what_is_deleted_or_replaced_makes_room(rig: QuotaRig) -> None:
    """A bucket without versions holds what its files hold now."""
    rig.allow("bucket", BUCKET, bytes=10, files=2, versions=2)
    rig.write("a", b"12345678", bucket=BUCKET)
    rig.begin("a", bucket=BUCKET, size=10)
    rig.write("a", b"1234567890", bucket=BUCKET)
    rig.delete("a", bucket=BUCKET)
    assert rig.used("bucket", BUCKET) == {"bytes": 0, "files": 0, "versions": 0}
    rig.write("b", b"1234567890", bucket=BUCKET)


def test_versions_count_until_they_are_removed_and_deleting_is_always_possible(rig: QuotaRig) -> None:
    """In a bucket with versions, a deletion adds a marker, which nobody counts, and frees a file but no bytes."""
    rig.make("kept", versioning="enabled")
    rig.allow("bucket", "kept", bytes=100, versions=2, files=1)
    first = rig.write("a", b"one", bucket="kept")
    rig.write("a", b"two", bucket="kept")
    with pytest.raises(QuotaExceeded, match="may have 2 versions"):
        rig.write("a", b"three", bucket="kept")
    rig.delete("a", bucket="kept")
    assert rig.used("bucket", "kept") == {"bytes": 6, "files": 0, "versions": 2}
    rig.delete("a", bucket="kept", version=first.version)
    rig.write("b", b"four", bucket="kept")
    rig.allow("bucket", "kept", versions=None)
    with pytest.raises(QuotaExceeded, match="may have 1 files"):
        rig.write("c", b"five", bucket="kept")
    rig.delete("b", bucket="kept")
    rig.write("c", b"five", bucket="kept")


def test_an_account_is_charged_for_what_it_wrote_wherever_it_is(rig: QuotaRig) -> None:
    """In a shared bucket each author has its own count; who writes over another's file takes over its place."""
    rig.allow("account", "bob", bytes=10, files=2)
    rig.write("a", b"12345", who="bob")
    rig.write("b", b"1234567890 more than Bob may have", who="ann")
    with pytest.raises(QuotaExceeded, match="account 'bob' may have 10 bytes, and this would make it 13"):
        rig.write("b", b"12345678", who="bob")
    rig.write("a", b"by ann", who="ann")
    assert rig.used("account", "bob")["files"] == 0
    assert rig.used("account", "bob")["bytes"] == 5, "his version is still there"


def test_copies_count_and_a_rename_does_not(rig: QuotaRig) -> None:
    """A copy is a version of its own, also when no byte moves; a move ends with as much as it began with."""
    rig.allow("bucket", BUCKET, bytes=10, files=1, versions=1)
    rig.write("a", b"1234567890", bucket=BUCKET)
    with pytest.raises(QuotaExceeded):
        rig.copy("a", "b", source_bucket=BUCKET, bucket=BUCKET)
    rig.copy("a", "b", source_bucket=BUCKET, bucket=BUCKET, move=True)
    assert rig.used("bucket", BUCKET) == {"bytes": 10, "files": 1, "versions": 1}


def test_a_quota_counts_what_is_there_and_may_be_below_it(rig: QuotaRig) -> None:
    """Setting one removes nothing. More is refused, less is allowed, and removing the quota ends the counting."""
    rig.write("a", b"1234567890", bucket=BUCKET)
    rig.allow("bucket", BUCKET, bytes=5)
    assert rig.used("bucket", BUCKET)["bytes"] == 10
    with pytest.raises(QuotaExceeded, match="this would make it 11"):
        rig.write("b", b"1", bucket=BUCKET)
    rig.delete("a", bucket=BUCKET)
    rig.write("b", b"1", bucket=BUCKET)
    rig.allow("bucket", BUCKET, bytes=None)
    rig.write("a", b"1234567890", bucket=BUCKET)
    assert rig.used("bucket", BUCKET) == {"bytes": None, "files": None, "versions": None}


def test_no_race_passes_a_quota(rig: QuotaRig) -> None:
    """Of 48 writers at once, exactly as many succeed as the quota has room for."""
    rig.allow("bucket", BUCKET, files=17)
    begun = [rig.begin(f"f{number}", bucket=BUCKET) for number in range(48)]
    outcomes: list[bool] = []

    def commit(number: int) -> None:
        try:
            rig.commit(begun[number], b"%d" % number)
            outcomes.append(True)
        except QuotaExceeded:
            outcomes.append(False)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(48)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 31 + [True] * 17
    assert rig.used("bucket", BUCKET)["files"] == 17


def test_items_of_one_call_are_judged_by_themselves(rig: QuotaRig) -> None:
    """A master commits many writes in one call: those over the quota fail, the others do not."""
    rig.allow("bucket", BUCKET, bytes=4)
    begun = [rig.begin(name, bucket=BUCKET) for name in ("a", "b", "c")]
    made: list[LockstepError | str] = []
    for each, content in zip(begun, (b"123", b"12345", b"1"), strict=True):
        try:
            made.append(rig.commit(each, content).version.path)
        except QuotaExceeded as error:
            made.append(error)
    assert [one if isinstance(one, str) else "refused" for one in made] == ["a", "refused", "c"]


def test_what_is_counted_stays_right_whatever_happens(rig: QuotaRig) -> None:
    """After many random writes, copies, moves, deletions and changes of quotas, fsck finds every count right."""
    rig.make("kept", versioning="enabled")
    rig.allow("bucket", BUCKET, bytes=60, files=6)
    rig.allow("account", "ann", bytes=200, versions=30)
    dice = random.Random(7)
    refused = 0
    for step in range(400):
        bucket, who = dice.choice([BUCKET, "kept", "files"]), dice.choice(["ann", "admin"])
        path, other = dice.choice("abcdefgh"), dice.choice("abcdefgh")
        try:
            match dice.randrange(6):
                case 0 | 1 | 2:
                    rig.write(path, b"%d " % step * dice.randrange(1, 5), who=who, bucket=bucket)
                case 3:
                    rig.delete(path, who=who, bucket=bucket)
                case 4:
                    target = dice.choice([BUCKET, "kept"])
                    move = dice.random() < 0.5
                    rig.copy(path, other, who=who, source_bucket=bucket, bucket=target, move=move)
                case 5:
                    rig.allow("bucket", dice.choice([BUCKET, "kept"]), versions=dice.choice([None, 5, 50]))
        except QuotaExceeded:
            refused += 1
        except (NotFound, BadRequest):
            pass
        assert rig.problems() == []
    assert refused > 20


def test_fsck_finds_a_wrong_count(tmp_path: Path) -> None:
    """A count that is off, and a quota that nobody counts for, are named."""
    rig = QuotaRig(tmp_path)
    rig.allow("bucket", BUCKET, bytes=100, files=5)
    rig.store.write(lambda tx: tx.run(Statement(text("UPDATE usage SET used = 7 WHERE resource = 'bytes'"))))
    rig.store.write(lambda tx: tx.run(Statement(text("DELETE FROM usage WHERE resource = 'files'"))))
    assert rig.problems() == [
        ("use of a quota", "counts 7 bytes, but there are 0"),
        ("quota without its count", "files are not counted"),
    ]
    rig.close()


def test_what_a_restore_or_late_records_left_uncounted_is_counted_at_the_start(rig: QuotaRig) -> None:
    """Counts are no part of backups and records; quotas are."""
    rig.write("a", b"1234567890", bucket=BUCKET)
    rig.allow("bucket", BUCKET, bytes=12)
    rig.store.write(lambda tx: tx.run(Statement(text("DELETE FROM usage"))))
    Quotas(rig.store, AuditJournal(rig.store, rig.clock))
    assert rig.used("bucket", BUCKET)["bytes"] == 10
    with pytest.raises(QuotaExceeded):
        rig.write("b", b"123", bucket=BUCKET)


def test_what_was_acknowledged_before_is_never_refused(rig: QuotaRig) -> None:
    """Redo records and recovered versions come back although the quota is full, and count."""
    rig.allow("bucket", BUCKET, bytes=1)
    body = '["+","current","album","x","1","' + "00" * 32 + '",9,"","{}","ann","1.0",0,1,1]'
    rig.store.write(lambda tx: tx.apply_records([body]))
    rig.allow("bucket", BUCKET, files=1)
    assert rig.used("bucket", BUCKET)["files"] == 1
    rig.store.write(lambda tx: tx.apply_records([body.replace('"x"', '"y"')]))
    assert rig.used("bucket", BUCKET)["files"] == 2
    gone = ['["-","current","album","x"]', '["-","current","album","y"]']
    rig.store.write(lambda tx: tx.apply_records(gone))


def acquire(rig: QuotaRig, path: str, who: str = "ann", **more: Any) -> Any:
    request = AcquireRequest(who, [LockPath("files", path)], request_id=f"{who}-{path}", **more)
    return rig.locks.acquire(who, f"session-{who}", "", request)


def test_locks_and_places_in_line_are_bounded_for_each_account(rig: QuotaRig) -> None:
    """A repeat costs nothing, a released lock makes room, and another account has its own bound."""
    rig.allow("account", "ann", locks=2, waiters=1)
    first = acquire(rig, "a").lock
    acquire(rig, "b")
    acquire(rig, "b")
    with pytest.raises(QuotaExceeded, match="may have 2 locks, and this would make it 3"):
        acquire(rig, "c")
    acquire(rig, "c", who="bob")
    acquire(rig, "d", who="bob")
    acquire(rig, "c", queue=True)
    with pytest.raises(QuotaExceeded, match="may have 1 waiters"):
        acquire(rig, "d", queue=True)
    rig.locks.release("ann", str(first.number))
    acquire(rig, "e")


def test_without_a_quota_built_in_bounds_hold(rig: QuotaRig) -> None:
    """Nobody can hoard locks, places in line, keys or followers of the journal, and everybody sees the bounds."""
    shown = {one.resource: (one.allowed, one.built_in) for one in rig.quotas.show(ADMIN, "account", "ann").quotas}
    for (_, resource), bound in BUILT_IN.items():
        assert shown[resource] == (bound, True)
        with rig.store.read() as reader:
            assert rows.allowed(reader, "account", "ann", resource) == bound
    assert shown["bytes"] == (None, False)
    rig.allow("account", "ann", locks=7)
    shown = {one.resource: (one.allowed, one.built_in) for one in rig.quotas.show(ADMIN, "account", "ann").quotas}
    assert shown["locks"] == (7, False)


def test_an_account_cannot_take_all_places_that_follow_the_journal(rig: QuotaRig) -> None:
    """The ninth waiting caller of an account is refused, another account is not, and an ended wait makes room."""
    most = BUILT_IN["account", "followers"]

    def follow(who: str) -> threading.Thread:
        request = ChangesRequest(credential=who, wait_seconds=30.0)
        thread = threading.Thread(target=lambda: rig.changes.read(request))
        thread.start()
        return thread

    threads = [follow("ann") for _ in range(most)]
    wait_until(lambda: rig.changes._followers["ann"] == most, 60, "all followers of Ann wait")
    with pytest.raises(QuotaExceeded, match=f"may have {most} followers, and this would make it {most + 1}"):
        rig.changes.read(ChangesRequest(credential="ann", wait_seconds=30.0))
    threads.append(follow("bob"))
    wait_until(lambda: rig.changes._followers["bob"] == 1, 60, "Bob waits")
    rig.write("a", b"a change", who="admin")
    for thread in threads:
        thread.join()
    assert not rig.changes._followers


def test_buckets_are_bounded_by_a_quota(rig: QuotaRig) -> None:
    """The bucket that would be one too many is not made."""
    rig.allow("account", "ann", buckets=2)
    rig.make("second")
    with pytest.raises(QuotaExceeded, match="may have 2 buckets"):
        rig.make("third")
    rig.make("bobs", who="bob")


def test_everybody_sees_only_their_own(rig: QuotaRig) -> None:
    """An account's figures are for itself, a bucket's for its owner, and an unknown one is refused."""
    ann, bob = (Person(name, False, "") for name in ("ann", "bob"))
    assert rig.quotas.show(ann, "account", "ann").name == "ann"
    assert rig.quotas.show(ann, "bucket", BUCKET).name == BUCKET
    for scope, name in (("account", "ann"), ("bucket", BUCKET), ("bucket", "nowhere"), ("account", "nobody")):
        with pytest.raises(Forbidden):
            rig.quotas.show(bob, scope, name)  # type: ignore[arg-type]
    for scope, name in (("bucket", "nowhere"), ("account", "nobody")):
        with pytest.raises(NotFound):
            rig.quotas.set(ADMIN, scope, name, {"bytes": 1})  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="a quota of buckets has no locks"):
        rig.quotas.set(ADMIN, "bucket", BUCKET, {"locks": 1})


def test_quotas_end_with_their_bucket(rig: QuotaRig) -> None:
    """A later bucket of the same name begins without them."""
    rig.allow("bucket", BUCKET, bytes=1)
    assert [owner.name for owner in rig.quotas.all(ADMIN).owners] == [BUCKET]
    rig.buckets.delete(Person("ann", False, ""), BUCKET)
    rig.make(BUCKET)
    rig.write("a", b"as much as anybody wants", bucket=BUCKET)
    assert rig.quotas.all(ADMIN).owners == []


def test_versioning_that_is_turned_on_later_keeps_counts_right(rig: QuotaRig) -> None:
    """The version of before is counted once, and replaced or kept as the bucket now says."""
    rig.allow("bucket", BUCKET, bytes=8, versions=3)
    rig.write("a", b"1234", bucket=BUCKET)
    rig.buckets.change(Person("ann", False, ""), ChangeBucketRequest("ann", BUCKET, versioning="enabled"))
    rig.write("a", b"5678", bucket=BUCKET)
    rig.buckets.change(Person("ann", False, ""), ChangeBucketRequest("ann", BUCKET, versioning="suspended"))
    rig.write("a", b"9012", bucket=BUCKET)
    assert rig.used("bucket", BUCKET) == {"bytes": 8, "files": None, "versions": 2}
