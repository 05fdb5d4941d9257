"""Guessing is slow, and a stranger's guesses do not lock out the owner."""

from __future__ import annotations

import pytest

from directory_server.people.guessing import FREE_FAILURES, NAME_FAILURES, NAME_REFILL_SECONDS, GuessingBounds
from lockstep_store.wire.errors import TooManyRequests
from tests.fakes.clock import ManualClock


def guess(bounds: GuessingBounds, address: str, name: str = "ann") -> bool:
    """One wrong password; whether it was let through."""
    try:
        bounds.check(name, address)
    except TooManyRequests:
        return False
    bounds.failed(name, address)
    return True


def test_a_stranger_cannot_lock_the_owner_out() -> None:
    """Any number of guesses from other addresses leaves an address that logged in before free to do so again."""
    bounds = GuessingBounds(ManualClock().monotonic)
    bounds.succeeded("ann", "home")
    assert sum(guess(bounds, f"bot-{number}") for number in range(10_000)) == NAME_FAILURES
    bounds.check("ann", "home")
    bounds.check("ben", "bot-1")


def test_one_address_is_slowed_after_a_few() -> None:
    """Twice as long each time; other addresses go on."""
    clock = ManualClock()
    bounds = GuessingBounds(clock.monotonic)
    assert sum(guess(bounds, "cafe") for _ in range(100)) == FREE_FAILURES
    bounds.check("ann", "home")
    clock.advance(1.1)
    assert guess(bounds, "cafe")
    clock.advance(1.1)
    assert not guess(bounds, "cafe")
    bounds.succeeded("ann", "cafe")
    bounds.check("ann", "cafe")


def test_a_client_has_one_count_for_all_its_ipv6_addresses() -> None:
    """Failures and the right password count for the /64; the next network has a count of its own."""
    bounds = GuessingBounds(ManualClock().monotonic)
    assert sum(guess(bounds, f"2001:db8::{number:x}") for number in range(100)) == FREE_FAILURES
    assert guess(bounds, "2001:db8:0:1::")
    bounds.succeeded("ann", "2001:db8::ffff")
    bounds.check("ann", "2001:db8::1")


def test_many_addresses_share_a_slow_bound() -> None:
    """Beyond it the name gets about a hundred guesses an hour, from wherever they come."""
    clock = ManualClock()
    bounds = GuessingBounds(clock.monotonic)
    done = sum(guess(bounds, f"bot-{number}") for number in range(1000))
    assert done == NAME_FAILURES
    with pytest.raises(TooManyRequests) as refused:
        bounds.check("ann", "bot-new")
    assert 0 < refused.value.facts["seconds_left"] <= NAME_REFILL_SECONDS
    for hour in range(1, 4):
        for minute in range(60):
            clock.advance(60.0)
            done += sum(guess(bounds, f"{hour}-{minute}-{number}") for number in range(50))
    assert NAME_FAILURES + 290 <= done <= NAME_FAILURES + 301


def test_the_right_password_does_not_help_others() -> None:
    """It frees the address that it came from, and no other."""
    bounds = GuessingBounds(ManualClock().monotonic)
    for _ in range(FREE_FAILURES):
        guess(bounds, "cafe")
    bounds.succeeded("ann", "home")
    with pytest.raises(TooManyRequests):
        bounds.check("ann", "cafe")
