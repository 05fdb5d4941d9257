"""Requests for the kernel: answered within the deadline, whatever the network does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockstep_store.client.mount.timed_calls import REFUSING_SECONDS, TimedCalls
from lockstep_store.wire.errors import NotFound, PeerUnreachable
from tests.fakes.clock import ManualClock
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def calls(clock: ManualClock) -> Iterator[TimedCalls]:
    made = TimedCalls(deadline_seconds=PATIENCE_SECONDS, monotonic=clock.monotonic)
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[TimedCalls]:
    made = TimedCalls(deadline_seconds=0.02, monotonic=ManualClock().monotonic)
    yield made
    made.close()


def _raise(error: Exception) -> None:
    raise error


def test_the_result_and_the_error_of_a_request_come_back(calls: TimedCalls) -> None:
    assert calls.run(pow, 2, 10) == 1024
    with pytest.raises(NotFound):
        calls.run(_raise, NotFound("no"))
    assert calls.run(pow, 2, 3) == 8


def test_requests_run_in_threads_that_stay(calls: TimedCalls) -> None:
    """Otherwise each would open a connection of its own."""
    assert calls.run(threading.current_thread) in threading.enumerate()


def test_silence_ends_at_the_deadline_and_then_at_once(hasty: TimedCalls) -> None:
    """A listing that asks for a hundred files waits once."""
    never = threading.Event()
    try:
        with pytest.raises(PeerUnreachable, match="within"):
            hasty.run(never.wait)
        with pytest.raises(PeerUnreachable, match="a moment ago") as refused:
            hasty.run(pow, 2, 3)
        assert refused.value.facts["repeated"]
    finally:
        never.set()


def test_a_while_later_the_proxy_is_tried_again(calls: TimedCalls, clock: ManualClock) -> None:
    with pytest.raises(PeerUnreachable):
        calls.run(_raise, PeerUnreachable("gone", unsent=True))
    with pytest.raises(PeerUnreachable, match="a moment ago"):
        calls.run(pow, 2, 3)
    clock.advance(REFUSING_SECONDS)
    assert calls.run(pow, 2, 3) == 8


@pytest.mark.parametrize(("facts", "refused"), [({"unsent": True}, True), ({"final": True}, True), ({}, False)])
def test_only_a_proxy_that_does_not_answer_is_given_a_rest(
    calls: TimedCalls, facts: dict[str, bool], refused: bool
) -> None:
    """A connection that was lost may be made again at once."""
    with pytest.raises(PeerUnreachable):
        calls.run(_raise, PeerUnreachable("gone", **facts))
    if refused:
        with pytest.raises(PeerUnreachable):
            calls.run(pow, 2, 3)
        calls.note_reachable()
    assert calls.run(pow, 2, 3) == 8


def test_a_slow_line_that_delivers_is_waited_for(hasty: TimedCalls) -> None:
    """As long as bytes arrive, there is no deadline."""
    arrived = iter([0, 10, 10, 20, 20, 20])
    never = threading.Event()
    try:
        with pytest.raises(PeerUnreachable):
            hasty.wait(hasty.fetch(never.wait), lambda: next(arrived))
        assert next(arrived, None) is None
    finally:
        never.set()
