"""Hashing passwords: few at a time, a short line, and an immediate refusal behind it."""

from __future__ import annotations

import threading

from directory_server.people.passwords import _HASHES_AT_ONCE, _IN_LINE, HashingSlots
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
