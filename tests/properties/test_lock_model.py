"""Locks against a simple model: whatever is done in whatever order, restarts included, both agree."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.locks.lock_manager import LockManager
from directory_server.metadata.engines.sqlite.store import SqliteStore
from directory_server.people.person import Person
from lockstep_store.wire.errors import Deadlock, Locked, LockStale
from lockstep_store.wire.messages.locks import AcquireRequest, LockPath
from tests.fakes.clock import ManualClock

GRACE = 30.0
PEOPLE = ("alice", "bob", "carol", "dave")
PATHS = ("a", "b", "c")

people = st.sampled_from(PEOPLE)
path_sets = st.frozensets(st.sampled_from(PATHS), min_size=1)
leases = st.sampled_from((10.0, 25.0, 60.0))


@dataclass
class Claim:
    """A lock (with its number) or a place in the queue (number 0), as the model sees it."""

    request_id: str
    who: str
    paths: frozenset[str]
    lease: float
    ends: float
    number: int = 0


class Locks(RuleBasedStateMachine):
    """The model: lists of claims and the rules in their plainest form."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-model-"))
        self.machine = ManualClock()
        self.ids = count(1)
        self.held: list[Claim] = []
        self.queue: list[Claim] = []
        self.ended: list[Claim] = []
        self.highest = 0

    @initialize()
    def open(self, saved: float = 0.0) -> None:
        self.clock = DirectoryClock(self.machine, saved)
        self.store = SqliteStore(self.folder / "metadata.db")
        self.locks = LockManager(self.store, self.clock, waiter_grace=GRACE)
        self.locks.start()

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # -------------------------------------------------------- the model's rules

    def free(self, paths: frozenset[str], earlier: list[Claim]) -> bool:
        return not any(paths & claim.paths for claim in [*self.held, *earlier])

    def settle(self) -> None:
        """End what is over, then grant in the order of arrival, overtaking nobody."""
        now = self.clock.now()
        self.ended += [claim for claim in self.held if claim.ends <= now]
        self.held = [claim for claim in self.held if claim.ends > now]
        self.queue = [claim for claim in self.queue if claim.ends > now]
        granted = True
        while granted:
            granted = False
            for place, claim in enumerate(self.queue):
                if self.free(claim.paths, self.queue[:place]):
                    self.queue.remove(claim)
                    claim.ends, claim.number = now + claim.lease, -1
                    self.held.append(claim)
                    granted = True
                    break

    def would_deadlock(self, who: str, paths: frozenset[str]) -> bool:
        waits: dict[str, set[str]] = {}
        line = [*self.queue, Claim("", who, paths, 0, 0)]
        for place, claim in enumerate(line):
            before = {other.who for other in [*self.held, *line[:place]] if other.paths & claim.paths}
            waits.setdefault(claim.who, set()).update(before - {claim.who})
        seen, border = set(), set(waits[who])
        while border:
            seen |= border
            border = {other for person in border for other in waits.get(person, ())} - seen
        return who in seen

    # -------------------------------------------------------- what can happen

    def ask(self, request_id: str, who: str, paths: frozenset[str], lease: float, queue: bool):  # type: ignore[no-untyped-def]
        request = AcquireRequest(
            credential="", paths=[LockPath("files", path) for path in paths], request_id=request_id,
            lease_seconds=lease, queue=queue,
        )  # fmt: skip
        return self.locks.acquire(who, "", who, request)

    @rule(who=people, paths=path_sets, lease=leases, queue=st.booleans())
    def acquire(self, who: str, paths: frozenset[str], lease: float, queue: bool) -> None:
        self.settle()
        claim = Claim(f"request-{next(self.ids):012d}", who, paths, lease, 0.0)
        if self.free(paths, self.queue):
            lock = self.ask(claim.request_id, who, paths, lease, queue).lock
            assert lock.number > self.highest
            claim.ends, claim.number = self.clock.now() + lease, lock.number
            self.held.append(claim)
        elif not queue:
            with pytest.raises(Locked):
                self.ask(claim.request_id, who, paths, lease, queue)
        elif self.would_deadlock(who, paths):
            with pytest.raises(Deadlock):
                self.ask(claim.request_id, who, paths, lease, queue)
        else:
            assert self.ask(claim.request_id, who, paths, lease, queue).waiter is not None
            claim.ends = self.clock.now() + GRACE
            self.queue.append(claim)

    @precondition(lambda self: self.held or self.queue)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from([*self.held, *self.queue]))
        reply = self.ask(claim.request_id, claim.who, claim.paths, claim.lease, True)
        if claim in self.held:
            assert reply.lock.number == claim.number
        else:
            claim.ends = self.clock.now() + GRACE
            assert reply.waiter.id == claim.request_id

    @precondition(lambda self: self.held)
    @rule(data=st.data(), by_admin=st.booleans())
    def release_or_break(self, data: st.DataObject, by_admin: bool) -> None:
        claim = data.draw(st.sampled_from(self.held))
        if by_admin:
            self.locks.break_lock(f"lock-{claim.number}", Person("admin", True, ""))
        else:
            self.locks.release(claim.who, claim.request_id)
        self.held.remove(claim)
        self.ended.append(claim)
        self.settle()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.queue))
        self.locks.release(claim.who, claim.request_id)
        self.queue.remove(claim)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.held))
        self.locks.renew(claim.who, f"lock-{claim.number}")
        claim.ends = self.clock.now() + claim.lease

    @rule(seconds=st.sampled_from((0.5, 9.0, 10.0, 30.0, 61.0)))
    def wait(self, seconds: float) -> None:
        self.machine.advance(seconds)
        self.settle()

    @rule()
    def restart(self) -> None:
        saved = self.clock.now()
        self.store.close()
        self.machine.advance(1000.0)
        self.open(saved)
        for claim in self.held:
            claim.ends = self.clock.now() + claim.lease
        for claim in self.queue:
            claim.ends = self.clock.now() + GRACE

    @rule(who=people, path=st.sampled_from(PATHS), data=st.data())
    def write(self, who: str, path: str, data: st.DataObject) -> None:
        numbers = sorted({claim.number for claim in [*self.held, *self.ended]})
        number = data.draw(st.sampled_from([None, *numbers]))
        holder = next((claim for claim in self.held if path in claim.paths), None)
        check = lambda: self.store.write(  # noqa: E731
            lambda tx: self.locks.check_write(tx, "files", path, who, number)
        )
        if number is None and holder is None:
            assert check() == 0
        elif number is None:
            with pytest.raises(Locked):
                check()
        elif holder is not None and (holder.number, holder.who) == (number, who):
            assert check() == number
        else:
            with pytest.raises(LockStale):
                check()

    # -------------------------------------------------------- what must always hold

    @invariant()
    def both_agree(self) -> None:
        listed = self.locks.list()
        numbers = {tuple(sorted(path.path for path in lock.paths)): lock.number for lock in listed.locks}
        for claim in self.held:
            number = numbers[tuple(sorted(claim.paths))]
            if claim.number == -1:
                assert number > self.highest
                claim.number = number
            assert number == claim.number
        self.highest = max([self.highest, *numbers.values()])
        assert len(listed.locks) == len(self.held)
        assert [waiter.id for waiter in listed.waiters] == [claim.request_id for claim in self.queue]
        paths = [path.path for lock in listed.locks for path in lock.paths]
        assert len(paths) == len(set(paths)), "two locks on one path"


EVERYDAY = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class TestLocks(Locks.TestCase):  # type: ignore[misc, name-defined]
    """A few dozen lives of a lock table."""

    settings = EVERYDAY


@pytest.mark.soak
@pytest.mark.timeout(3600)
class TestLocksForLong(Locks.TestCase):  # type: ignore[misc, name-defined]
    """The same with thousands, and longer ones."""

    settings = settings(EVERYDAY, max_examples=3000, stateful_step_count=80)
