"""Locks, fences, preconditions and bounds of writes, from begin to commit."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from directory_server.people.person import Person
from lockstep_store.wire.digest import EMPTY_DIGEST, chunk_digest
from lockstep_store.wire.errors import (
    BadName,
    Forbidden,
    Locked,
    LockStale,
    NotFound,
    NotLoggedIn,
    PreconditionFailed,
    TicketRefused,
    TooLarge,
)
from lockstep_store.wire.messages.files import Preconditions
from tests.fakes.directory_rig import (
    ADMIN,
    DirectoryRig,
    only_if_absent,
    only_if_digest,
)


def test_a_locked_path_refuses_others(rig: DirectoryRig) -> None:
    """A write without the number of the path's lock is refused at begin, and says who holds it and until when."""
    lock = rig.lock("notes.txt", who="bob", client="laptop", seconds=60)
    for who in ("ann", "bob"):
        with pytest.raises(Locked) as refused:
            rig.begin("notes.txt", who)
        facts = refused.value.facts
        assert (facts["holder"], facts["client"], facts["lock_number"]) == ("bob", "laptop", lock.number)
        assert 0 < facts["seconds_left"] <= 60
        assert facts["until_at"] > rig.time.wall()


def test_the_holder_writes_with_its_number(rig: DirectoryRig) -> None:
    """The version carries the lock's number, and with release_lock the lock ends with the commit."""
    lock = rig.lock("notes.txt")
    made = rig.write("notes.txt", b"one", lock_number=lock.number)
    assert made.lock_number == lock.number
    rig.write("notes.txt", b"two", lock_number=lock.number, release_lock=True)
    assert rig.locks.list().locks == []
    with pytest.raises(LockStale):
        rig.begin("notes.txt", lock_number=lock.number)


@pytest.mark.parametrize("number", [1, 99, 2**70])
def test_invented_and_foreign_numbers_are_refused(rig: DirectoryRig, number: int) -> None:
    """A number that is somebody else's lock, or nobody's, is LockStale."""
    assert rig.lock("notes.txt", who="bob").number == 1
    with pytest.raises(LockStale):
        rig.begin("notes.txt", lock_number=number)
    with pytest.raises(LockStale):
        rig.begin("free.txt", lock_number=number)


def test_a_lock_taken_meanwhile_refuses_the_commit(rig: DirectoryRig) -> None:
    """An unlocked write that began before somebody locked the path is refused while the lock is held, and after."""
    begun = rig.begin("notes.txt")
    lock = rig.lock("notes.txt", who="bob")
    with pytest.raises(Locked):
        rig.commit(begun, b"hello")
    rig.locks.release("bob", lock.id)
    with pytest.raises(TicketRefused, match="was locked after this write began"):
        rig.commit(begun, b"hello")
    rig.write("notes.txt", b"begun anew")


def test_a_lease_that_ended_during_the_write_refuses_it(rig: DirectoryRig) -> None:
    """A holder whose lease ran out between begin and commit cannot write, whether or not someone else took over."""
    lock = rig.lock("notes.txt", seconds=30)
    begun = rig.begin("notes.txt", lock_number=lock.number)
    rig.time.advance(31)
    with pytest.raises(LockStale):
        rig.commit(begun, b"late")
    with pytest.raises(NotFound):
        rig.lookup("notes.txt")


def test_a_broken_holder_is_refused_by_number(rig: DirectoryRig) -> None:
    """After an administrator broke the lock, the old holder's write in flight is refused."""
    lock = rig.lock("notes.txt")
    begun = rig.begin("notes.txt", lock_number=lock.number)
    rig.locks.break_lock(lock.id, Person(ADMIN, True, ""))
    with pytest.raises(LockStale):
        rig.commit(begun, b"late")


def test_preconditions_are_decided_by_the_current_version(rig: DirectoryRig) -> None:
    """If-Match and If-None-Match are refused at begin already, and with the facts."""
    with pytest.raises(PreconditionFailed):
        rig.begin("notes.txt", preconditions=only_if_digest(b"one"))
    made = rig.write("notes.txt", b"one", preconditions=only_if_absent())
    with pytest.raises(PreconditionFailed) as refused:
        rig.begin("notes.txt", preconditions=only_if_absent())
    assert refused.value.facts == {"digest": str(chunk_digest(b"one")), "version": made.version}
    rig.write("notes.txt", b"two", preconditions=only_if_digest(b"one"))
    with pytest.raises(PreconditionFailed):
        rig.begin("notes.txt", preconditions=Preconditions(if_version=made.version))
    rig.write("notes.txt", b"three", preconditions=Preconditions(if_match=["*"], if_none_match=[str(EMPTY_DIGEST)]))


def test_a_condition_that_no_longer_holds_at_the_commit(rig: DirectoryRig) -> None:
    """What was true at begin and is not at commit refuses the write."""
    first = rig.begin("notes.txt", preconditions=only_if_absent())
    second = rig.begin("notes.txt", preconditions=only_if_absent())
    rig.commit(second, b"second")
    with pytest.raises(PreconditionFailed):
        rig.commit(first, b"first")
    assert rig.lookup("notes.txt").digest == chunk_digest(b"second")


@pytest.mark.parametrize("linked", [False, True])
def test_one_of_many_racing_creators_wins(rig: DirectoryRig, seed: int, linked: bool) -> None:
    """Of 12 threads that write If-None-Match: *, exactly one succeeds; the others hear PreconditionFailed."""
    randomness = random.Random(seed)
    if linked:
        for number in range(12):
            rig.write(f"source-{number}", f"{number}".encode())
    order = list(range(12))
    randomness.shuffle(order)
    outcomes: list[Any] = []

    def race(number: int) -> None:
        content = f"{number}".encode()
        try:
            known = {"digest": chunk_digest(content)} if linked else {}
            begun = rig.begin("prize", f"racer-{number}", preconditions=only_if_absent(), **known)
            outcomes.append(begun.version or rig.commit(begun, content).version)
        except PreconditionFailed as refused:
            outcomes.append(refused)

    threads = [threading.Thread(target=race, args=(number,)) for number in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [outcome for outcome in outcomes if not isinstance(outcome, PreconditionFailed)]
    assert len(won) == 1
    assert len(outcomes) == 12
    assert rig.lookup("prize").version == won[0].version


def test_names_people_and_bounds_are_checked_at_begin(rig: DirectoryRig) -> None:
    """Bad names, nobody's credential, private buckets and oversized metadata are refused before any byte."""
    rig.bucket("private", who="bob")
    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (BadName, {"path": "etc\npasswd"}),
        (BadName, {"path": "x" * 1025}),
        (NotLoggedIn, {"path": "a", "who": ""}),
        (NotFound, {"path": "a", "bucket": "missing"}),
        (Forbidden, {"path": "a", "bucket": "private"}),
        (TooLarge, {"path": "a", "metadata": {"k": "v" * 9000}}),
        (TooLarge, {"path": "a", "size": 1 << 60}),
    ]
    for error, fields in cases:
        with pytest.raises(error):
            rig.begin(**fields)
    rig.begin("a", "bob", bucket="private")
    rig.begin("a", ADMIN, bucket="private")


def test_a_bucket_gone_since_begin_refuses_the_commit(rig: DirectoryRig) -> None:
    """Who may write where is decided again by the commit."""
    rig.bucket("mine", who="bob")
    begun = rig.begin("a", "bob", bucket="mine")
    rig.buckets.delete(rig.namespace._people.authenticate("bob"), "mine")
    with pytest.raises(NotFound):
        rig.commit(begun, b"late")
