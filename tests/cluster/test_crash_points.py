"""kill -9 at named points of every program, in the middle of people's work: nothing acknowledged is lost.

One cluster lives through all of it. For each point a program is started armed, so that it ends itself by SIGKILL when
it comes by; it is started again at once, the time until it serves is taken, and everything the crowd knows is read
through both proxies. At the end the disks must hold two whole copies of everything. See crash_crowd.py for what a read
may give, crash_actions.py for how each point is reached.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from local_cluster.plan import Program
from lockstep_store.wire.crash_points import ENVIRONMENT
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.crash_actions import FIRST_START, Scene, points, program_of, reach_of, wait_until_repaired
from tests.cluster.crash_crowd import BUCKET, Crowd
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person, file_path
from tests.waiting import wait_until

EVERYDAY_SECONDS = 15.0
EVERYDAY_POINTS = 3
ROUNDS = 25
REACH_SECONDS = 240.0
RECOVERY_SECONDS = 5.0
LOADED_RECOVERY_SECONDS = 30.0
"""Everyday runs share the machine with others."""
SHORT_GRACES = {
    "LOCKSTEP_DIRECTORY_TICKET_SECONDS": "10",
    "LOCKSTEP_FILE_SERVER_GRACE_SECONDS": "12",
    "LOCKSTEP_FILE_SERVER_SCRUB_ROUND_SECONDS": "3",
    "LOCKSTEP_FILE_SERVER_SCRUB_PAUSE_FACTOR": "1",
}


class Death(NamedTuple):
    """One program's death at one point, and the seconds from its next start until it served."""

    point: str
    recovery_seconds: float


def test_programs_that_die_at_crash_points_lose_nothing(make_cluster: MakeCluster, seed: int) -> None:
    """A sample of the points, by the seed: no acknowledged write is lost, no read is torn, every program comes back."""
    rng = random.Random(seed)
    sample = _sample(rng)
    cluster = make_cluster()
    deaths, ends = [], time.monotonic() + EVERYDAY_SECONDS
    with Crowd(cluster, rng) as crowd:
        for point in sample:
            deaths.append(_die_at(point, cluster, crowd, rng))
            if len(deaths) >= EVERYDAY_POINTS and time.monotonic() > ends:
                break
    _conclude(cluster, crowd, deaths, LOADED_RECOVERY_SECONDS)


@pytest.mark.soak
@pytest.mark.timeout(12 * 3600)
def test_programs_that_die_at_every_crash_point_lose_nothing(make_cluster: MakeCluster, seed: int) -> None:
    """Every point, 25 times each, on one cluster: the same, and each program serves again within 5 seconds."""
    rng = random.Random(seed)
    cluster = make_cluster(env=SHORT_GRACES)
    deaths = []
    with Crowd(cluster, rng) as crowd:
        for _ in range(ROUNDS):
            every = points(slow=True)
            rng.shuffle(every)
            for point in every:
                deaths.append(_die_at(point, cluster, crowd, rng))
    wait_until_repaired(cluster)
    _conclude(cluster, crowd, deaths, RECOVERY_SECONDS)


def _sample(rng: random.Random) -> list[str]:
    """Points in an order that the seed gives, the programs taking turns."""
    by_program: dict[Program, list[str]] = {}
    for point in points(slow=False):
        by_program.setdefault(program_of(point), []).append(point)
    for mine in by_program.values():
        rng.shuffle(mine)
    turns = list(by_program.values())
    return [mine[n] for n in range(max(map(len, turns))) for mine in turns if n < len(mine)]


def _die_at(point: str, cluster: ClusterHarness, crowd: Crowd, rng: random.Random) -> Death:
    """Have the program die there and come back; how long that took."""
    program, reach = program_of(point), reach_of(point)
    number = 1 if program == "directory_server" else rng.choice((1, 2) if program == "client_proxy" else (1, 2, 3))
    scene = Scene(cluster, crowd, number if program == "file_server" else rng.choice((1, 2, 3)))
    passing = rng.randint(1, reach.passings)
    if reach.slow:  # it may cost a file server its disk
        wait_until_repaired(cluster)
    cluster.kill(program, number)
    reach.before(scene)
    cluster.start(program, number, wait=False, env={**reach.env, ENVIRONMENT: f"{point}:{passing}"})
    reach.then(scene)
    ended = wait_until(lambda: cluster.exit_code(program, number), REACH_SECONDS, f"passing {passing} of {point}")
    crowd.send_large.clear()
    assert ended == -signal.SIGKILL, f"{program} {number} ended with {ended} on its way to {point}"
    began = time.monotonic()
    cluster.start(program, number, wait=False)
    _wait_until_it_serves(cluster, program, number)
    death = Death(point, time.monotonic() - began)
    crowd.check()
    assert not crowd.faults, f"after a death at {point}: " + "\n".join(crowd.faults[:10])
    return death


def _wait_until_it_serves(cluster: ClusterHarness, program: Program, number: int) -> None:
    """Until the program takes its part in a write and a read again."""
    if program == "file_server":
        cluster.wait_healthy(cluster.record(program, number))
    for proxy in [number] if program == "client_proxy" else range(1, len(cluster.proxy_urls) + 1):
        with Person(cluster, proxy) as person:
            person.put("probe", f"{time.monotonic()}".encode(), bucket=BUCKET)
            assert person.ask("GET", file_path(BUCKET, "probe")).status_code == 200


def _conclude(cluster: ClusterHarness, crowd: Crowd, deaths: list[Death], allowed_seconds: float) -> None:
    crowd.check(recent=10_000)
    checked = stop_and_check_disks(cluster)
    slowest = max(deaths, key=lambda death: death.recovery_seconds)
    print(
        f"\n{len({death.point for death in deaths})} points, {len(deaths)} kills: {crowd.acknowledged} acknowledged "
        f"writes, {crowd.lost} lost; {crowd.reads} reads, {crowd.torn} torn; {checked.blobs} blobs in "
        f"{checked.copies} whole copies; slowest recovery {slowest.recovery_seconds:.1f} s ({slowest.point})"
    )
    assert not crowd.faults, "\n".join(crowd.faults[:10])
    assert crowd.acknowledged > 10 * len(deaths), "too little was going on for this to prove anything"
    assert slowest.recovery_seconds < allowed_seconds


def test_a_first_start_that_dies_is_finished_by_the_next(tmp_path: Path) -> None:
    """Cut short again and again, the first start of a directory is completed in the end, with one administrator."""
    with ClusterHarness(tmp_path, file_servers=1, proxies=1, copies=1, start_now=False) as cluster:
        for point in FIRST_START:
            cluster.env[ENVIRONMENT] = point
            ended = cluster.command("--detach", "--wait", "100")
            assert ended.returncode != 0
            assert "directory_server 1 was killed by signal 9" in ended.stderr, f"{point}: {ended.stderr}"
        credentials = cluster.folder.credentials_file.read_bytes()
        del cluster.env[ENVIRONMENT]
        cluster.start_all()
        assert cluster.folder.credentials_file.read_bytes() == credentials
        with Person(cluster) as person:
            assert person.ask("GET", "/auth/me").status_code == 200
        database = cluster.data_dir("directory_server") / "metadata.db"
        cluster.stop()
        with closing(sqlite3.connect(database)) as db:
            assert db.execute("SELECT count(*) FROM account").fetchone() == (1,)
            assert db.execute("SELECT name FROM bucket").fetchall() == [("files",)]
