"""Maps that forget keep their bounds, forget the right entry, and never lose an entry that fits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lockstep_store.runtime.bounded import BoundedMap, ExpiringMap, LookupCache


def test_a_full_map_forgets_the_entry_set_longest_ago() -> None:
    """Setting an entry again makes it young; reading it does not."""
    known: BoundedMap[str, int] = BoundedMap(2)
    known["a"] = 1
    known["b"] = 2
    known["a"] = 3
    known.get("b")
    known["c"] = 4
    assert (known.get("a"), known.get("b"), known.get("c"), len(known)) == (3, None, 4, 2)


def test_setting_a_known_entry_evicts_nobody() -> None:
    """A full map has room for a new value of a key that it has."""
    known: BoundedMap[str, int] = BoundedMap(2)
    known["a"] = 1
    known["b"] = 2
    known["b"] = 3
    assert (known.get("a"), known.get("b")) == (1, 3)


def test_none_is_a_value() -> None:
    """A default tells a remembered None from an unknown key."""
    known: BoundedMap[str, int | None] = BoundedMap(2)
    known["a"] = None
    assert (known.get("a", "unknown"), known.get("b", "unknown")) == (None, "unknown")


def test_a_look_up_that_began_before_a_change_is_not_kept() -> None:
    """Its value may be from before the change; one that begins afterwards is kept."""
    known: LookupCache[str, int] = LookupCache(5)
    before = known.generation
    known.forget("other")
    known.keep("a", 1, before)
    assert known.get("a") is None
    known.keep("a", 2, known.generation)
    assert known.get("a") == 2
    known.forget("a")
    assert known.get("a") is None


def test_an_entry_ends_after_its_seconds() -> None:
    """At the very end it is gone, and `since` counts from when the value was asked for."""
    now = [100.0]
    known: ExpiringMap[str, int] = ExpiringMap(5, 10, lambda: now[0])
    known.set("asked now", 1)
    known.set("asked before", 2, since=95.0)
    now[0] = 105.0
    assert (known.get("asked now"), known.get("asked before")) == (1, None)
    now[0] = 110.0
    assert known.get("asked now") is None
    known.set("asked now", 3)
    assert known.get("asked now") == 3
    known.forget("asked now")
    known.forget("asked now")
    assert known.get("asked now") is None


def test_a_map_without_room_is_refused() -> None:
    """A bound of zero would make every look-up miss, unnoticed."""
    with pytest.raises(ValueError, match="room"):
        BoundedMap(0)


def test_threads_together_keep_the_bound() -> None:
    """No interleaving of writers breaks the bound, or the map."""
    known: BoundedMap[int, int] = BoundedMap(50)

    def fill(start: int) -> int:
        for number in range(2000):
            known[start + number] = number
            known.forget(start + number - 25)
        return len(known)

    with ThreadPoolExecutor(8) as pool:
        assert all(size <= 50 for size in pool.map(fill, range(0, 80_000, 10_000)))
    assert len(known) <= 50
