"""Hashing passwords: few at a time, a short line, and an immediate refusal behind it."""

from __future__ import annotations

import threading

import pytest

from directory_server.people.passwords import _HASHES_AT_ONCE, _IN_LINE, _PLACES, HashingSlots
from lockstep_store.wire.errors import Overloaded
from tests.waiting import wait_until


def test_of_180_parallel_log_ins_ten_keep_a_thread_and_the_others_are_refused() -> None:
    """While two hash and eight wait, 170 are refused at once; all slots and places are free afterwards."""
    slots, go = HashingSlots(), threading.Event()
    hashing, refused, done = [], [], []

    def log_in() -> None:
        try:
            with slots.one():
                hashing.append(1)
                go.wait(60)
            done.append(1)
        except Overloaded:
            refused.append(1)

    threads = [threading.Thread(target=log_in) for _ in range(180)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(refused) == 180 - _HASHES_AT_ONCE - _IN_LINE, 60, "everybody behind the line is refused")
    assert len(hashing) == _HASHES_AT_ONCE
    assert not done
    go.set()
    for thread in threads:
        thread.join()
    assert len(done) == _HASHES_AT_ONCE + _IN_LINE
    with slots.one():
        pass


def test_one_address_never_gets_all_places() -> None:
    """While it has half of them, its next log-in is refused, and that of another address begins."""
    slots = HashingSlots()
    go = threading.Event()

    def log_in(address: str) -> None:
        with slots.one(address):
            go.wait()

    threads = [threading.Thread(target=log_in, args=("203.0.113.9",)) for _ in range(_PLACES // 2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: slots._taken.total() == _PLACES // 2)
    with pytest.raises(Overloaded, match="nothing was done"), slots.one("203.0.113.9"):
        pass
    other = threading.Thread(target=log_in, args=("198.51.100.7",))
    other.start()
    wait_until(lambda: slots._taken["198.51.100.7"] == 1)
    go.set()
    for thread in (*threads, other):
        thread.join()
    assert not slots._taken
