"""What a blob's copies need: too few, leaving, sharing a zone, too many, damaged, and whose copy may go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from directory_server.cluster.server_status import ServerStatus
from directory_server.metadata.statements.servers import HeldBlob
from directory_server.repair.copy_rules import Need, choose_victim, judge, may_go, sources
from lockstep_store.wire.digest import chunk_digest

DIGEST = chunk_digest(b"blob")


def held(*holders: str, damaged: str = "") -> HeldBlob:
    return HeldBlob(DIGEST, 1000, holders, tuple(damaged))


def servers(*, zones: str = "abcd", away: str = "", leaving: str = "", weak: str = "") -> dict[str, ServerStatus]:
    """Servers 1, 2, 3 … in the zones given by letter; `away` past the grace, `weak` up but not to be relied on."""
    found = {}
    for number, zone in enumerate(zones, 1):
        id, gone = str(number), str(number) in away
        found[id] = ServerStatus(
            id=id,
            url=f"https://{id}",
            zone=zone,
            heard=not gone,
            leaving=id in leaving,
            readable=not gone,
            writable=not gone and id not in leaving and id not in weak,
            solid=not gone and id not in weak,
        )
    return found


@pytest.mark.parametrize(
    ("blob", "statuses", "need", "safe"),
    [
        (held("1", "2"), servers(), None, 2),
        (held("1", "2"), servers(away="2"), Need.COPY, 1),
        (held("1", "2", damaged="2"), servers(), Need.COPY, 1),
        (held("1", "2"), servers(leaving="2"), Need.MOVE, 2),
        (held("1", "2"), servers(leaving="2", away="1"), Need.COPY, 1),
        (held("1", "2"), servers(zones="aab"), Need.SPREAD, 2),
        (held("1", "2"), servers(zones="aa"), None, 2),
        (held("1", "2"), servers(zones="aab", weak="3"), None, 2),
        (held("1", "2", "3"), servers(), Need.DROP, 3),
        (held("1", "2", "3"), servers(leaving="3"), Need.DROP, 3),
        (held("1", "2", "3", damaged="3"), servers(), Need.DROP, 2),
        (held("1", "2"), servers(away="12"), Need.WAIT, 0),
        (held(), servers(), Need.WAIT, 0),
        (held("1", "2", damaged="12"), servers(), Need.SALVAGE, 0),
        (held("1", "2", damaged="2"), servers(away="1"), Need.WAIT, 0),
    ],
)
def test_a_blob_needs(blob: HeldBlob, statuses: dict[str, ServerStatus], need: Need | None, safe: int) -> None:
    """Two copies are promised: what is needed follows from who is heard, leaves, is damaged, and stands where."""
    verdict = judge(blob, statuses, 2)
    assert (verdict.need, verdict.safe) == (need, safe)


def test_the_fullest_goes_first_among_equals() -> None:
    """In zones of their own, a copy too many goes from the server that is fullest, or the one that is asked for."""
    blob = held("1", "2", "3")
    full = {"1": 0.2, "2": 0.9, "3": 0.5}
    assert choose_victim(blob, servers(), 2, full) == "2"
    assert choose_victim(blob, servers(), 2, full, rather="3") == "3"
    assert choose_victim(blob, servers(leaving="1"), 2, full) == "1"


def test_zones_stay_apart_when_a_copy_goes() -> None:
    """The copy that is alone in its zone stays, however full its server is."""
    blob, statuses = held("1", "2", "3"), servers(zones="aab")
    assert choose_victim(blob, statuses, 2, {"1": 0.1, "2": 0.2, "3": 0.99}) == "2"
    assert choose_victim(blob, statuses, 2, rather="3") == "1"
    assert not may_go(blob, "3", statuses, 2)


@pytest.mark.parametrize("weak", ["1", "2", "3"])
def test_nothing_goes_unless_enough_others_are_solid(weak: str) -> None:
    """A server that is suspect or unhealthy is neither relied on nor made to drop anything."""
    assert choose_victim(held("1", "2", "3"), servers(weak=weak), 2) is None
    assert choose_victim(held("1", "2"), servers(), 2) is None
    assert choose_victim(held("1", "2", damaged=weak), servers(), 2) is None


def test_nothing_goes_because_of_a_server_that_has_not_named_everything() -> None:
    """It may have come back with an older disk: its own copy may go, another's only beside enough that were named."""
    unsure = {id: replace(status, inventoried=id != "1") for id, status in servers().items()}
    assert choose_victim(held("1", "2", "3"), unsure, 2, {"2": 0.9}) == "1"
    assert not may_go(held("1", "2", "3"), "2", unsure, 2)
    assert may_go(held("1", "2", "3", "4"), "2", unsure, 2)


def test_a_damaged_copy_goes_once_there_are_enough_good_ones() -> None:
    """Nobody mends it then, and it is worth nothing: it goes before any other, and is never among those relied on."""
    full = {"1": 0.9, "2": 0.1, "3": 0.5}
    assert choose_victim(held("1", "2", "3", damaged="2"), servers(), 2, full, rather="1") == "2"
    assert choose_victim(held("1", "2", "3", "4", damaged="2"), servers(leaving="4"), 2, full) == "2"
    assert choose_victim(held("1", "2", "3", damaged="23"), servers(), 2) is None
    assert choose_victim(held("1", "2", "3", damaged="2"), servers(weak="3"), 2) is None
    assert choose_victim(held("1", "2", "3", damaged="2"), servers(weak="2"), 2) is None
    assert not may_go(held("1", "2", "3", damaged="2"), "1", servers(), 2)


def test_sources_are_the_good_ones_first() -> None:
    """Whoever answers and is whole comes first; a damaged copy is last, for the parts that are good; the lost are
    not asked."""
    statuses = servers(away="3", weak="")
    order = [source.id for source in sources(held("1", "2", "3", "4", damaged="1"), statuses)]
    assert order == ["2", "4", "1"]
