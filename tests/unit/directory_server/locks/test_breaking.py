"""Breaking a lock with a reason: who gets to know it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from directory_server.metadata.store import Tx
from directory_server.people.person import Person
from lockstep_store.wire.errors import LockStale, NotFound
from tests.unit.directory_server.locks.lock_rig import ADMIN, LockRig

REASON = "You left for the holidays."


class Book:
    """Collects security events, as the audit would get them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def note(self, kind: str, account: str, *, subject: str = "", address: str = "", detail: str = "") -> None:
        raise AssertionError("outside the transaction of the change")

    def write(self, tx: Tx, kind: str, account: str, subject: str = "", address: str = "", detail: str = "") -> None:
        self.events.append((kind, account, subject, detail))


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def rig(tmp_path: Path, book: Book) -> Iterator[LockRig]:
    rig = LockRig(tmp_path, audit=book)
    yield rig
    rig.locks.close()
    rig.store.close()


def refusal(call: Callable[[], object]) -> LockStale:
    with pytest.raises(LockStale) as refused:
        call()
    return refused.value


def test_the_holder_learns_who_broke_the_lock_and_why(rig: LockRig, book: Book) -> None:
    """At the next renewal, by any of the lock's names, and at the next write; the audit has it too."""
    request = rig.new_id()
    lock = rig.take("alice", "a", "b", request_id=request)
    rig.locks.break_lock(lock.id, ADMIN, REASON)
    for refused in (
        refusal(lambda: rig.locks.renew("alice", lock.id)),
        refusal(lambda: rig.locks.renew("alice", request)),
        refusal(lambda: rig.check("alice", "b", lock.number)),
    ):
        assert f"admin broke it and gave the reason '{REASON}'" in str(refused)
        assert (refused.facts["broken_by"], refused.facts["reason"]) == ("admin", REASON)
    assert book.events == [("lock broken", "admin", "files/a, files/b", f"lock {lock.number} of alice: {REASON}")]


def test_a_reason_is_optional(rig: LockRig, book: Book) -> None:
    """Without one the holder still learns who it was."""
    lock = rig.take("alice", "a")
    rig.locks.break_lock(lock.id, ADMIN)
    refused = refusal(lambda: rig.locks.renew("alice", lock.id))
    assert "admin broke it. Take the lock again" in str(refused)
    assert (refused.facts["broken_by"], refused.facts["reason"]) == ("admin", "")
    assert book.events == [("lock broken", "admin", "files/a", f"lock {lock.number} of alice")]


def test_nobody_else_learns_the_reason(rig: LockRig) -> None:
    """A stranger who tries the lock's number, and a holder whose lock just ended, hear nothing of it."""
    lock, other = rig.take("alice", "a"), rig.take("bob", "b")
    rig.locks.break_lock(lock.id, ADMIN, REASON)
    rig.locks.release("bob", other.id)
    for refused in (
        refusal(lambda: rig.locks.renew("bob", lock.id)),
        refusal(lambda: rig.check("bob", "a", lock.number)),
        refusal(lambda: rig.locks.renew("bob", other.id)),
    ):
        assert REASON not in str(refused)
        assert not {"broken_by", "reason"} & refused.facts.keys()


def test_a_tenant_learns_no_name_from_outside(rig: LockRig) -> None:
    """An administrator of the cluster stays nameless for a tenant's holder; one of the tenant does not."""
    first, second = rig.take(r"acme\ann", "a"), rig.take(r"acme\ann", "b")
    rig.locks.break_lock(first.id, ADMIN, REASON)
    rig.locks.break_lock(second.id, Person(r"acme\boss", True, ""), REASON)
    from_outside = refusal(lambda: rig.locks.renew(r"acme\ann", first.id))
    assert (from_outside.facts["broken_by"], from_outside.facts["reason"]) == ("", REASON)
    assert "an administrator broke it" in str(from_outside)
    assert refusal(lambda: rig.locks.renew(r"acme\ann", second.id)).facts["broken_by"] == r"acme\boss"


def test_a_lock_that_cannot_be_broken_leaves_no_trace(rig: LockRig, book: Book) -> None:
    """A refused break notes nothing."""
    with pytest.raises(NotFound):
        rig.locks.break_lock("lock-77", ADMIN, REASON)
    assert book.events == []
