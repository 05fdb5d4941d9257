"""Locks on ranges: what fcntl(2) says, compared with a table that has a row for each byte."""

from __future__ import annotations

import random

from lockstep_store.client.mount.range_locks import END, RangeLock, RangeLocks

BYTES, OWNERS = 12, (1, 2, 3)


def test_every_byte_is_held_as_a_table_of_bytes_says(seed: int) -> None:
    """Locks are split, joined, and change their kind, whatever was asked before."""
    rng = random.Random(seed)
    for _ in range(200):
        locks = RangeLocks()
        expected: list[dict[int, bool]] = [{} for _ in range(BYTES)]
        for _ in range(30):
            start = rng.randrange(BYTES)
            end = rng.randrange(start + 1, BYTES + 1)
            wanted = RangeLock(rng.choice(OWNERS), start, end, rng.random() < 0.5)
            if rng.random() < 0.3:
                locks.remove(wanted.owner, start, end)
                for row in expected[start:end]:
                    row.pop(wanted.owner, None)
            else:
                others = [kind for row in expected[start:end] for owner, kind in row.items() if owner != wanted.owner]
                is_refused = bool(others) and (wanted.is_exclusive or any(others))
                assert (locks.conflict(wanted) is not None) == is_refused
                if not is_refused:
                    locks.add(wanted)
                    for row in expected[start:end]:
                        row[wanted.owner] = wanted.is_exclusive
            assert _bytes(locks) == expected
            assert bool(locks) == any(expected)


def _bytes(locks: RangeLocks) -> list[dict[int, bool]]:
    found: list[dict[int, bool]] = [{} for _ in range(BYTES)]
    for lock in locks.held():
        for row in found[lock.start : lock.end]:
            assert lock.owner not in row
            row[lock.owner] = lock.is_exclusive
    return found


def test_locks_of_one_kind_that_touch_are_one() -> None:
    """A program that locks byte after byte does not make the table long."""
    locks = RangeLocks()
    for start in range(100):
        locks.add(RangeLock(1, start, start + 1, True))
    assert locks.held() == [RangeLock(1, 0, 100, True)]
    locks.add(RangeLock(1, 50, END, False))
    assert locks.held() == [RangeLock(1, 0, 50, True), RangeLock(1, 50, END, False)]


def test_what_is_in_the_way_is_told_with_its_process() -> None:
    locks = RangeLocks()
    locks.add(RangeLock(1, 10, 20, False, 4711))
    assert locks.conflict(RangeLock(2, 0, END, False)) is None
    assert locks.conflict(RangeLock(2, 0, END, True)) == RangeLock(1, 10, 20, False, 4711)
    assert locks.conflict(RangeLock(1, 0, END, True)) is None
    assert locks.conflict(RangeLock(2, 20, END, True)) is None
