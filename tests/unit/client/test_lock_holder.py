"""Holding a lock: renewals in time, doubts in time, waiting in line."""

from __future__ import annotations

import pytest

from lockstep_store.client.lock_holder import GivenUp, LockHolder, Waiting
from lockstep_store.wire.errors import Deadlock, LockStale, LockstepError, PeerUnreachable
from lockstep_store.wire.messages.locks import AcquireReply, LockInfo, LockPath, WaiterInfo
from tests.fakes.clock import ManualClock

PATHS = [LockPath("files", "notes.txt")]


def lock_info(number: int = 7, lease: float = 60.0, account: str = "ann") -> LockInfo:
    return LockInfo(f"lock{number}", number, PATHS, account, "", 0.0, lease, lease, lease)


class Calls:
    """A directory that grants after `waits` answers; each call takes `seconds` on the clock."""

    def __init__(self, clock: ManualClock, waits: int = 0, seconds: float = 0.0) -> None:
        self.clock = clock
        self.waits = waits
        self.seconds = seconds
        self.error: LockstepError | None = None
        self.asked: list[str] = []
        self.released: list[str] = []
        self.renewed = 0

    def acquire(
        self,
        paths: list[LockPath],
        *,
        request_id: str,
        wait_seconds: float = 0.0,
        lease_seconds: float = 60.0,
        queue: bool = False,
        client: str = "",
    ) -> AcquireReply:
        self.asked.append(request_id)
        if self.error:
            raise self.error
        if self.waits:
            self.waits -= 1
            self.clock.advance(wait_seconds)
            waiter = WaiterInfo(request_id, paths, "ann", client, 2, 0.0)
            return AcquireReply(waiter=waiter, holders=[lock_info(3, account="bob")])
        self.clock.advance(self.seconds)
        return AcquireReply(lock=lock_info(lease=lease_seconds))

    def renew(self, lock_id: str, lease_seconds: float) -> LockInfo:
        self.clock.advance(self.seconds)
        if self.error:
            raise self.error
        self.renewed += 1
        return lock_info(lease=lease_seconds)

    def release(self, lock_id: str, *, break_lock: bool = False) -> None:
        self.released.append(lock_id)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


def holder(calls: Calls, **options: object) -> LockHolder:
    return LockHolder(calls, PATHS, clock=calls.clock, renewing=False, pause=calls.clock.advance, **options)  # type: ignore[arg-type]


def test_trust_is_counted_from_before_the_request_was_sent(clock: ManualClock) -> None:
    """A slow answer shortens the time for which the lock is trusted, so that it ends before the directory's lease."""
    lock = holder(Calls(clock, seconds=20.0))
    granted = lock.acquire()
    directory_ends_it_in = granted.lease_seconds
    assert lock.trusted_seconds() <= directory_ends_it_in - 20.0
    clock.advance(lock.trusted_seconds())
    with pytest.raises(LockStale):
        lock.check()


def test_the_lease_is_renewed_at_a_third(clock: ManualClock) -> None:
    """A step does nothing before a third of the lease is over, and renews then."""
    calls = Calls(clock)
    lock = holder(calls)
    lock.acquire()
    assert lock.step() == pytest.approx(20.0)
    assert calls.renewed == 0
    clock.advance(20.0)
    assert lock.step() == pytest.approx(20.0)
    assert calls.renewed == 1
    assert lock.trusted_seconds() > 58


def test_a_lost_lock_is_told_once(clock: ManualClock) -> None:
    """When the directory says that the lock is over, its holder hears it at once and only once."""
    calls = Calls(clock)
    told: list[str] = []
    lock = holder(calls, on_lost=told.append)
    lock.acquire()
    calls.error = LockStale("broken by an administrator")
    clock.advance(20.0)
    lock.step()
    lock.step()
    assert len(told) == 1
    assert "broken by an administrator" in told[0]
    with pytest.raises(LockStale, match="broken by an administrator"):
        lock.check()
    lock.release()
    assert calls.released == [], "a lock that is over is not given back"


def test_an_unreachable_directory_loses_the_lock_only_when_the_lease_is_over(clock: ManualClock) -> None:
    """Renewals are tried again, in short steps, until trust ends; then the lock counts as lost."""
    calls = Calls(clock)
    told: list[str] = []
    lock = holder(calls, on_lost=told.append)
    lock.acquire()
    calls.error = PeerUnreachable("no answer")
    clock.advance(20.0)
    while lock.trusted_seconds() > 0:
        assert told == []
        pause = lock.step()
        assert pause <= 2.0
        clock.advance(pause)
    lock.step()
    assert len(told) == 1


def test_a_short_outage_costs_nothing(clock: ManualClock) -> None:
    """A renewal that works the second time keeps the lock."""
    calls = Calls(clock)
    lock = holder(calls)
    lock.acquire()
    calls.error = PeerUnreachable("no answer")
    clock.advance(20.0)
    clock.advance(lock.step())
    calls.error = None
    lock.step()
    assert lock.trusted_seconds() > 55


def test_waiting_keeps_one_place_and_reports_it(clock: ManualClock) -> None:
    """Every poll is the same request; each answer tells place, holder and time, the first one at once."""
    calls = Calls(clock, waits=3)
    news: list[Waiting] = []
    holder(calls, on_wait=news.append).acquire(poll_seconds=5.0)
    assert len(set(calls.asked)) == 1
    assert [one.place for one in news] == [2, 2, 2]
    assert news[0].waited_seconds == 0
    assert news[-1].holders[0].account == "bob"
    assert news[-1].waited_seconds == pytest.approx(10.0)
    assert calls.released == []


@pytest.mark.parametrize("how", ["by choice", "out of patience", "by Ctrl-C", "a deadlock"])
def test_whatever_ends_the_waiting_gives_the_place_back(clock: ManualClock, how: str) -> None:
    """No place in line is left behind by somebody who no longer waits."""
    calls = Calls(clock, waits=99)

    def interrupt(waiting: Waiting) -> None:
        raise KeyboardInterrupt

    options = {"on_wait": interrupt} if how == "by Ctrl-C" else {}
    lock = holder(calls, **options)
    if how == "a deadlock":
        calls.error = Deadlock("bob waits for you")
    expected = {"by Ctrl-C": KeyboardInterrupt, "a deadlock": Deadlock}.get(how, GivenUp)
    with pytest.raises(expected):
        lock.acquire(
            patience_seconds=12.0 if how == "out of patience" else None,
            poll_seconds=5.0,
            give_up=lambda: how == "by choice",
        )
    assert calls.released == [calls.asked[0]]
    if how == "out of patience":
        assert clock.monotonic() == pytest.approx(1012.0)


def test_a_restart_of_the_directory_does_not_cost_the_place(clock: ManualClock) -> None:
    """While waiting, a directory that is away for a moment is asked again with the same request."""
    calls = Calls(clock)
    calls.error = PeerUnreachable("restarting")
    pauses: list[float] = []

    def back_after_three(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)
        if len(pauses) == 3:
            calls.error = None

    lock = LockHolder(calls, PATHS, clock=clock, renewing=False, pause=back_after_three)
    assert lock.acquire().number == 7
    assert len(set(calls.asked)) == 1


def test_a_directory_that_stays_away_ends_the_waiting(clock: ManualClock) -> None:
    """The wait for a directory that is gone ends after half a minute with its reason."""
    calls = Calls(clock)
    calls.error = PeerUnreachable("gone")
    with pytest.raises(PeerUnreachable):
        holder(calls).acquire()
    assert clock.monotonic() <= 1032.0


def test_a_lock_is_given_back_on_the_way_out(clock: ManualClock) -> None:
    """Leaving the block releases, also by an exception; a lock that a commit has released is left alone."""
    calls = Calls(clock)
    with pytest.raises(RuntimeError), holder(calls) as lock:
        lock.acquire()
        raise RuntimeError
    assert calls.released == ["lock7"]
    with holder(calls) as lock:
        lock.acquire()
        lock.released()
    assert calls.released == ["lock7"]


def test_the_renewing_thread_ends_with_the_lock() -> None:
    """With renewals on, the thread renews by itself and stops on release."""
    clock = ManualClock()
    calls = Calls(clock)
    lock = LockHolder(calls, PATHS, clock=clock, lease_seconds=60.0)
    lock.acquire()
    job = lock._job
    assert job is not None
    assert job._thread.is_alive()
    lock.release()
    job._thread.join(60)  # releasing waits for a second at most
    assert not job._thread.is_alive()
