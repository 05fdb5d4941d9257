"""Request coalescing and group commit: every caller gets its own reply, never one older than its request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lockstep_store.runtime.peers.coalescing import WORTH_A_CALL, Coalescer
from lockstep_store.runtime.storage.group_commit import GroupCommit
from lockstep_store.wire.errors import NotFound, Unavailable
from tests.waiting import wait_until


def test_concurrent_submits_share_a_round_trip() -> None:
    """While one call is under way the others gather, and leave together when it returns."""
    release, entered, batches = threading.Event(), threading.Event(), []

    def send(items: list[int]) -> list[int]:
        batches.append(items)
        if len(batches) == 1:
            entered.set()
            assert release.wait(60)
        return [item * 10 for item in items]

    coalescer: Coalescer[int, int] = Coalescer(send)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(coalescer.submit, 0)
        assert entered.wait(60)
        rest = [pool.submit(coalescer.submit, n) for n in range(1, 9)]
        wait_until(lambda: len(coalescer._waiting) == 8)
        release.set()
        assert first.result(60) == 0
        assert [future.result(60) for future in rest] == [n * 10 for n in range(1, 9)]
    assert [len(batch) for batch in batches] == [1, 8]


def test_with_patience_another_call_leaves_only_when_it_is_worth_one() -> None:
    """A lone item under way holds up nobody. While there are two, three others wait; a fourth makes all four leave."""
    release, batches = threading.Event(), []

    def send(items: list[int]) -> list[int]:
        batches.append(items)
        if min(items) < 0:
            assert release.wait(60)
        return items

    coalescer: Coalescer[int, int] = Coalescer(send, max_in_flight=3, patience=60.0)
    with ThreadPoolExecutor(6) as pool:
        held = [pool.submit(coalescer.submit, n) for n in (-1, -2)]
        wait_until(lambda: len(batches) == 2)
        others = [pool.submit(coalescer.submit, n) for n in range(1, WORTH_A_CALL)]
        wait_until(lambda: len(coalescer._waiting) == WORTH_A_CALL - 1)
        assert coalescer.submit(WORTH_A_CALL) == WORTH_A_CALL
        assert sorted(other.result(60) for other in others) == list(range(1, WORTH_A_CALL))
        assert not any(each.done() for each in held)
        release.set()
        assert [each.result(60) for each in held] == [-1, -2]
    assert [len(batch) for batch in batches] == [1, 1, WORTH_A_CALL]


def test_a_call_that_hangs_holds_up_nobody_for_longer_than_their_patience() -> None:
    """Those that wait leave together, however many calls hang; when these are back, everything is as before."""
    release, batches = threading.Event(), []

    def send(items: list[int]) -> list[int]:
        batches.append(items)
        if 0 in items:
            assert release.wait(60)
        return items

    coalescer: Coalescer[int, int] = Coalescer(send, patience=0.01)
    with ThreadPoolExecutor(8) as pool:
        hanging = [pool.submit(coalescer.submit, 0) for _ in range(3)]
        wait_until(lambda: sum(len(batch) for batch in batches) == 3)
        assert [coalescer.submit(n) for n in range(1, 4)] == [1, 2, 3]
        assert not any(each.done() for each in hanging)
        release.set()
        assert [each.result(60) for each in hanging] == [0, 0, 0]
    assert (coalescer._free_slots, coalescer._under_way) == (1, 0)
    assert coalescer.submit(4) == 4


def test_nobody_is_lost_between_patience_and_a_call_that_returns() -> None:
    """Patience ends at any moment of a call; each item is sent once, and answered."""
    sent: list[int] = []

    def send(items: list[int]) -> list[int]:
        assert len(items) <= 5
        sent.extend(items)
        return [item + 1 for item in items]

    coalescer: Coalescer[int, int] = Coalescer(send, max_batch=5, max_in_flight=2, patience=0.0005)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(coalescer.submit, range(4000))) == list(range(1, 4001))
    assert sorted(sent) == list(range(4000))
    assert (coalescer._free_slots, coalescer._under_way) == (2, 0)


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_everyone_gets_their_own_answer_under_load(max_in_flight: int) -> None:
    """Thousands of submits from many threads: no answer is lost, doubled or swapped, batches keep their bound."""
    sent: list[int] = []
    under_way, most = [0], [0]
    guard = threading.Lock()

    def send(items: list[int]) -> list[int]:
        with guard:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            sent.extend(items)
        assert len(items) <= 5
        with guard:
            under_way[0] -= 1
        return [item + 1 for item in items]

    coalescer: Coalescer[int, int] = Coalescer(send, max_batch=5, max_in_flight=max_in_flight)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(coalescer.submit, range(4000))) == list(range(1, 4001))
    assert sorted(sent) == list(range(4000))
    assert most[0] <= max_in_flight
    assert coalescer._free_slots == max_in_flight


def test_one_refusal_reaches_only_its_submitter_and_a_failed_call_reaches_all() -> None:
    """An exception as a result reaches one caller, one from the call reaches all; neither blocks the next call."""

    def send(items: list[str]) -> list[object]:
        if "cut" in items:
            raise Unavailable("cut")
        return [NotFound(item) if item == "bad" else item for item in items]

    coalescer: Coalescer[str, object] = Coalescer(send)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        coalescer.submit("bad")
    with pytest.raises(Unavailable):
        coalescer.submit("cut")
    assert coalescer.submit("good") == "good"


def test_a_call_that_answers_too_little_is_an_error_and_not_a_hang() -> None:
    """A server that returns fewer results than items breaks its promise, and every submitter hears of it."""
    coalescer: Coalescer[int, int] = Coalescer(lambda items: [])
    with pytest.raises(ValueError):
        coalescer.submit(1)


class _Ledger:
    """A transaction over a list, with a commit that can be told to fail."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.pending: list[int] = []
        self.commits = 0
        self.fail = False
        self.gate: threading.Event | None = None

    @contextmanager
    def open(self) -> Iterator[_Ledger]:
        self.pending = []
        yield self
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.fail:
            raise Unavailable("the disk said no")
        self.commits += 1
        self.committed += self.pending

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        before = list(self.pending)
        try:
            yield
        except BaseException:
            self.pending = before
            raise

    def add(self, value: int) -> int:
        self.pending.append(value)
        if value < 0:
            raise NotFound("negative")
        return value


def test_one_callers_failure_is_undone_alone() -> None:
    """The work that raised leaves nothing behind; its neighbours are committed."""
    ledger = _Ledger()
    group: GroupCommit[_Ledger] = GroupCommit(ledger.open)

    def submit(value: int) -> object:
        try:
            return group.submit(lambda tx: tx.add(value))
        except NotFound:
            return "refused"

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(submit, [n if n % 3 else -n - 1 for n in range(300)]))
    group.close()
    assert results.count("refused") == 100
    assert sorted(ledger.committed) == [n for n in range(300) if n % 3]
    with pytest.raises(Unavailable):
        group.submit(lambda tx: tx.add(1))


def test_waiting_writers_share_one_commit() -> None:
    """Writers that arrive during a flush are in the next commit together."""
    ledger = _Ledger()
    ledger.gate = threading.Event()
    group: GroupCommit[_Ledger] = GroupCommit(ledger.open)
    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(group.submit, lambda tx, n=n: tx.add(n)) for n in range(9)]
        wait_until(lambda: len(group._queue) + len(ledger.pending) == 9)
        ledger.gate.set()
        assert sorted(future.result(60) for future in futures) == list(range(9))
    group.close()
    assert ledger.commits <= 3


def test_a_failed_commit_is_told_to_everyone_in_it_and_the_next_one_works() -> None:
    """Nobody is told "done" by a commit that did not happen, and the writer goes on."""
    ledger = _Ledger()
    group: GroupCommit[_Ledger] = GroupCommit(ledger.open)
    ledger.fail = True
    with pytest.raises(Unavailable):
        group.submit(lambda tx: tx.add(1))
    ledger.fail = False
    assert group.submit(lambda tx: tx.add(2)) == 2
    assert ledger.committed == [2]
    group.close()
