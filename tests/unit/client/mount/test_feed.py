"""The feed: every change is heard of, and trouble is told once."""

from __future__ import annotations

from lockstep_store.client.mount.feed import GATHER_SECONDS, TRUSTED_SECONDS, ChangeFeed
from lockstep_store.wire.errors import Conflict, LockstepError, NotLoggedIn, Unavailable
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.journal import Change, ChangesReply
from tests.fakes.clock import ManualClock


class Heard:
    """Stands for the tree: what it heard of, and how often it was emptied."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.emptied = 0

    def apply(self, change: Change) -> None:
        self.paths.append(change.path)

    def forget(self) -> None:
        self.emptied += 1


class Journal:
    """Replies in the order given, and what was asked. Each takes a second."""

    def __init__(self, clock: ManualClock, *replies: ChangesReply | LockstepError) -> None:
        self.clock = clock
        self.replies = list(replies)
        self.asked: list[int | None] = []

    def __call__(self, cursor: int | None = None, bucket: str | None = None, *, wait_seconds: int = 0) -> ChangesReply:
        assert bucket == "files"
        self.asked.append(cursor)
        self.clock.advance(1.0)
        reply = self.replies.pop(0)
        if isinstance(reply, LockstepError):
            raise reply
        return reply


def _change(cursor: int) -> Change:
    return Change(cursor, "write", "files", f"f{cursor}", "v1", 0.0)


def _feed(clock: ManualClock, journal: Journal, tree: Heard) -> tuple[ChangeFeed, list[str]]:
    told: list[str] = []
    again = lambda: told.append("log in again")  # noqa: E731
    feed = ChangeFeed(journal, "files", tree, on_trouble=told.append, log_in_again=again, monotonic=clock.monotonic)
    return feed, told


def test_changes_are_applied_in_order_from_now_on() -> None:
    clock, tree = ManualClock(), Heard()
    journal = Journal(clock, ChangesReply([], 7), ChangesReply([_change(8), _change(9)], 9), ChangesReply([], 9))
    feed, told = _feed(clock, journal, tree)
    assert not feed.is_fresh()
    for pause in (0.0, GATHER_SECONDS, 0.0):  # what follows a change soon shares the next request
        assert feed.step() == pause
        assert feed.is_fresh()
    assert (tree.paths, tree.emptied, journal.asked, told) == (["f8", "f9"], 1, [None, 7, 9], [])


def test_trust_ends_a_while_after_the_last_request() -> None:
    """It counts from when the request was sent: the reply may have been on its way for long."""
    clock, tree = ManualClock(), Heard()
    feed, _ = _feed(clock, Journal(clock, ChangesReply([], 7)), tree)
    feed.step()
    clock.advance(TRUSTED_SECONDS - 1.5)
    assert feed.is_fresh()
    clock.advance(0.5)
    assert not feed.is_fresh()


def test_after_trouble_the_tree_begins_anew() -> None:
    """It is told once when it begins and once when it ends, with growing pauses between the attempts."""
    clock, tree = ManualClock(), Heard()
    replies = [
        ChangesReply([], 7),
        Unavailable("down"),
        Unavailable("down"),
        ChangesReply([], 20),
        ChangesReply([], 20),
    ]
    feed, told = _feed(clock, Journal(clock, *replies), tree)
    feed.step()
    pauses = [feed.step(), feed.step()]
    assert 0 < pauses[0] < pauses[1]
    assert not feed.is_fresh()
    feed.step()
    assert feed.is_fresh()
    feed.step()
    assert (tree.emptied, told) == (2, ["down", ""])


def test_a_restored_backup_is_such_trouble() -> None:
    """The directory no longer knows the cursor."""
    clock, tree = ManualClock(), Heard()
    journal = Journal(clock, ChangesReply([], 7), Conflict("no change 7"), ChangesReply([], 3))
    feed, _ = _feed(clock, journal, tree)
    for _ in range(3):
        feed.step()
    assert (journal.asked, tree.emptied) == ([None, 7, None], 2)


def test_an_ended_log_in_is_looked_for_again() -> None:
    clock, tree = ManualClock(), Heard()
    feed, told = _feed(clock, Journal(clock, NotLoggedIn("ended"), ChangesReply([], 7)), tree)
    feed.step()
    feed.step()
    assert told == ["ended", "log in again", ""]


def test_a_full_reply_says_that_more_is_waiting() -> None:
    clock, tree = ManualClock(), Heard()
    full = ChangesReply([_change(number) for number in range(MAX_LISTING)], MAX_LISTING)
    feed, _ = _feed(clock, Journal(clock, ChangesReply([], 0), full, ChangesReply([], MAX_LISTING)), tree)
    feed.step()
    clock.advance(TRUSTED_SECONDS)
    assert feed.step() == 0.0
    assert not feed.is_fresh()
    feed.step()
    assert feed.is_fresh()
