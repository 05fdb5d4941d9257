"""Recorded histories of concurrent people at several proxies, under faults: every one must be linearizable.

The long form is the same with more and longer histories; it prints what each went through.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.faults import ORDERED_PAIRS, FaultMaker, run_schedule
from tests.cluster.history import Traffic, judge
from tests.cluster.placed_cluster import PlacedCluster, RelayPlace
from tests.cluster.wall_clocks import WallClocks, library

PROXIES, FILE_SERVERS = 2, 3
QUICK = {
    "LOCKSTEP_DIRECTORY_HEARTBEAT_SECONDS": "0.3",
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "1",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "2",
}
"""A file server is found to be gone within a fault, so that failover is a part of the histories."""
HISTORIES_PER_CLUSTER = 10


@contextmanager
def relayed_cluster(folder: Path) -> Iterator[tuple[PlacedCluster, WallClocks | None]]:
    """A cluster behind a relay; with wall clocks of its own where this machine can."""
    names = ["directory_server-1"]
    names += [f"file_server-{number}" for number in range(1, FILE_SERVERS + 1)]
    names += [f"client_proxy-{number}" for number in range(1, PROXIES + 1)]
    clocks = WallClocks(folder / "clocks", names) if library() else None
    variables = clocks.variables() if clocks else {}
    options = {"env": QUICK, "file_servers": FILE_SERVERS, "proxies": PROXIES, "variables": variables}
    with RelayPlace.start(folder, **options) as cluster:
        yield cluster, clocks


def test_a_history_under_faults_is_linearizable(tmp_path: Path, seed: int) -> None:
    """Whatever is killed, paused or cut off, what people were told could have come from one copy of every file."""
    rng = random.Random(seed)
    with relayed_cluster(tmp_path) as (cluster, clocks):
        make = FaultMaker(cluster, rng, clocks)
        faults = [
            partial(make.kill, rng.choice(("directory_server", "file_server"))),
            partial(make.pause, rng.choice(("directory_server", "file_server")), long=True),
            partial(make.partition, rng.choice(ORDERED_PAIRS), both_ways=False),
            *([partial(make.step, "directory_server")] if clocks else []),
        ]
        with Traffic(cluster, seed) as traffic:
            flow = run_schedule(traffic, faults, operations=360)
            traffic.read_everything()
        judge(traffic, tmp_path, seed)
    print(f"\n{_figures(seed, traffic)}; {'; '.join(flow.texts)}")
    assert len(traffic.history) >= 360


@pytest.mark.soak
@pytest.mark.timeout(12 * 3600)
def test_two_hundred_histories_under_faults_are_linearizable(tmp_path: Path, seed: int) -> None:
    """The same, 200 times with 2,000 operations each: every ordered pair of roles is cut, one way and both ways."""
    kinds: Counter[str] = Counter()
    histories = 0
    while histories < 200:
        folder = tmp_path / str(histories)
        with relayed_cluster(folder) as (cluster, clocks):
            for _ in range(HISTORIES_PER_CLUSTER):
                own_seed = seed + histories
                rng = random.Random(own_seed)
                make = FaultMaker(cluster, rng, clocks)
                pair = ORDERED_PAIRS[histories % len(ORDERED_PAIRS)]
                both = bool(histories // len(ORDERED_PAIRS) % 2)
                faults = [partial(make.partition, pair, both_ways=both), *[make.any] * 7]
                with Traffic(cluster, own_seed) as traffic:
                    flow = run_schedule(traffic, faults, operations=2000)
                    traffic.read_everything()
                judge(traffic, tmp_path, own_seed)
                assert len(traffic.history) >= 2000
                kinds += flow.kinds
                histories += 1
                print(f"{histories}: {_figures(own_seed, traffic)}; {'; '.join(flow.texts)}", flush=True)
    print(f"\n{histories} histories, 0 violations; faults: {dict(kinds)}")
    for sender, receiver in ORDERED_PAIRS:
        for arrow in ("->", "<->"):
            assert kinds[f"{sender} {arrow} {receiver}"], f"{sender} {arrow} {receiver} was never cut"


def _figures(seed: int, traffic: Traffic) -> str:
    outcomes = traffic.outcomes()
    return (
        f"seed {seed}: {len(traffic.history)} operations, {outcomes['ok']} done, {outcomes['unknown']} unknown, "
        f"{outcomes['failed'] + outcomes['condition false'] + outcomes['missing']} refused, 0 violations"
    )
