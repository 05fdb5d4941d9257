"""Deadlocks: cycles of parties are found, named, and told apart from mere queues."""

from __future__ import annotations

from directory_server.locks.deadlock import Wait, describe, find_cycle
from directory_server.metadata.statements.party import Party

ALICE, BOB, CAROL = Party("alice", "laptop"), Party("bob", "desk"), Party("carol", session="s1")


def graph(*waits: Wait):  # type: ignore[no-untyped-def]
    return lambda party: [wait for wait in waits if wait.waiter.key == party.key]


def test_two_parties_waiting_for_each_other_are_named() -> None:
    """The refusal names who waits for what, held by whom, round to the beginning."""
    cycle = find_cycle([Wait(ALICE, "files/a", BOB)], graph(Wait(BOB, "files/b", ALICE)))
    assert cycle is not None
    assert describe(cycle) == (
        "alice (laptop) waits for files/a held by bob (desk), who waits for files/b held by alice (laptop)"
    )


def test_a_long_cycle_is_found_by_its_shortest_way() -> None:
    """Of the ways round, the one with the fewest waits is told."""
    waits = graph(
        Wait(BOB, "files/b", CAROL),
        Wait(CAROL, "files/c", ALICE),
        Wait(BOB, "files/d", Party("dave")),
        Wait(Party("dave"), "files/e", CAROL),
    )
    cycle = find_cycle([Wait(ALICE, "files/a", BOB)], waits)
    assert cycle is not None
    assert [wait.path for wait in cycle] == ["files/a", "files/b", "files/c"]


def test_a_queue_is_not_a_deadlock() -> None:
    """Waiting for someone who waits for a third, who waits for nobody, ends."""
    assert find_cycle([Wait(ALICE, "files/a", BOB)], graph(Wait(BOB, "files/b", CAROL))) is None


def test_waiting_for_oneself_is_not_a_deadlock() -> None:
    """Two threads of one agent may share a path: the first will let go."""
    again = Party("alice", "laptop", session="another log-in")
    assert find_cycle([Wait(ALICE, "files/a", again)], graph()) is None


def test_sessions_without_a_name_are_separate_parties() -> None:
    """Two log-ins of one account that name no client can lock each other out, and it is noticed."""
    one, two = Party("alice", session="1"), Party("alice", session="2")
    assert find_cycle([Wait(one, "files/a", two)], graph(Wait(two, "files/b", one))) is not None


def test_standing_behind_someone_counts_as_waiting() -> None:
    """A cycle through a place in the queue is found, and said differently from a lock that is held."""
    cycle = find_cycle([Wait(ALICE, "files/a", BOB, held=False)], graph(Wait(BOB, "files/b", ALICE)))
    assert cycle is not None
    assert "files/a which goes first to bob (desk)" in describe(cycle)


def test_a_cycle_among_others_does_not_stop_the_search() -> None:
    """A tangle that the newcomer is no part of is walked once and left alone."""
    waits = graph(Wait(BOB, "files/b", CAROL), Wait(CAROL, "files/c", BOB))
    assert find_cycle([Wait(ALICE, "files/a", BOB)], waits) is None
