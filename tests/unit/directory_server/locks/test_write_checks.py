"""What a lock means for writes: its number, and fences that outlive it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lockstep_store.wire.errors import Locked, LockStale, NotFound
from lockstep_store.wire.messages.locks import LockInfo
from tests.unit.directory_server.locks.lock_rig import LockRig
from tests.waiting import wait_until


def test_a_write_to_an_unlocked_path_needs_no_number(rig: LockRig) -> None:
    """Without a lock there is nothing to show."""
    assert rig.check("alice", "a", None) == 0


def test_a_write_without_the_number_is_refused_to_everyone(rig: LockRig) -> None:
    """Also the holder must show the number: another program of the same person may be writing."""
    rig.take("alice", "a")
    for who in ("bob", "alice"):
        with pytest.raises(Locked) as refusal:
            rig.check(who, "a", None)
        assert refusal.value.facts["holder"] == "alice"


def test_wrong_numbers_are_stale(rig: LockRig) -> None:
    """An old number, an invented one, one of another path, and another person's are refused alike."""
    old = rig.take("alice", "a")
    rig.locks.release("alice", old.id)
    lock, other = rig.take("alice", "a"), rig.take("alice", "b")
    for who, number in (("alice", old.number), ("alice", 999), ("alice", other.number), ("bob", lock.number)):
        with pytest.raises(LockStale):
            rig.check(who, "a", number)
    assert rig.check("alice", "a", lock.number) == lock.number


def test_release_in_a_transaction_wakes_the_next_after_the_commit(rig: LockRig) -> None:
    """A commit that releases its lock hands the path on, and a waiting caller hears of it."""
    lock = rig.take("alice", "a")
    with ThreadPoolExecutor() as pool:
        waiting: Future[LockInfo] = pool.submit(rig.take, "bob", "a", wait_seconds=30)
        wait_until(lambda: rig.line() == [("bob", 1)])
        rig.store.write(lambda tx: rig.locks.release_in(tx, "alice", lock.number))
        assert waiting.result(25).account == "bob"


def test_a_transaction_that_fails_releases_nothing(rig: LockRig) -> None:
    """When the commit is refused, the lock is still held and the waiter still waits."""
    lock = rig.take("alice", "a")
    rig.queue("bob", "a")

    def refused(tx: object) -> None:
        rig.locks.release_in(tx, "alice", lock.number)  # type: ignore[arg-type]
        raise NotFound("the commit is refused")

    with pytest.raises(NotFound):
        rig.store.write(refused)
    assert (rig.holders(), rig.line()) == ({"a": "alice"}, [("bob", 1)])
    rig.locks.release("alice", lock.id)
    assert rig.holders() == {"a": "bob"}


def test_fences_outlive_their_locks(rig: LockRig) -> None:
    """A path remembers the highest lock number it was ever locked under."""
    assert rig.fence("a") == 0
    lock = rig.take("alice", "a")
    rig.locks.release("alice", lock.id)
    rig.restart()
    assert rig.fence("a") == lock.number
