"""Locks and places in line come in pages, each once, in order, with the right places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.locks import AcquireReply, AcquireRequest, LockPath
from tests.fakes.directory_rig import DirectoryRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DirectoryRig]:
    rig = DirectoryRig(tmp_path)
    yield rig
    rig.close()


def ask(rig: DirectoryRig, who: str, *paths: str) -> AcquireReply:
    wanted = [LockPath("files", path) for path in paths]
    request = AcquireRequest(who, wanted, request_id=f"{who}-{'-'.join(paths)}", queue=True)
    return rig.locks.acquire(who, f"session-{who}", "", request)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 8, 100])
def test_pages_of_any_size_have_the_same_locks_and_places(rig: DirectoryRig, limit: int) -> None:
    """A page ends in the middle of the locks, between locks and places, or among the places."""
    for path in "abc":
        ask(rig, "ann", path)
    for number in range(3):
        ask(rig, f"waits-{number}", "a")
    ask(rig, "both", "a", "b")
    whole = rig.locks.list()
    assert [lock.waiters for lock in whole.locks] == [4, 1, 0]
    assert [one.place for one in whole.waiters] == [1, 2, 3, 4]
    assert whole.next_after == ""
    locks, waiters, after = [], [], ""
    for _ in range(9):
        page = rig.locks.list(after, limit)
        assert len(page.locks) + len(page.waiters) <= limit
        locks += page.locks
        waiters += page.waiters
        after = page.next_after
        if not after:
            break
    assert [lock.number for lock in locks] == [lock.number for lock in whole.locks]
    assert waiters == whole.waiters


@pytest.mark.parametrize("after", ["X1", "L", "L-1", "L1.5", "W" + "9" * 20, "12"])
def test_a_page_begins_only_where_another_ended(rig: DirectoryRig, after: str) -> None:
    """What is no `next_after` is refused; `L` alone is the beginning."""
    if after == "L":
        assert rig.locks.list(after).locks == []
        return
    with pytest.raises(BadRequest, match="next_after"):
        rig.locks.list(after)
