"""Waits that would never end are refused."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from directory_server.locks import lock_rules
from directory_server.locks.deadlock import Wait
from lockstep_store.wire.errors import Deadlock, Locked
from tests.unit.directory_server.locks.lock_rig import LockRig


def test_a_wait_that_closes_a_cycle_is_refused_by_name(rig: LockRig) -> None:
    """Alice holds b and wants a, bob holds a and wants b: the second wait is refused and names both."""
    rig.take("bob", "a", client="desk")
    rig.take("alice", "b", client="laptop")
    rig.queue("bob", "b", client="desk")
    with pytest.raises(Deadlock) as refusal:
        rig.ask("alice", "a", client="laptop", queue=True)
    assert "alice (laptop) waits for files/a held by bob (desk), who waits for files/b held by alice (laptop)" in str(
        refusal.value
    )
    assert rig.line() == [("bob", 1)]


def test_a_cycle_through_the_queue_is_refused(rig: LockRig) -> None:
    """Standing behind an earlier waiter for an overlapping path counts as waiting for it."""
    rig.take("alice", "a")
    rig.take("carol", "c")
    rig.queue("bob", "a", "b")
    rig.queue("alice", "c")
    with pytest.raises(Deadlock):
        rig.ask("carol", "b", queue=True)


def test_a_cycle_through_the_own_place_in_a_line_is_refused(rig: LockRig) -> None:
    """Whoever stands behind a party waits for it, also behind the place that it has beside the one it asks for."""
    rig.take("ann", "a")
    rig.queue("eva", "a")
    rig.queue("bob", "a")
    with pytest.raises(Deadlock, match="eva waits for files/a which goes first to bob, who waits for files/a"):
        rig.queue("eva", "a")
    rig.take("bob", "b")
    with pytest.raises(Deadlock, match="eva waits for files/b held by bob, who waits for files/a"):
        rig.queue("eva", "b")


def test_a_long_line_is_searched_once_for_each_place(rig: LockRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining costs in proportion to the line, not to its square: all writers wait meanwhile."""
    looked_at = count()

    def wait(*args: Any, **more: Any) -> Wait:
        next(looked_at)
        return Wait(*args, **more)

    rig.take("ann", "hot")
    for number in range(60):
        rig.queue("ann", "hot", client=f"agent-{number}")
    rig.take("bob", "other")
    monkeypatch.setattr(lock_rules, "Wait", wait)
    rig.queue("bob", "hot")
    assert next(looked_at) < 4 * 60


def test_trying_without_waiting_is_no_deadlock(rig: LockRig) -> None:
    """A request that does not wait is told who holds the path."""
    rig.take("bob", "a")
    rig.take("alice", "b")
    rig.queue("bob", "b")
    with pytest.raises(Locked):
        rig.ask("alice", "a")


def test_threads_of_one_client_may_queue_behind_each_other(rig: LockRig) -> None:
    """The same party waiting for its own lock is a queue: it is granted when the first lets go."""
    first = rig.take("alice", "a", client="laptop")
    id = rig.queue("alice", "a", client="laptop")
    rig.locks.release("alice", first.id)
    assert rig.take("alice", "a", client="laptop", request_id=id).number > first.number
