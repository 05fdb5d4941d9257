"""The histories again, with every program in a network namespace of its own and the kernel losing what is cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.cluster.faults import ORDERED_PAIRS, FaultMaker, run_schedule
from tests.cluster.history import Traffic, judge
from tests.cluster.namespaces import NamespacePlace, why_not
from tests.cluster.people import Person
from tests.cluster.placed_cluster import PlacedCluster
from tests.cluster.test_histories import QUICK


@pytest.fixture
def isolated_cluster(tmp_path: Path) -> Iterator[PlacedCluster]:
    """A cluster of programs that meet on a bridge only; skips where the machine does not allow it."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with NamespacePlace.start(tmp_path, env=QUICK) as cluster:
        yield cluster


def _see_that_cuts_cut(cluster: PlacedCluster) -> None:
    """A proxy that the directory cannot answer is of no use, its neighbour is; healed, both are."""
    with Person(cluster, 1) as cut_off, Person(cluster, 2) as neighbour:
        neighbour.put("before", b"the cut")
        cluster.place.cut("directory_server-1", "client_proxy-1")
        with pytest.raises(requests.Timeout):
            cut_off.ask("GET", "/files/files/before", timeout=1.5)
        assert neighbour.get("before") == b"the cut"
        cluster.place.heal()
        assert cut_off.get("before") == b"the cut"


def _history(cluster: PlacedCluster, seed: int, folder: Path, cuts: int, operations: int) -> None:
    rng = random.Random(seed)
    make = FaultMaker(cluster, rng)
    pairs = rng.sample(ORDERED_PAIRS, min(cuts, len(ORDERED_PAIRS)))
    faults = [partial(make.partition, pair, both_ways=number % 3 == 2) for number, pair in enumerate(pairs)]
    with Traffic(cluster, seed) as traffic:
        flow = run_schedule(traffic, faults, operations=operations)
        traffic.read_everything()
    judge(traffic, folder, seed)
    outcomes = traffic.outcomes()
    print(
        f"\nseed {seed}: {len(traffic.history)} operations, {outcomes['unknown']} unknown, 0 violations; "
        + "; ".join(flow.texts)
    )


def test_a_history_between_namespaces_is_linearizable(
    isolated_cluster: PlacedCluster, tmp_path: Path, seed: int
) -> None:
    """What the kernel loses in one direction, between programs that share nothing, makes no answer untrue."""
    _see_that_cuts_cut(isolated_cluster)
    _history(isolated_cluster, seed, tmp_path, cuts=1, operations=120)


@pytest.mark.soak
@pytest.mark.timeout(2 * 3600)
def test_histories_between_namespaces_are_linearizable(
    isolated_cluster: PlacedCluster, tmp_path: Path, seed: int
) -> None:
    """The same twenty times, every ordered pair cut in each, with 2,000 operations."""
    for number in range(20):
        _history(isolated_cluster, seed + number, tmp_path, cuts=len(ORDERED_PAIRS), operations=2000)
