"""The queue: fair, bounded, and left in time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lockstep_store.wire.errors import Locked
from tests.unit.directory_server.locks.lock_rig import LockRig
from tests.waiting import wait_until


def test_the_queue_is_fair(rig: LockRig) -> None:
    """Who came first is next, and the answer shows the place and the holder in the way."""
    first = rig.take("alice", "a")
    reply = rig.ask("bob", "a", queue=True)
    assert reply.waiter is not None
    assert (reply.waiter.place, reply.holders[0].account, reply.holders[0].waiters) == (1, "alice", 1)
    rig.queue("carol", "a")
    assert rig.line() == [("bob", 1), ("carol", 2)]
    rig.locks.release("alice", first.id)
    assert (rig.holders(), rig.line()) == ({"a": "bob"}, [("carol", 1)])


def test_a_newcomer_does_not_overtake(rig: LockRig) -> None:
    """A path that is free but promised to an earlier waiter is not given away."""
    rig.take("alice", "a")
    rig.queue("bob", "a", "b")
    with pytest.raises(Locked) as refusal:
        rig.ask("carol", "b")
    assert "goes next to bob" in str(refusal.value)
    assert refusal.value.facts["place"] == 2


def test_a_wait_for_other_paths_is_not_held_up(rig: LockRig) -> None:
    """Fairness is per path: an earlier waiter that wants something else is no obstacle."""
    rig.take("alice", "a")
    rig.queue("bob", "a")
    assert rig.take("carol", "c").number


def test_giving_up_a_place_lets_those_behind_go_on(rig: LockRig) -> None:
    """When the waiter in between leaves, the one that only waited for it is granted its lock."""
    rig.take("alice", "a")
    bob = rig.queue("bob", "a", "b")
    rig.queue("carol", "b")
    rig.locks.release("bob", bob)
    assert rig.holders() == {"a": "alice", "b": "carol"}


def test_asking_again_keeps_the_place(rig: LockRig) -> None:
    """The same request id keeps its place in line, never a second one, and gets the lock when it is granted."""
    held = rig.take("alice", "a")
    bob = rig.queue("bob", "a")
    rig.queue("carol", "a")
    rig.queue("bob", "a", request_id=bob)
    assert rig.line() == [("bob", 1), ("carol", 2)]
    rig.locks.release("alice", held.id)
    assert rig.take("bob", "a", request_id=bob, queue=True).account == "bob"


def test_a_place_that_nobody_asks_about_is_lost(rig: LockRig) -> None:
    """After `waiter_grace` seconds without a poll the place is gone, and the next in line moves up."""
    rig.take("alice", "a", lease_seconds=600)
    rig.queue("bob", "a")
    rig.machine.advance(20)
    carol = rig.queue("carol", "a")
    rig.machine.advance(20)
    rig.queue("carol", "a", request_id=carol)
    assert rig.line() == [("carol", 1)]


def test_a_waiting_caller_wakes_with_the_lock(rig: LockRig) -> None:
    """A caller on hold is answered as soon as the lock before it is released."""
    held = rig.take("alice", "a")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(rig.take, "bob", "a", wait_seconds=30)
        wait_until(lambda: rig.line() == [("bob", 1)])
        started = time.monotonic()
        rig.locks.release("alice", held.id)
        assert waiting.result(25).account == "bob"
        assert time.monotonic() - started < 25


def test_a_wait_that_is_over_leaves_no_place(rig: LockRig) -> None:
    """Without `queue`, the end of the wait is a refusal and the place is removed."""
    rig.take("alice", "a")
    with pytest.raises(Locked):
        rig.ask("bob", "a", wait_seconds=0.05)
    assert rig.line() == []


def test_a_wait_that_is_over_keeps_the_place_when_asked_to(rig: LockRig) -> None:
    """With `queue`, the end of the wait answers the place in line."""
    rig.take("alice", "a")
    reply = rig.ask("bob", "a", wait_seconds=0.05, queue=True)
    assert reply.waiter is not None
    assert rig.line() == [("bob", 1)]


def test_callers_on_hold_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound a caller is answered at once with its place, so that waiting never takes every thread."""
    rig = LockRig(tmp_path, max_blocked=1)
    rig.take("alice", "a")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(rig.ask, "bob", "a", wait_seconds=30, queue=True)
        wait_until(lambda: rig.line() == [("bob", 1)])
        started = time.monotonic()
        reply = rig.ask("carol", "a", wait_seconds=30, queue=True)
        assert reply.waiter is not None
        assert reply.waiter.place == 2
        assert time.monotonic() - started < 25
        rig.locks.close()
        assert first.result(25).waiter is not None
    rig.store.close()


def test_giving_up_from_elsewhere_ends_the_wait(rig: LockRig) -> None:
    """Releasing the request id answers the caller that is on hold for it."""
    rig.take("alice", "a")
    id = rig.new_id()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(rig.ask, "bob", "a", wait_seconds=30, request_id=id)
        wait_until(lambda: rig.line() == [("bob", 1)])
        rig.locks.release("bob", id)
        with pytest.raises(Locked):
            waiting.result(25)
    assert rig.line() == []
