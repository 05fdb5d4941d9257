"""The revision of the locks, and callers that wait for another one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from directory_server.locks.lock_changes import LockChanges
from lockstep_store.wire.errors import Locked
from lockstep_store.wire.messages.locks import LockChangesRequest
from tests.unit.directory_server.locks.lock_rig import LockRig
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.usefixtures("every_engine")


def revision(rig: LockRig) -> int:
    return rig.locks.changes.wait(LockChangesRequest()).revision


def a_line(rig: LockRig) -> tuple[str, str]:
    """Alice's lock and Bob's place behind it, by their ids."""
    return rig.take("alice", "a", lease_seconds=60).id, rig.queue("bob", "a")


def expire(rig: LockRig) -> None:
    rig.machine.advance(61)
    rig.locks.step()


CHANGES: dict[str, Callable[[LockRig, str, str], object]] = {
    "acquire": lambda rig, lock, place: rig.take("carol", "c"),
    "queue": lambda rig, lock, place: rig.queue("carol", "a"),
    "release": lambda rig, lock, place: rig.locks.release("alice", lock),
    "give up": lambda rig, lock, place: rig.locks.release("bob", place),
    "expiry": lambda rig, lock, place: expire(rig),
    "bucket deleted": lambda rig, lock, place: rig.store.write(lambda tx: rig.locks.end_bucket(tx, "files")),
    "account deleted": lambda rig, lock, place: rig.store.write(lambda tx: rig.locks.end_account(tx, "bob")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_has_a_higher_revision(rig: LockRig, change: str) -> None:
    """Whatever makes a lock or a place in line come or go, and once it is committed."""
    lock, place = a_line(rig)
    before = revision(rig)
    CHANGES[change](rig, lock, place)
    assert revision(rig) > before


def test_what_changes_no_lock_keeps_the_revision(rig: LockRig) -> None:
    """Renewals, refusals, listings, repeats of a request, and transactions that fail."""
    lock, place = a_line(rig)
    before = revision(rig)
    rig.locks.renew("alice", lock)
    rig.queue("bob", "a", request_id=place)
    with pytest.raises(Locked):
        rig.ask("carol", "a")
    rig.locks.list()

    def fail(tx: object) -> None:
        rig.locks.end_bucket(tx, "files")  # type: ignore[arg-type]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        rig.store.write(fail)
    assert revision(rig) == before


def test_a_restart_repeats_no_revision(rig: LockRig) -> None:
    """Who asks a restarted directory with an earlier revision is answered at once."""
    a_line(rig)
    before = revision(rig)
    rig.machine.advance(1)
    rig.restart()
    assert revision(rig) > before
    request = LockChangesRequest(seen=before, wait_seconds=PATIENCE_SECONDS)
    assert rig.locks.changes.wait(request).revision == revision(rig)


def test_a_change_answers_all_who_wait(rig: LockRig) -> None:
    """With the revision that includes it."""
    seen = revision(rig)
    request = LockChangesRequest(seen=seen, wait_seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(rig.locks.changes.wait, request) for _ in range(2)]
        wait_until(lambda: rig.locks.changes.followers == 2, what="both wait")
        assert not any(wait.done() for wait in waits)
        rig.take("alice", "a")
        assert {wait.result(PATIENCE_SECONDS).revision for wait in waits} == {seen + 1}


def test_a_wait_ends_in_time() -> None:
    """Without a change, with the revision that was seen."""
    changes = LockChanges(7)
    assert changes.wait(LockChangesRequest(seen=7, wait_seconds=0.01)).revision == 7


def test_waits_are_bounded_and_end_with_the_directory() -> None:
    """Who finds no place is answered at once, and so is everybody when the directory stops."""
    changes = LockChanges(7, max_followers=1)
    request = LockChangesRequest(seen=7, wait_seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(changes.wait, request)
        wait_until(lambda: changes.followers == 1, what="one waits")
        assert changes.wait(request).revision == 7
        assert not waiting.done()
        changes.close()
        assert waiting.result(PATIENCE_SECONDS).revision == 7
    assert changes.wait(request).revision == 7
    assert changes.followers == 0
