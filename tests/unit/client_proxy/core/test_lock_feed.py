"""One wait at the directory for everybody who listens for changes of the locks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from client_proxy.core.lock_feed import FAILURE_PAUSE_SECONDS, NO_PLACE_PAUSE_SECONDS, WAIT_SECONDS, LockFeed
from lockstep_store.wire.errors import NotFound, Unavailable
from lockstep_store.wire.messages.locks import LOCK_CHANGES, LockChangesReply, LockChangesRequest
from tests.fakes.clock import ManualClock
from tests.fakes.rest_core import FakeDirectory
from tests.waiting import PATIENCE_SECONDS, wait_until


def test_a_step_waits_for_another_revision_than_the_last() -> None:
    """A new revision counts as a change, and the wait that is over without one does not."""
    clock, directory = ManualClock(), FakeDirectory()
    feed = LockFeed(directory, clock.monotonic)

    def answer(request: LockChangesRequest) -> LockChangesReply:
        if request.seen == 7:
            clock.advance(request.wait_seconds)
        return LockChangesReply(7)

    directory.answers[LOCK_CHANGES.path] = answer
    assert (feed.step(), feed.number) == (0.0, 1)
    assert (feed.step(), feed.number) == (0.0, 1)
    asked = [request for _, request in directory.calls]
    assert [(request.seen, request.wait_seconds) for request in asked] == [(None, WAIT_SECONDS), (7, WAIT_SECONDS)]


def test_a_directory_without_a_place_is_not_asked_at_once_again() -> None:
    """It answers early, without a change, when too many proxies wait or when it stops."""
    directory = FakeDirectory()
    directory.answers[LOCK_CHANGES.path] = LockChangesReply(7)
    feed = LockFeed(directory, ManualClock().monotonic)
    assert [feed.step(), feed.step()] == [0.0, NO_PLACE_PAUSE_SECONDS]


@pytest.mark.parametrize("failure", [Unavailable("it is away"), NotFound("there is no such call: it is older")])
def test_a_failure_counts_as_a_change(failure: Exception) -> None:
    """What happened meanwhile is unknown, so listeners look for themselves, and so after it."""
    directory = FakeDirectory()
    directory.answers[LOCK_CHANGES.path] = failure
    feed = LockFeed(directory, ManualClock().monotonic)
    assert (feed.step(), feed.number) == (FAILURE_PAUSE_SECONDS, 1)
    directory.answers[LOCK_CHANGES.path] = LockChangesReply(7)
    assert (feed.step(), feed.number) == (0.0, 2)


class SlowDirectory(FakeDirectory):
    """Each call takes until `change` lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.revision = 7
        self.asked = 0
        self._moved = threading.Condition()
        self.answers[LOCK_CHANGES.path] = self._wait

    def change(self) -> None:
        with self._moved:
            self.revision += 1
            self._moved.notify_all()

    def _wait(self, request: LockChangesRequest) -> LockChangesReply:
        with self._moved:
            self.asked += 1
            self._moved.wait_for(lambda: self.revision != request.seen, PATIENCE_SECONDS)
            return LockChangesReply(self.revision)


def feeds() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lock feed"]


@pytest.fixture
def slow() -> Iterator[SlowDirectory]:
    directory = SlowDirectory()
    yield directory
    wait_until(lambda: directory.change() or not feeds(), what="the feeds end")


def test_all_listeners_share_one_wait(slow: SlowDirectory) -> None:
    """It begins with the first of them, tells each of a change, and ends with the last."""
    feed = LockFeed(slow)
    assert slow.asked == 0
    with feed.listening(), feed.listening():
        seen = feed.wait(0, PATIENCE_SECONDS)
        wait_until(lambda: slow.asked == 2, what="the feed waits for a change")
        slow.change()
        assert feed.wait(seen, PATIENCE_SECONDS) == seen + 1
        wait_until(lambda: slow.asked == 3, what="the feed waits for the next change")
    slow.change()
    wait_until(lambda: not feeds(), what="the feed ends")
    assert slow.asked == 3


def test_a_listener_after_a_pause_misses_nothing(slow: SlowDirectory) -> None:
    """What changed while nobody listened is a change for the next listener."""
    feed = LockFeed(slow)
    with feed.listening():
        feed.wait(0, PATIENCE_SECONDS)
        wait_until(lambda: slow.asked == 2, what="the feed waits for a change")
    seen = feed.number
    with feed.listening():
        assert feed.wait(seen, PATIENCE_SECONDS) > seen
