"""The lock manager on a real store and a clock that the test moves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lockstep_store.wire.errors import BadRequest, Forbidden, Locked, LockStale, NotFound
from tests.unit.directory_server.locks.lock_rig import ADMIN, LockRig

pytestmark = pytest.mark.usefixtures("every_engine")


def test_a_free_path_is_granted_at_once(rig: LockRig) -> None:
    """The lock names its holder, its lease and its number."""
    lock = rig.take("alice", "a", client="laptop", lease_seconds=45)
    assert (lock.account, lock.client, lock.lease_seconds, lock.seconds_left) == ("alice", "laptop", 45, 45)
    assert lock.until_at == rig.machine.wall() + 45


def test_a_held_path_is_refused_with_its_holder_and_expiry(rig: LockRig) -> None:
    """Locked says who, on which client, which number, until when, how long, and the place in line."""
    held = rig.take("bob", "a", client="desk")
    rig.machine.advance(20)
    with pytest.raises(Locked) as refusal:
        rig.ask("alice", "a")
    assert refusal.value.facts == {
        "holder": "bob", "client": "desk", "lock_number": held.number,
        "until_at": rig.machine.wall() + 40, "seconds_left": 40, "place": 1,
    }  # fmt: skip
    assert "bob (desk)" in str(refusal.value)
    assert rig.line() == []


def test_numbers_only_rise_even_over_restarts(rig: LockRig) -> None:
    """Every grant has a higher number than all before it, also after the locks are gone and the directory restarts."""
    numbers = []
    for _ in range(3):
        lock = rig.take("alice", "a")
        numbers.append(lock.number)
        rig.locks.release("alice", lock.id)
        rig.restart()
    assert numbers == sorted(set(numbers))


def test_several_paths_are_all_or_nothing(rig: LockRig) -> None:
    """When one of the paths is held, none is taken; when all are free, one lock covers them."""
    held = rig.take("bob", "b")
    with pytest.raises(Locked):
        rig.ask("alice", "a", "b", "c")
    assert rig.holders() == {"b": "bob"}
    rig.locks.release("bob", held.id)
    lock = rig.take("alice", "c", "a", "b", "a")
    assert [path.path for path in lock.paths] == ["a", "b", "c"]
    assert [rig.fence(path) for path in "abc"] == [lock.number] * 3


def test_the_same_request_never_takes_two_locks(rig: LockRig) -> None:
    """A repeated acquire answers with the lock it already has."""
    id = rig.new_id()
    assert rig.take("alice", "a", request_id=id).number == rig.take("alice", "a", request_id=id).number
    assert len(rig.locks.list().locks) == 1


def test_a_late_repeat_takes_no_second_lock(rig: LockRig) -> None:
    """A repeat that arrives after its lock was released is refused, instead of locking for nobody."""
    id = rig.new_id()
    rig.locks.release("alice", rig.take("alice", "a", request_id=id).id)
    with pytest.raises(LockStale):
        rig.ask("alice", "a", request_id=id)
    assert rig.holders() == {}


def test_a_request_id_is_for_one_set_of_paths(rig: LockRig) -> None:
    """Reusing an id for other paths is the caller's mistake and says so."""
    id = rig.new_id()
    rig.take("alice", "a", request_id=id)
    with pytest.raises(BadRequest):
        rig.ask("alice", "b", request_id=id)


def test_whoever_may_not_use_the_bucket_cannot_lock_in_it(tmp_path: Path) -> None:
    """`may_lock` is asked inside the transaction, and its refusal leaves nothing behind."""

    def refuse(tx: object, bucket: str, path: str, account: str) -> None:
        raise Forbidden(f"{account} may not use {bucket}")

    rig = LockRig(tmp_path, may_lock=refuse)
    with pytest.raises(Forbidden):
        rig.ask("alice", "a")
    assert rig.holders() == {}
    rig.store.close()


def test_a_lease_that_ends_frees_the_path(rig: LockRig) -> None:
    """After the lease the next in line has the lock, without anyone asking: the job's step is enough."""
    rig.take("alice", "a", lease_seconds=10)
    rig.queue("bob", "a")
    assert 0 < rig.locks.step() <= 1.0
    rig.machine.advance(10)
    rig.locks.step()
    assert rig.holders() == {"a": "bob"}


def test_a_directory_that_may_not_grant_waits_for_it_between_steps(rig: LockRig) -> None:
    """A lease that is over stays while nothing may be granted, and the job does not ask again without a pause."""
    rig.take("alice", "a", lease_seconds=10)
    rig.queue("bob", "a")
    rig.locks.may_grant = lambda: False
    rig.machine.advance(10)
    assert rig.locks.step() == 1.0
    assert rig.holders() == {"a": "alice"}
    rig.locks.may_grant = None
    rig.locks.step()
    assert rig.holders() == {"a": "bob"}


def test_stepping_the_wall_clock_ends_nothing(rig: LockRig) -> None:
    """Leases are judged by directory time: an hour forwards or back on the wall changes nothing."""
    lock = rig.take("alice", "a", lease_seconds=60)
    rig.machine.step_wall(3600)
    assert rig.check("alice", "a", lock.number) == lock.number
    rig.machine.step_wall(-7200)
    rig.machine.advance(61)
    assert rig.holders() == {}


def test_renewing_counts_the_lease_anew(rig: LockRig) -> None:
    """A renewed lock lasts its lease from the renewal on, or the new lease that was asked for."""
    lock = rig.take("alice", "a", lease_seconds=60)
    rig.machine.advance(50)
    assert rig.locks.renew("alice", lock.id).seconds_left == 60
    assert rig.locks.renew("alice", lock.id, 120).seconds_left == 120
    rig.machine.advance(110)
    assert rig.holders() == {"a": "alice"}


def test_an_ended_lease_is_not_renewed(rig: LockRig) -> None:
    """A renewal that comes too late is refused, even when nobody else wanted the path."""
    lock = rig.take("alice", "a", lease_seconds=60)
    rig.machine.advance(60)
    with pytest.raises(LockStale):
        rig.locks.renew("alice", lock.id)


def test_a_restart_gives_the_full_lease_again(rig: LockRig) -> None:
    """A surviving lock is neither shortened by a restart nor lost, and its number stays."""
    lock = rig.take("alice", "a", lease_seconds=60)
    waiter = rig.queue("bob", "a")
    rig.machine.advance(50)
    rig.queue("bob", "a", request_id=waiter)
    rig.restart()
    rig.machine.advance(29)
    assert rig.line() == [("bob", 1)]
    rig.machine.advance(30)
    assert rig.check("alice", "a", lock.number) == lock.number
    rig.machine.advance(2)
    with pytest.raises(LockStale):
        rig.check("alice", "a", lock.number)


def test_a_restart_never_revives_a_lock_that_was_seen_to_end(rig: LockRig) -> None:
    """Once a refusal has said that a lease is over, the lock stays gone after a restart."""
    lock = rig.take("alice", "a", lease_seconds=10)
    rig.machine.advance(11)
    with pytest.raises(LockStale):
        rig.check("alice", "a", lock.number)
    rig.restart()
    assert rig.holders() == {}


def test_only_the_owner_releases_and_renews(rig: LockRig) -> None:
    """Someone else's attempt is refused and changes nothing."""
    lock = rig.take("alice", "a")
    with pytest.raises(Forbidden):
        rig.locks.release("bob", lock.id)
    with pytest.raises(Forbidden):
        rig.locks.renew("bob", lock.id)
    assert rig.holders() == {"a": "alice"}


def test_release_is_safe_to_repeat_and_knows_what_never_was(rig: LockRig) -> None:
    """A second release of the same lock is quiet; one of an unknown lock says so."""
    lock = rig.take("alice", "a")
    rig.locks.release("alice", lock.id)
    rig.locks.release("alice", lock.id)
    with pytest.raises(NotFound):
        rig.locks.release("alice", "lock-999")
    with pytest.raises(NotFound):
        rig.locks.release("alice", "no such request id")


def test_release_by_number_and_by_request_id(rig: LockRig) -> None:
    """A lock can be named by its number or by the request that took it."""
    rig.locks.release("alice", str(rig.take("alice", "a").number))
    id = rig.new_id()
    rig.take("alice", "a", request_id=id)
    rig.locks.release("alice", id)
    assert rig.holders() == {}


def test_breaking_hands_on_and_refuses_the_broken_holder(rig: LockRig) -> None:
    """After a break the next in line has the path, and the broken holder's write is refused by number."""
    lock = rig.take("alice", "a")
    rig.queue("bob", "a")
    rig.locks.break_lock(lock.id, ADMIN)
    assert rig.holders() == {"a": "bob"}
    with pytest.raises(LockStale) as refusal:
        rig.check("alice", "a", lock.number)
    assert refusal.value.facts["holder"] == "bob"
    with pytest.raises(NotFound):
        rig.locks.break_lock(lock.id, ADMIN)


def test_many_threads_on_one_path_exclude_each_other(rig: LockRig) -> None:
    """Eight threads take turns on one path: nobody is ever inside together with another, everybody gets in."""
    inside, worst, turns = [0], [0], [0]
    gate = threading.Lock()

    def work(who: str) -> None:
        for _ in range(10):
            lock = rig.take(who, "a", wait_seconds=30)
            with gate:
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                turns[0] += 1
            with gate:
                inside[0] -= 1
            rig.locks.release(who, lock.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [f"person {n}" for n in range(8)]))
    assert (worst[0], turns[0]) == (1, 80)


def test_an_ended_lock_is_its_own_accounts_alone(rig: LockRig) -> None:
    """To others its number is that of no lock: they do not learn that there was one."""
    lock = rig.take("alice", "a")
    rig.locks.release("alice", str(lock.number))
    rig.locks.release("alice", str(lock.number))
    with pytest.raises(NotFound):
        rig.locks.release("bob", str(lock.number))
