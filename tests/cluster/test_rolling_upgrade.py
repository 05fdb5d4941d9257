"""A cluster of the previous release is upgraded program by program, as docs/changing-a-cluster.md says."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.cluster_command import get_file, lockstep, put_when_ready
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.history import Traffic, judge
from tests.cluster.previous_release import ORDER, previous_release, use_this_release

PEOPLE = 4


def _knows_groups(cluster: ClusterHarness) -> bool:
    """Whether proxy 1 and the directory answer what only this release has."""
    return cluster.session().get(f"{cluster.proxy_urls[0]}/api/v1/groups", timeout=60).status_code == 200


def test_people_work_through_a_rolling_upgrade(make_cluster: MakeCluster, tmp_path: Path, seed: int) -> None:
    """With every mixture of the two releases that the order brings; nothing is lost, and no answer is wrong."""
    cluster = make_cluster(env=previous_release(tmp_path / "previous", installed=False))
    assert not _knows_groups(cluster)
    kept = {"before": b"of the previous release" * 1000}
    put_when_ready(cluster, "before", kept["before"])
    use_this_release(cluster)
    with Traffic(cluster, seed, clients=PEOPLE) as traffic:
        traffic.calm(2 * PEOPLE, PEOPLE)
        for program, id in ORDER:
            traffic.allow(PEOPLE)
            cluster.terminate(program, id)
            cluster.start(program, id)
            ended = lockstep(cluster, "status", "--wait", "healthy", "--timeout", "150")
            assert ended.returncode == 0, f"{program} {id}: {ended.stdout}{ended.stderr}"
            traffic.calm(2 * PEOPLE, PEOPLE)
            path = f"after-{program}-{id}"
            kept[path] = path.encode() * 20_000
            put_when_ready(cluster, path, kept[path])
        traffic.read_everything()
    judge(traffic, tmp_path, seed)
    assert _knows_groups(cluster)
    for path, content in kept.items():
        for proxy in (1, 2):
            assert get_file(cluster, path, proxy) == content, path
    report = lockstep(cluster, "fsck")
    assert "metadata and disks agree" in report.stdout, report.stdout + report.stderr
