"""Placement: kept holders, zones, free space, and the refusal that names what is missing."""

from __future__ import annotations

from collections import Counter

import pytest

from directory_server.cluster.placement import Candidate, choose, choose_target, rank
from lockstep_store.wire.errors import TooFewHolders

GIB = 1 << 30


def server(id: str, zone: str = "", free: int = 64 * GIB, **more: object) -> Candidate:
    return Candidate(id, f"https://host-{id}:5060", zone, free, **more)  # type: ignore[arg-type]


FIVE = [server(str(n)) for n in range(1, 6)]


def ids(placement: object) -> list[str]:
    return [placement.master.id, *(h.id for h in placement.replicas)]  # type: ignore[attr-defined]


def test_same_path_gets_same_holders() -> None:
    """The choice depends on the path and the servers, not on the order in which the servers are listed."""
    assert choose("files/a", FIVE, 3) == choose("files/a", FIVE[::-1], 3)


def test_current_holders_are_kept_in_their_order() -> None:
    """A path's next version goes where its current one is, with the same master."""
    assert ids(choose("files/a", FIVE, 2, keep=["4", "2"])) == ["4", "2"]


def test_a_down_master_hands_over_to_the_next_holder() -> None:
    """The first holder that is up becomes the master, and a newcomer fills the gap."""
    servers = [server(s.id, writable=s.id != "4", state="down") for s in FIVE]
    chosen = ids(choose("files/a", servers, 2, keep=["4", "2"]))
    assert chosen[0] == "2"
    assert chosen[1] not in ("4", "2")


def test_excluded_servers_are_not_chosen() -> None:
    """A server that the proxy has just found unreachable gets no copy and is no spare."""
    placed = choose("files/a", FIVE, 2, keep=["4", "2"], exclude=["4", "1"])
    assert {"4", "1"}.isdisjoint([*ids(placed), *(h.id for h in placed.spares)])


def test_an_avoided_server_is_the_last_spare() -> None:
    """A server that a master could not reach gets no copy, not even one for a zone, and of the current version."""
    servers = [server(s.id, zone="a" if s.id != "4" else "b", avoided=s.id == "4") for s in FIVE[1:]]
    placed = choose("files/a", servers, 2, keep=["4", "2"])
    assert ids(placed)[0] == "2"
    assert "4" not in ids(placed)
    assert placed.spares[-1].id == "4"
    for n in range(50):
        assert "4" not in ids(choose(f"files/path {n}", servers, 3))


def test_an_avoided_server_is_chosen_before_a_write_is_refused() -> None:
    """The master that could not reach it may itself be the one that is cut off."""
    servers = [server("1", avoided=True), server("2"), server("3", avoided=True)]
    assert set(ids(choose("files/a", servers, 3))) == {"1", "2", "3"}
    assert ids(choose("files/a", servers, 2, keep=["3", "1"])) == ["3", "1"]


def test_copies_never_share_a_zone_when_two_zones_have_room() -> None:
    """Two zones with room: two copies in two zones, for every path, kept holders included."""
    servers = [server("1", "a"), server("2", "a"), server("3", "a"), server("4", "b")]
    zone = {s.id: s.zone for s in servers}
    for n in range(200):
        keep = ["1", "2"] if n % 2 else []
        chosen = ids(choose(f"files/path {n}", servers, 2, keep=keep))
        assert {zone[id] for id in chosen} == {"a", "b"}


def test_more_copies_than_zones_fills_every_zone_first() -> None:
    """Three copies in two zones: both zones hold one before either holds two."""
    servers = [server("1", "a"), server("2", "a"), server("3", "a"), server("4", "b")]
    assert "4" in ids(choose("files/x", servers, 3))


def test_one_zone_with_room_is_used_twice() -> None:
    """When the other zone has no room, the promised copies are made all the same."""
    servers = [server("1", "a"), server("2", "a"), server("3", "b", writable=False)]
    assert set(ids(choose("files/x", servers, 2))) == {"1", "2"}


def test_free_space_decides_the_share() -> None:
    """A server with four times the free space is master about four times as often."""
    servers = [server("small", free=16 * GIB), server("large", free=64 * GIB)]
    first = Counter(rank(f"files/{n}", servers)[0].id for n in range(4000))
    assert 3.4 < first["large"] / first["small"] < 4.7


def test_a_new_server_takes_its_share_and_moves_nothing_else() -> None:
    """Paths whose holder changes when a server joins all move to the newcomer."""
    before = {n: rank(f"files/{n}", FIVE)[0].id for n in range(1000)}
    after = {n: rank(f"files/{n}", [*FIVE, server("6")])[0].id for n in range(1000)}
    moved = [n for n in before if before[n] != after[n]]
    assert 100 < len(moved) < 250
    assert {after[n] for n in moved} == {"6"}


def test_too_few_names_what_is_missing() -> None:
    """The refusal says how many servers are up, how many are needed, and why the others do not count."""
    servers = [server("1"), server("2", writable=False, state="down"), server("3")]
    with pytest.raises(TooFewHolders) as refusal:
        choose("files/x", servers, 2, exclude=["3"])
    assert refusal.value.facts == {"up": 1, "needed": 2}
    assert "file_server-2 is down" in str(refusal.value)
    assert "file_server-3 is not reachable" in str(refusal.value)


def test_repair_target_prefers_a_zone_without_a_copy() -> None:
    """One more copy goes to a zone that has none, to any other server if there is none, else nowhere."""
    servers = [server("1", "a"), server("2", "a"), server("3", "b")]
    assert all(choose_target(f"blob {n}", servers, {"1"}).id == "3" for n in range(50))  # type: ignore[union-attr]
    assert choose_target("blob", servers, {"1", "3"}).id == "2"  # type: ignore[union-attr]
    assert choose_target("blob", servers, {"1", "2", "3"}) is None
