"""Several directory servers on one PostgreSQL: the active one is killed or frozen, and another one takes over."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_cluster.health import HealthProbe
from local_cluster.records import RunRecord
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.history import Traffic, judge
from tests.linearizability import Outcome
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.fakes.postgres_server import PostgresServer

RESUMED_SECONDS = 15.0
QUICK = {
    "LOCKSTEP_DIRECTORY_HEARTBEAT_SECONDS": "0.3",
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "2",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "5",
}


@pytest.fixture
def pair(make_cluster: MakeCluster, own_postgres: PostgresServer) -> Iterator[ClusterHarness]:
    """Two directory servers, two file servers and two proxies."""
    with own_postgres.database() as address:
        cluster = make_cluster(file_servers=2, proxies=2, directories=2, metadata=address, env=QUICK)
        yield cluster
        cluster.close()


def roles(cluster: ClusterHarness) -> dict[str, RunRecord]:
    """The directory servers that answer, by what they say they are."""
    probe = HealthProbe(cluster.folder)
    found: dict[str, RunRecord] = {}
    for one in cluster.programs:
        if one.program == "directory_server" and one.running and not probe.fault(one):
            facts = probe.health(one).facts
            found["standby" if facts.get("standing_by") else "active"] = one
    return found


def wait_for_both(cluster: ClusterHarness) -> dict[str, RunRecord]:

    def found() -> dict[str, RunRecord] | None:
        now = roles(cluster)
        return now if len(now) == 2 else None

    both = wait_until(found, what="one active directory server and one standby")
    assert both is not None
    return both


def seconds_until_writes(traffic: Traffic, since: float) -> float:
    """How long after `since` the first change was done that began after it; more work is allowed meanwhile."""

    def first() -> float | None:
        done = [one for one in list(traffic.history) if one.called >= since and one.outcome is Outcome.OK]
        return min((one.returned for one in done if one.kind in ("write", "delete", "acquire")), default=None)

    def is_there() -> bool:
        traffic.keep_busy()
        return first() is not None

    wait_until(is_there, 60.0, "a write after the fault")
    ended = first()
    assert ended is not None
    return ended - since


def survive(cluster: ClusterHarness, traffic: Traffic, *, freeze: bool) -> float:
    """Kill or freeze the active directory server under load; it comes back as the standby. Return the seconds without
    writes."""
    active = wait_for_both(cluster)["active"]
    traffic.allow(40)
    (cluster.pause if freeze else cluster.kill)("directory_server", active.id)
    since = time.monotonic()
    seconds = seconds_until_writes(traffic, since)
    if freeze:
        cluster.resume("directory_server", active.id)
    else:
        cluster.start("directory_server", active.id, wait=False)
    assert wait_for_both(cluster)["standby"].id == active.id
    return seconds


def rounds(cluster: ClusterHarness, folder: Path, seed: int, faults: list[bool]) -> None:
    """Let people work while each fault happens; everything they were told must be linearizable."""
    with Traffic(cluster, seed) as traffic:
        traffic.calm(60, 20)
        taken = []
        for freeze in faults:
            taken.append(("frozen" if freeze else "killed", survive(cluster, traffic, freeze=freeze)))
            traffic.calm(30, 10)
        traffic.read_everything()
    judge(traffic, folder, seed)
    print("\nwrites resumed after " + ", ".join(f"{seconds:.1f} s ({how})" for how, seconds in taken))
    assert max(seconds for _, seconds in taken) < RESUMED_SECONDS


@pytest.mark.timeout(600)
def test_a_standby_takes_over_under_load(pair: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """Nothing acknowledged is lost, no lock number is given twice, and writes resume within 15 seconds."""
    rounds(pair, tmp_path, seed, [False, True, False, False, False])


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_hundred_takeovers_under_load(pair: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """The same, a hundred times in ten histories."""
    rng = random.Random(seed)
    for number in range(10):
        rounds(pair, tmp_path, seed + number, [rng.random() < 0.5 for _ in range(10)])
