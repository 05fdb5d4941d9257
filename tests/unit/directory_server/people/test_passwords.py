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


@pytest.mark.parametrize(
    ("same", "other_address"),
    [
        (["203.0.113.9"] * (_PLACES // 2 + 1), "198.51.100.7"),
        ([f"2001:db8::{number:x}" for number in range(_PLACES // 2 + 1)], "2001:db8:0:1::"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_one_client_never_gets_all_places(same: list[str], other_address: str) -> None:
    """While it has half of them, its next log-in is refused, and another client's begins. A /64 is one client."""
    slots = HashingSlots()
    go = threading.Event()

    def log_in(address: str) -> None:
        with slots.one(address):
            go.wait(60)

    threads = [threading.Thread(target=log_in, args=(address,)) for address in same[1:]]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(slots._places) == _PLACES // 2)
    with pytest.raises(Overloaded, match="nothing was done"), slots.one(same[0]):
        pass
    other = threading.Thread(target=log_in, args=(other_address,))
    other.start()
    wait_until(lambda: len(slots._places) == _PLACES // 2 + 1)
    go.set()
    for thread in (*threads, other):
        thread.join()
    assert not slots._places


def test_a_client_in_line_does_not_wait_for_all_of_another_clients_hashes() -> None:
    """One client makes one hash at a time, though two are made at once; of several the first in line is next."""
    slots = HashingSlots()
    go = {name: threading.Event() for name in ("a1", "a2", "b", "c")}
    hashing: list[str] = []

    def log_in(name: str, address: str) -> None:
        with slots.one(address):
            hashing.append(name)
            go[name].wait(60)

    threads = []
    clients = (("a1", "203.0.113.9"), ("a2", "203.0.113.9"), ("b", "198.51.100.7"), ("c", "192.0.2.1"))
    for count, client in enumerate(clients, 1):
        threads.append(threading.Thread(target=log_in, args=client))
        threads[-1].start()
        wait_until(lambda count=count: len(slots._places) == count)
    wait_until(lambda: hashing == ["a1", "b"])
    for ended, expected in (("b", ["a1", "b", "c"]), ("a1", ["a1", "b", "c", "a2"])):
        go[ended].set()
        wait_until(lambda expected=expected: hashing == expected)
    for event in go.values():
        event.set()
    for thread in threads:
        thread.join()
