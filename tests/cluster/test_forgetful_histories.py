"""Recorded histories of people at work while programs come back knowing less: with older or no metadata, an older disk.

What people were told must be linearizable over all of it, as under the faults of test_histories.py: nothing
acknowledged is lost, and nothing is given twice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.faults import run_schedule
from tests.cluster.forgetful_faults import ForgetfulFaults
from tests.cluster.history import Traffic, judge
from tests.cluster.placed_cluster import PlacedCluster, RelayPlace

QUICK = {
    "LOCKSTEP_DIRECTORY_HEARTBEAT_SECONDS": "0.3",
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "1",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "10",
    "LOCKSTEP_DIRECTORY_REPAIR_GRACE_SECONDS": "2",
}
"""A directory waits for file servers to register for as long as a silent one takes to count as down: long enough for a
busy machine."""
SOAK_HISTORIES, FAULTS = 40, 6


@contextmanager
def relayed_cluster(folder: Path) -> Iterator[PlacedCluster]:
    with RelayPlace.start(folder, env=QUICK, file_servers=3, proxies=2) as cluster:
        yield cluster


def figures(seed: int, traffic: Traffic) -> str:
    outcomes = traffic.outcomes()
    return f"seed {seed}: {len(traffic.history)} operations, {outcomes['ok']} done, {outcomes['unknown']} unknown"


def test_a_history_over_programs_that_forget_is_linearizable(tmp_path: Path, seed: int) -> None:
    """Each way of forgetting once, one after the other, with people at work all the time."""
    with relayed_cluster(tmp_path / "cluster") as cluster:
        with Traffic(cluster, seed) as traffic:
            make = ForgetfulFaults(cluster, random.Random(seed), traffic, tmp_path)
            faults = [make.older_disk, make.older_metadata, make.accepted_metadata, make.no_metadata]
            flow = run_schedule(traffic, faults, operations=240)
            traffic.read_everything()
        judge(traffic, tmp_path, seed)
    print(f"\n{figures(seed, traffic)}, 0 violations; {'; '.join(flow.texts)}")


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_forty_histories_over_programs_that_forget_are_linearizable(tmp_path: Path, seed: int) -> None:
    """The same with faults by chance, several in a history, each history in a cluster of its own."""
    kinds: Counter[str] = Counter()
    for number in range(SOAK_HISTORIES):
        own_seed, folder = seed + number, tmp_path / str(number)
        with relayed_cluster(folder / "cluster") as cluster:
            with Traffic(cluster, own_seed) as traffic:
                make = ForgetfulFaults(cluster, random.Random(own_seed), traffic, folder)
                flow = run_schedule(traffic, [make.any] * FAULTS, operations=800)
                traffic.read_everything()
            judge(traffic, tmp_path, own_seed)
        kinds += flow.kinds
        print(f"{number + 1}: {figures(own_seed, traffic)}; {'; '.join(flow.texts)}", flush=True)
    print(f"\n{SOAK_HISTORIES} histories, 0 violations; faults: {dict(kinds)}")
    assert len(kinds) == 4, kinds
