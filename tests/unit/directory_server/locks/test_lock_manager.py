"""The lock manager on a real store and a clock that the test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks import lock_rules
from directory_server.locks.deadlock import Wait
from directory_server.locks.lock_manager import LockManager
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.people.person import Person
from lockstep_store.wire.errors import BadRequest, Deadlock, Forbidden, Locked, LockStale, NotFound
from lockstep_store.wire.messages.locks import AcquireReply, AcquireRequest, LockInfo, LockPath
from tests.fakes.clock import ManualClock

ADMIN = Person("admin", True, "")


class Desk:
    """A directory's locks that can be restarted, and short forms of what tests ask of them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.machine = ManualClock(start=1000.0)
        self._path = folder / "metadata.db"
        self._settings = settings
        self._ids = count(1)
        self.saved = 0.0
        self.open()

    def open(self) -> None:
        self.clock = DirectoryClock(self.machine, self.saved)
        self.store = SqliteStore(self._path)
        self.locks = LockManager(self.store, self.clock, **self._settings)  # type: ignore[arg-type]
        self.locks.start()

    def restart(self) -> None:
        """As after a crash: only what is in the store, and the saved time, is left."""
        self.saved = self.clock.now()
        self.locks.close()
        self.store.close()
        self.open()

    def new_id(self) -> str:
        return f"request-{next(self._ids):012d}"

    def ask(self, who: str, *paths: str, client: str = "", **more: object) -> AcquireReply:
        request = AcquireRequest(
            credential="",
            paths=[LockPath("files", path) for path in paths],
            request_id=more.pop("request_id", None) or self.new_id(),
            **more,  # type: ignore[arg-type]
        )
        return self.locks.acquire(who, f"session of {who}", client, request)

    def take(self, who: str, *paths: str, **more: object) -> LockInfo:
        lock = self.ask(who, *paths, **more).lock  # type: ignore[arg-type]
        assert lock is not None
        return lock

    def queue(self, who: str, *paths: str, **more: object) -> str:
        waiter = self.ask(who, *paths, queue=True, **more).waiter  # type: ignore[arg-type]
        assert waiter is not None
        return waiter.id

    def check(self, who: str, path: str, number: int | None) -> int:
        return self.store.write(lambda tx: self.locks.check_write(tx, "files", path, who, number))

    def fence(self, path: str) -> int:
        with self.store.read() as reader:
            return self.locks.fence(reader, "files", path)

    def holders(self) -> dict[str, str]:
        return {path.path: lock.account for lock in self.locks.list().locks for path in lock.paths}

    def line(self) -> list[tuple[str, int]]:
        return [(waiter.account, waiter.place) for waiter in self.locks.list().waiters]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.locks.close()
    desk.store.close()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.005)


# ---------------------------------------------------------------- granting


def test_a_free_path_is_granted_at_once(desk: Desk) -> None:
    """The lock names its holder, its lease and its number."""
    lock = desk.take("alice", "a", client="laptop", lease_seconds=45)
    assert (lock.account, lock.client, lock.lease_seconds, lock.seconds_left) == ("alice", "laptop", 45, 45)
    assert lock.until_at == desk.machine.wall() + 45


def test_a_held_path_is_refused_with_its_holder_and_expiry(desk: Desk) -> None:
    """Locked says who, on which client, which number, until when, how long, and the place in line."""
    held = desk.take("bob", "a", client="desk")
    desk.machine.advance(20)
    with pytest.raises(Locked) as refusal:
        desk.ask("alice", "a")
    assert refusal.value.facts == {
        "holder": "bob", "client": "desk", "lock_number": held.number,
        "until_at": desk.machine.wall() + 40, "seconds_left": 40, "place": 1,
    }  # fmt: skip
    assert "bob (desk)" in str(refusal.value)
    assert desk.line() == []


def test_numbers_only_rise_even_over_restarts(desk: Desk) -> None:
    """Every grant has a higher number than all before it, also after the locks are gone and the directory restarts."""
    numbers = []
    for _ in range(3):
        lock = desk.take("alice", "a")
        numbers.append(lock.number)
        desk.locks.release("alice", lock.id)
        desk.restart()
    assert numbers == sorted(set(numbers))


def test_several_paths_are_all_or_nothing(desk: Desk) -> None:
    """When one of the paths is held, none is taken; when all are free, one lock covers them."""
    held = desk.take("bob", "b")
    with pytest.raises(Locked):
        desk.ask("alice", "a", "b", "c")
    assert desk.holders() == {"b": "bob"}
    desk.locks.release("bob", held.id)
    lock = desk.take("alice", "c", "a", "b", "a")
    assert [path.path for path in lock.paths] == ["a", "b", "c"]
    assert [desk.fence(path) for path in "abc"] == [lock.number] * 3


def test_the_same_request_never_takes_two_locks(desk: Desk) -> None:
    """A repeated acquire answers with the lock it already has."""
    id = desk.new_id()
    assert desk.take("alice", "a", request_id=id).number == desk.take("alice", "a", request_id=id).number
    assert len(desk.locks.list().locks) == 1


def test_a_late_repeat_takes_no_second_lock(desk: Desk) -> None:
    """A repeat that arrives after its lock was released is refused, instead of locking for nobody."""
    id = desk.new_id()
    desk.locks.release("alice", desk.take("alice", "a", request_id=id).id)
    with pytest.raises(LockStale):
        desk.ask("alice", "a", request_id=id)
    assert desk.holders() == {}


def test_a_request_id_is_for_one_set_of_paths(desk: Desk) -> None:
    """Reusing an id for other paths is the caller's mistake and says so."""
    id = desk.new_id()
    desk.take("alice", "a", request_id=id)
    with pytest.raises(BadRequest):
        desk.ask("alice", "b", request_id=id)


def test_whoever_may_not_use_the_bucket_cannot_lock_in_it(tmp_path: Path) -> None:
    """`may_lock` is asked inside the transaction, and its refusal leaves nothing behind."""

    def refuse(tx: object, bucket: str, path: str, account: str) -> None:
        raise Forbidden(f"{account} may not use {bucket}")

    desk = Desk(tmp_path, may_lock=refuse)
    with pytest.raises(Forbidden):
        desk.ask("alice", "a")
    assert desk.holders() == {}
    desk.store.close()


# ---------------------------------------------------------------- the queue


def test_the_queue_is_fair(desk: Desk) -> None:
    """Who came first is next, and the answer shows the place and the holder in the way."""
    first = desk.take("alice", "a")
    reply = desk.ask("bob", "a", queue=True)
    assert reply.waiter is not None
    assert (reply.waiter.place, reply.holders[0].account, reply.holders[0].waiters) == (1, "alice", 1)
    desk.queue("carol", "a")
    assert desk.line() == [("bob", 1), ("carol", 2)]
    desk.locks.release("alice", first.id)
    assert (desk.holders(), desk.line()) == ({"a": "bob"}, [("carol", 1)])


def test_a_newcomer_does_not_overtake(desk: Desk) -> None:
    """A path that is free but promised to an earlier waiter is not given away."""
    desk.take("alice", "a")
    desk.queue("bob", "a", "b")
    with pytest.raises(Locked) as refusal:
        desk.ask("carol", "b")
    assert "goes next to bob" in str(refusal.value)
    assert refusal.value.facts["place"] == 2


def test_a_wait_for_other_paths_is_not_held_up(desk: Desk) -> None:
    """Fairness is per path: an earlier waiter that wants something else is no obstacle."""
    desk.take("alice", "a")
    desk.queue("bob", "a")
    assert desk.take("carol", "c").number


def test_giving_up_a_place_lets_those_behind_go_on(desk: Desk) -> None:
    """When the waiter in between leaves, the one that only waited for it is granted its lock."""
    desk.take("alice", "a")
    bob = desk.queue("bob", "a", "b")
    desk.queue("carol", "b")
    desk.locks.release("bob", bob)
    assert desk.holders() == {"a": "alice", "b": "carol"}


def test_asking_again_keeps_the_place(desk: Desk) -> None:
    """The same request id keeps its place in line, never a second one, and gets the lock when it is granted."""
    held = desk.take("alice", "a")
    bob = desk.queue("bob", "a")
    desk.queue("carol", "a")
    desk.queue("bob", "a", request_id=bob)
    assert desk.line() == [("bob", 1), ("carol", 2)]
    desk.locks.release("alice", held.id)
    assert desk.take("bob", "a", request_id=bob, queue=True).account == "bob"


def test_a_place_that_nobody_asks_about_is_lost(desk: Desk) -> None:
    """After `waiter_grace` seconds without a poll the place is gone, and the next in line moves up."""
    desk.take("alice", "a", lease_seconds=600)
    desk.queue("bob", "a")
    desk.machine.advance(20)
    carol = desk.queue("carol", "a")
    desk.machine.advance(20)
    desk.queue("carol", "a", request_id=carol)
    assert desk.line() == [("carol", 1)]


def test_a_waiting_caller_wakes_with_the_lock(desk: Desk) -> None:
    """A caller on hold is answered as soon as the lock before it is released."""
    held = desk.take("alice", "a")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(desk.take, "bob", "a", wait_seconds=30)
        until(lambda: desk.line() == [("bob", 1)])
        started = time.monotonic()
        desk.locks.release("alice", held.id)
        assert waiting.result(25).account == "bob"
        assert time.monotonic() - started < 25


def test_a_wait_that_is_over_leaves_no_place(desk: Desk) -> None:
    """Without `queue`, the end of the wait is a refusal and the place is removed."""
    desk.take("alice", "a")
    with pytest.raises(Locked):
        desk.ask("bob", "a", wait_seconds=0.05)
    assert desk.line() == []


def test_a_wait_that_is_over_keeps_the_place_when_asked_to(desk: Desk) -> None:
    """With `queue`, the end of the wait answers the place in line."""
    desk.take("alice", "a")
    reply = desk.ask("bob", "a", wait_seconds=0.05, queue=True)
    assert reply.waiter is not None
    assert desk.line() == [("bob", 1)]


def test_callers_on_hold_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound a caller is answered at once with its place, so that waiting never takes every thread."""
    desk = Desk(tmp_path, max_blocked=1)
    desk.take("alice", "a")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(desk.ask, "bob", "a", wait_seconds=30, queue=True)
        until(lambda: desk.line() == [("bob", 1)])
        started = time.monotonic()
        reply = desk.ask("carol", "a", wait_seconds=30, queue=True)
        assert reply.waiter is not None
        assert reply.waiter.place == 2
        assert time.monotonic() - started < 25
        desk.locks.close()
        assert first.result(25).waiter is not None
    desk.store.close()


def test_giving_up_from_elsewhere_ends_the_wait(desk: Desk) -> None:
    """Releasing the request id answers the caller that is on hold for it."""
    desk.take("alice", "a")
    id = desk.new_id()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(desk.ask, "bob", "a", wait_seconds=30, request_id=id)
        until(lambda: desk.line() == [("bob", 1)])
        desk.locks.release("bob", id)
        with pytest.raises(Locked):
            waiting.result(25)
    assert desk.line() == []


# ---------------------------------------------------------------- deadlocks


def test_a_wait_that_closes_a_cycle_is_refused_by_name(desk: Desk) -> None:
    """Alice holds b and wants a, bob holds a and wants b: the second wait is refused and names both."""
    desk.take("bob", "a", client="desk")
    desk.take("alice", "b", client="laptop")
    desk.queue("bob", "b", client="desk")
    with pytest.raises(Deadlock) as refusal:
        desk.ask("alice", "a", client="laptop", queue=True)
    assert "alice (laptop) waits for files/a held by bob (desk), who waits for files/b held by alice (laptop)" in str(
        refusal.value
    )
    assert desk.line() == [("bob", 1)]


def test_a_cycle_through_the_queue_is_refused(desk: Desk) -> None:
    """Standing behind an earlier waiter for an overlapping path counts as waiting for it."""
    desk.take("alice", "a")
    desk.take("carol", "c")
    desk.queue("bob", "a", "b")
    desk.queue("alice", "c")
    with pytest.raises(Deadlock):
        desk.ask("carol", "b", queue=True)


def test_a_cycle_through_the_own_place_in_a_line_is_refused(desk: Desk) -> None:
    """Whoever stands behind a party waits for it, also behind the place that it has beside the one it asks for."""
    desk.take("ann", "a")
    desk.queue("eva", "a")
    desk.queue("bob", "a")
    with pytest.raises(Deadlock, match="eva waits for files/a which goes first to bob, who waits for files/a"):
        desk.queue("eva", "a")
    desk.take("bob", "b")
    with pytest.raises(Deadlock, match="eva waits for files/b held by bob, who waits for files/a"):
        desk.queue("eva", "b")


def test_a_long_line_is_searched_once_for_each_place(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining costs in proportion to the line, not to its square: all writers wait meanwhile."""
    looked_at = count()

    def wait(*args: Any, **more: Any) -> Wait:
        next(looked_at)
        return Wait(*args, **more)

    desk.take("ann", "hot")
    for number in range(60):
        desk.queue("ann", "hot", client=f"agent-{number}")
    desk.take("bob", "other")
    monkeypatch.setattr(lock_rules, "Wait", wait)
    desk.queue("bob", "hot")
    assert next(looked_at) < 4 * 60


def test_trying_without_waiting_is_no_deadlock(desk: Desk) -> None:
    """A request that does not wait is told who holds the path."""
    desk.take("bob", "a")
    desk.take("alice", "b")
    desk.queue("bob", "b")
    with pytest.raises(Locked):
        desk.ask("alice", "a")


def test_threads_of_one_client_may_queue_behind_each_other(desk: Desk) -> None:
    """The same party waiting for its own lock is a queue: it is granted when the first lets go."""
    first = desk.take("alice", "a", client="laptop")
    id = desk.queue("alice", "a", client="laptop")
    desk.locks.release("alice", first.id)
    assert desk.take("alice", "a", client="laptop", request_id=id).number > first.number


# ---------------------------------------------------------------- leases


def test_a_lease_that_ends_frees_the_path(desk: Desk) -> None:
    """After the lease the next in line has the lock, without anyone asking: the job's step is enough."""
    desk.take("alice", "a", lease_seconds=10)
    desk.queue("bob", "a")
    assert 0 < desk.locks.step() <= 1.0
    desk.machine.advance(10)
    desk.locks.step()
    assert desk.holders() == {"a": "bob"}


def test_stepping_the_wall_clock_ends_nothing(desk: Desk) -> None:
    """Leases are judged by directory time: an hour forwards or back on the wall changes nothing."""
    lock = desk.take("alice", "a", lease_seconds=60)
    desk.machine.step_wall(3600)
    assert desk.check("alice", "a", lock.number) == lock.number
    desk.machine.step_wall(-7200)
    desk.machine.advance(61)
    assert desk.holders() == {}


def test_renewing_counts_the_lease_anew(desk: Desk) -> None:
    """A renewed lock lasts its lease from the renewal on, or the new lease that was asked for."""
    lock = desk.take("alice", "a", lease_seconds=60)
    desk.machine.advance(50)
    assert desk.locks.renew("alice", lock.id).seconds_left == 60
    assert desk.locks.renew("alice", lock.id, 120).seconds_left == 120
    desk.machine.advance(110)
    assert desk.holders() == {"a": "alice"}


def test_an_ended_lease_is_not_renewed(desk: Desk) -> None:
    """A renewal that comes too late is refused, even when nobody else wanted the path."""
    lock = desk.take("alice", "a", lease_seconds=60)
    desk.machine.advance(60)
    with pytest.raises(LockStale):
        desk.locks.renew("alice", lock.id)


def test_a_restart_gives_the_full_lease_again(desk: Desk) -> None:
    """A surviving lock is neither shortened by a restart nor lost, and its number stays."""
    lock = desk.take("alice", "a", lease_seconds=60)
    waiter = desk.queue("bob", "a")
    desk.machine.advance(50)
    desk.queue("bob", "a", request_id=waiter)
    desk.restart()
    desk.machine.advance(29)
    assert desk.line() == [("bob", 1)]
    desk.machine.advance(30)
    assert desk.check("alice", "a", lock.number) == lock.number
    desk.machine.advance(2)
    with pytest.raises(LockStale):
        desk.check("alice", "a", lock.number)


def test_a_restart_never_revives_a_lock_that_was_seen_to_end(desk: Desk) -> None:
    """Once a refusal has said that a lease is over, the lock stays gone after a restart."""
    lock = desk.take("alice", "a", lease_seconds=10)
    desk.machine.advance(11)
    with pytest.raises(LockStale):
        desk.check("alice", "a", lock.number)
    desk.restart()
    assert desk.holders() == {}


# ---------------------------------------------------------------- release and break


def test_only_the_owner_releases_and_renews(desk: Desk) -> None:
    """Someone else's attempt is refused and changes nothing."""
    lock = desk.take("alice", "a")
    with pytest.raises(Forbidden):
        desk.locks.release("bob", lock.id)
    with pytest.raises(Forbidden):
        desk.locks.renew("bob", lock.id)
    assert desk.holders() == {"a": "alice"}


def test_release_is_safe_to_repeat_and_knows_what_never_was(desk: Desk) -> None:
    """A second release of the same lock is quiet; one of an unknown lock says so."""
    lock = desk.take("alice", "a")
    desk.locks.release("alice", lock.id)
    desk.locks.release("alice", lock.id)
    with pytest.raises(NotFound):
        desk.locks.release("alice", "lock-999")
    with pytest.raises(NotFound):
        desk.locks.release("alice", "no such request id")


def test_release_by_number_and_by_request_id(desk: Desk) -> None:
    """A lock can be named by its number or by the request that took it."""
    desk.locks.release("alice", str(desk.take("alice", "a").number))
    id = desk.new_id()
    desk.take("alice", "a", request_id=id)
    desk.locks.release("alice", id)
    assert desk.holders() == {}


def test_breaking_hands_on_and_refuses_the_broken_holder(desk: Desk) -> None:
    """After a break the next in line has the path, and the broken holder's write is refused by number."""
    lock = desk.take("alice", "a")
    desk.queue("bob", "a")
    desk.locks.break_lock(lock.id, ADMIN)
    assert desk.holders() == {"a": "bob"}
    with pytest.raises(LockStale) as refusal:
        desk.check("alice", "a", lock.number)
    assert refusal.value.facts["holder"] == "bob"
    with pytest.raises(NotFound):
        desk.locks.break_lock(lock.id, ADMIN)


# ---------------------------------------------------------------- writes


def test_a_write_to_an_unlocked_path_needs_no_number(desk: Desk) -> None:
    """Without a lock there is nothing to show."""
    assert desk.check("alice", "a", None) == 0


def test_a_write_without_the_number_is_refused_to_everyone(desk: Desk) -> None:
    """Also the holder must show the number: another program of the same person may be writing."""
    desk.take("alice", "a")
    for who in ("bob", "alice"):
        with pytest.raises(Locked) as refusal:
            desk.check(who, "a", None)
        assert refusal.value.facts["holder"] == "alice"


def test_wrong_numbers_are_stale(desk: Desk) -> None:
    """An old number, an invented one, one of another path, and another person's are refused alike."""
    old = desk.take("alice", "a")
    desk.locks.release("alice", old.id)
    lock, other = desk.take("alice", "a"), desk.take("alice", "b")
    for who, number in (("alice", old.number), ("alice", 999), ("alice", other.number), ("bob", lock.number)):
        with pytest.raises(LockStale):
            desk.check(who, "a", number)
    assert desk.check("alice", "a", lock.number) == lock.number


def test_release_in_a_transaction_wakes_the_next_after_the_commit(desk: Desk) -> None:
    """A commit that releases its lock hands the path on, and a waiting caller hears of it."""
    lock = desk.take("alice", "a")
    with ThreadPoolExecutor() as pool:
        waiting: Future[LockInfo] = pool.submit(desk.take, "bob", "a", wait_seconds=30)
        until(lambda: desk.line() == [("bob", 1)])
        desk.store.write(lambda tx: desk.locks.release_in(tx, "alice", lock.number))
        assert waiting.result(25).account == "bob"


def test_a_transaction_that_fails_releases_nothing(desk: Desk) -> None:
    """When the commit is refused, the lock is still held and the waiter still waits."""
    lock = desk.take("alice", "a")
    desk.queue("bob", "a")

    def refused(tx: object) -> None:
        desk.locks.release_in(tx, "alice", lock.number)  # type: ignore[arg-type]
        raise NotFound("the commit is refused")

    with pytest.raises(NotFound):
        desk.store.write(refused)
    assert (desk.holders(), desk.line()) == ({"a": "alice"}, [("bob", 1)])
    desk.locks.release("alice", lock.id)
    assert desk.holders() == {"a": "bob"}


def test_fences_outlive_their_locks(desk: Desk) -> None:
    """A path remembers the highest lock number it was ever locked under."""
    assert desk.fence("a") == 0
    lock = desk.take("alice", "a")
    desk.locks.release("alice", lock.id)
    desk.restart()
    assert desk.fence("a") == lock.number


def test_many_threads_on_one_path_exclude_each_other(desk: Desk) -> None:
    """Eight threads take turns on one path: nobody is ever inside together with another, everybody gets in."""
    inside, worst, turns = [0], [0], [0]
    gate = threading.Lock()

    def work(who: str) -> None:
        for _ in range(10):
            lock = desk.take(who, "a", wait_seconds=30)
            with gate:
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                turns[0] += 1
            with gate:
                inside[0] -= 1
            desk.locks.release(who, lock.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [f"person {n}" for n in range(8)]))
    assert (worst[0], turns[0]) == (1, 80)
