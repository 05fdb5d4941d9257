"""Delivery to one target, step by step: order, pauses, bounds, and what a restart repeats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from directory_server.features.notifications import delivery
from directory_server.features.notifications.delivery import Delivery
from directory_server.metadata.statements import notifications as rows
from directory_server.metadata.store import Tx
from tests.fakes.directory_rig import DirectoryRig
from tests.fakes.notification_target import KeepingTarget

NAME = "hook"


class Rig:
    """A directory's store with one target and messages for it."""

    def __init__(self, folder: Path) -> None:
        self.directory = DirectoryRig(folder, servers=0)
        self.store, self.time = self.directory.store, self.directory.time
        self.target = KeepingTarget()
        self.store.write(lambda tx: rows.put_target(tx, rows.TargetRow(NAME, "https://hook/", b"", 0.0, 0)))
        self.delivery = self.open()

    def open(self, max_waiting: int = 1000, max_age_seconds: float = 1000.0) -> Delivery:
        """A delivery as after a restart."""
        return Delivery(
            self.store,
            self.directory.clock,
            NAME,
            self.target,
            max_waiting=max_waiting,
            max_age_seconds=max_age_seconds,
            monotonic=self.time.monotonic,
        )

    def queue(self, count: int) -> None:
        def work(tx: Tx) -> None:
            for _ in range(count):
                rows.queue(tx, NAME, "{}", queued_time=self.directory.clock.now())

        self.store.write(work)

    def ids(self) -> list[int]:
        return [int(id) for id, _ in self.target.taken]

    def waiting(self) -> int:
        with self.store.read() as reader:
            return rows.waiting(reader, NAME)[0]

    def dropped(self) -> int:
        with self.store.read() as reader:
            found = rows.find_target(reader, NAME)
        assert found is not None
        return found.dropped


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.directory.close()


def test_messages_go_in_order_and_are_forgotten_when_taken(rig: Rig) -> None:
    """Batch after batch; then the connection rests."""
    rig.queue(delivery.BATCH + 3)
    assert rig.delivery.step() == 0.0
    assert rig.waiting() == 3
    assert rig.delivery.step() == 0.0
    assert rig.delivery.step() == delivery.IDLE_SECONDS
    assert rig.target.rests == 1
    assert rig.ids() == sorted(rig.ids())
    assert (len(set(rig.ids())), rig.waiting(), rig.delivery.delivered) == (103, 0, 103)


def test_a_failure_keeps_the_message_and_those_behind_it(rig: Rig) -> None:
    """What was taken before is not sent again."""
    rig.queue(5)
    rig.target.takes = 2
    assert rig.delivery.step() == delivery.FIRST_PAUSE_SECONDS
    assert rig.delivery.problem == "it has enough"
    assert (rig.ids(), rig.waiting()) == ([1, 2], 3)
    rig.target.takes = 10
    rig.time.advance(delivery.FIRST_PAUSE_SECONDS)
    assert rig.delivery.step() == 0.0
    assert (rig.ids(), rig.delivery.problem) == ([1, 2, 3, 4, 5], "")


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_success(rig: Rig) -> None:
    """And being woken by new messages does not shorten them."""
    rig.queue(2)
    rig.target.refuse = "down"
    pauses = []
    for _ in range(9):
        pauses.append(rig.delivery.step())
        attempts = rig.target.attempts
        rig.time.advance(pauses[-1] / 2)
        assert 0 < rig.delivery.step() <= pauses[-1] / 2
        assert rig.target.attempts == attempts
        rig.time.advance(pauses[-1] / 2)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    rig.target.refuse, rig.target.takes = "", 1
    assert rig.delivery.step() == delivery.FIRST_PAUSE_SECONDS
    assert rig.ids() == [1]
    rig.target.takes = 1
    rig.delivery.try_now()
    rig.delivery.step()
    assert rig.ids() == [1, 2]


def test_more_than_the_bound_lose_the_oldest_and_are_counted(rig: Rig) -> None:
    """Also while the target is down, and for good: the count outlives the program."""
    rig.target.refuse = "down"
    few = rig.open(max_waiting=50)
    rig.queue(10)
    few.step()
    rig.queue(50)
    rig.time.advance(delivery.LOOK_FOR_OLD_SECONDS)
    few.step()
    assert (rig.waiting(), rig.dropped()) == (50, 10)
    rig.target.refuse = ""
    rig.open().step()
    assert rig.ids() == list(range(11, 61))


def test_messages_that_wait_for_too_long_are_given_up(rig: Rig) -> None:
    """By directory time; younger ones stay."""
    rig.queue(3)
    rig.time.advance(900.0)
    rig.queue(2)
    rig.time.advance(200.0)
    rig.delivery.step()
    assert (rig.ids(), rig.dropped()) == ([4, 5], 3)


def test_what_was_not_noted_is_sent_again_in_order(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that dies between delivering and noting repeats the batch: at least once, under the same ids."""
    rig.queue(3)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rows, "delivered", dies)
        with pytest.raises(KeyboardInterrupt):
            rig.delivery.step()
    rig.open().step()
    assert rig.ids() == [1, 2, 3, 1, 2, 3]
    assert rig.waiting() == 0


def test_numbers_go_on_after_everything_was_delivered(rig: Rig) -> None:
    """Sequencers rise for ever, also when the table was empty in between."""
    rig.queue(2)
    rig.delivery.step()
    rig.queue(1)
    rig.delivery.step()
    assert rig.ids() == [1, 2, 3]
