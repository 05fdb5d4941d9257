"""The right to lock is checked when a lock is granted, handed on and renewed; a lock ends with its bucket."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from directory_server.locks.lock_manager import LockManager
from directory_server.metadata.statements import buckets, waiters
from directory_server.metadata.store import Reader, Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import Forbidden, LockStale, NotFound
from lockstep_store.wire.messages.locks import AcquireReply, AcquireRequest, LockPath
from tests.unit.directory_server.locks.lock_rig import LockRig
from tests.waiting import wait_until

BUCKETS = ("files", "hers", "other")


class SharedDesk(LockRig):
    """Locks in buckets that exist, and that accounts may lose the right to."""

    def __init__(self, folder: Path) -> None:
        self.barred: set[tuple[str, str]] = set()
        super().__init__(folder, may_lock=self._may_lock)
        for name in BUCKETS:
            self.make_bucket(name, owner="eve")

    def _may_lock(self, reader: Reader, bucket: str, path: str, account: str) -> None:
        if buckets.find(reader, bucket) is None:
            raise NotFound(f"no bucket {bucket}")
        if (account, bucket) in self.barred:
            raise Forbidden(f"{account} may not lock in {bucket}")

    def make_bucket(self, name: str, owner: str) -> None:
        made = buckets.Bucket(name, owner, "off", True, 0.0)
        self.store.write(lambda tx: buckets.insert_bucket(tx, made))

    def delete_bucket(self, name: str) -> None:
        def work(tx: object) -> None:
            self.locks.end_bucket(tx, name)  # type: ignore[arg-type]
            buckets.delete_bucket(tx, name)  # type: ignore[arg-type]

        self.store.write(work)

    def ask_for(self, who: str, *paths: LockPath, **more: object) -> AcquireReply:
        request = AcquireRequest("", list(paths), self.new_id(), **more)  # type: ignore[arg-type]
        return self.locks.acquire(who, f"session of {who}", "", request)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SharedDesk]:
    desk = SharedDesk(tmp_path)
    yield desk
    desk.locks.close()
    desk.store.close()


def waiting(locks: LockManager, count: int) -> None:
    """Until so many callers are blocked."""
    wait_until(lambda: len(locks._waiting._events) >= count)


def test_a_renewal_without_the_right_is_refused(desk: SharedDesk) -> None:
    """The lock ends with its lease: the account cannot keep others out of a path that it may no longer write."""
    lock = desk.take("bob", "a")
    desk.barred.add(("bob", "files"))

    with pytest.raises(Forbidden):
        desk.locks.renew("bob", lock.id)
    assert desk.holders() == {"a": "bob"}
    desk.machine.advance(lock.lease_seconds)
    desk.locks.step()
    assert desk.holders() == {}
    with pytest.raises(LockStale):
        desk.locks.renew("bob", lock.id)


def test_a_holder_keeps_its_lock_while_it_keeps_the_right(desk: SharedDesk) -> None:
    """Rights that others lose do not touch the lock."""
    lock = desk.take("bob", "a")
    desk.barred.add(("carol", "files"))
    assert desk.locks.renew("bob", lock.id).number == lock.number


def test_waiters_without_the_right_are_skipped(desk: SharedDesk) -> None:
    """A freed path goes to the first waiter that still may lock all of its paths."""
    lock = desk.take("ann", "a", "b")
    desk.queue("bob", "a", "b")
    desk.queue("bob", "a")
    desk.queue("carol", "b")
    desk.queue("dora", "a")
    desk.barred.add(("bob", "files"))
    desk.locks.release("ann", lock.id)
    assert (desk.holders(), desk.line()) == ({"a": "dora", "b": "carol"}, [])


def test_a_long_line_without_rights_is_skipped_in_one_step(desk: SharedDesk) -> None:
    """However many waiters lost the right, the next that has it gets the lock."""
    lock = desk.take("ann", "a")
    desk.queue("bob", "a")

    def join_the_line(tx: Tx) -> None:  # by rows: each call would search the whole line for a deadlock
        (bob,) = waiters.waiters_after(tx, 0, 10)
        for _ in range(1099):
            waiters.insert_waiter(tx, replace(bob, request_id=desk.new_id()))

    desk.store.write(join_the_line)
    assert len(desk.line()) == 1100
    desk.queue("carol", "a")
    desk.barred.add(("bob", "files"))
    desk.locks.release("ann", lock.id)
    assert (desk.holders(), desk.line()) == ({"a": "carol"}, [])


def test_a_skipped_caller_gets_the_refusal(desk: SharedDesk) -> None:
    """A caller that is still waiting gets Forbidden at once, with and without a place to keep."""
    lock = desk.take("ann", "a")
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(desk.ask_for, "bob", LockPath("files", "a"), wait_seconds=60.0, queue=queue)
            for queue in (False, True)
        ]
        waiting(desk.locks, 2)
        desk.barred.add(("bob", "files"))
        desk.locks.release("ann", lock.id)
        for call in calls:
            with pytest.raises(Forbidden):
                call.result(timeout=30)
    assert desk.line() == []


def test_the_end_of_a_bucket_ends_its_locks_and_places(desk: SharedDesk) -> None:
    """A later bucket of the same name starts without them; paths in other buckets go to the next in line."""
    desk.ask_for("bob", LockPath("hers", "a"), LockPath("other", "b"))
    desk.ask_for("carol", LockPath("hers", "a"), queue=True)
    desk.ask_for("dora", LockPath("other", "b"), queue=True)
    desk.delete_bucket("hers")
    desk.make_bucket("hers", owner="frida")
    assert [(lock.account, lock.paths) for lock in desk.locks.list().locks] == [("dora", [LockPath("other", "b")])]
    assert desk.line() == []
    assert desk.ask_for("frida", LockPath("hers", "a")).lock is not None


def test_the_end_of_a_bucket_keeps_its_fences(desk: SharedDesk) -> None:
    """File servers remember fences by path, and would refuse the later bucket's writes below them."""
    lock = desk.ask_for("bob", LockPath("hers", "a")).lock
    assert lock is not None
    desk.delete_bucket("hers")
    with desk.store.read() as reader:
        assert desk.locks.fence(reader, "hers", "a") == lock.number


def test_callers_that_wait_in_a_deleted_bucket_get_not_found(desk: SharedDesk) -> None:
    """They are woken when the bucket is deleted, long before their time is up."""
    desk.ask_for("ann", LockPath("hers", "a"))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(desk.ask_for, "bob", LockPath("hers", "a"), wait_seconds=60.0)
        waiting(desk.locks, 1)
        desk.delete_bucket("hers")
        with pytest.raises(NotFound):
            call.result(timeout=30)


def test_the_owner_of_a_bucket_breaks_locks_in_it(desk: SharedDesk) -> None:
    """One path in the bucket is enough; everyone else but an administrator is refused."""
    first = desk.ask_for("bob", LockPath("hers", "a"), LockPath("other", "b")).lock
    assert first is not None
    with pytest.raises(Forbidden):
        desk.locks.break_lock(first.id, Person("carol", False, ""))
    desk.locks.break_lock(first.id, Person("eve", False, ""))
    second = desk.ask_for("bob", LockPath("hers", "a")).lock
    assert second is not None
    desk.locks.break_lock(second.id, Person("root", True, ""))
    assert desk.locks.list().locks == []
