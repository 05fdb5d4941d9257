"""A detached cluster keeps itself up: what dies runs again, what is sick is named, and the rest goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable

import pytest

from local_cluster.processes import process_mark, send
from local_cluster.records import RunLock
from tests.cluster.cluster_command import (
    get_file,
    listens,
    lockstep,
    put_file,
    put_when_ready,
    status_says,
    until_all_are_healthy,
)
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import full, small_disk
from tests.waiting import wait_until

KEPT = {"LOCKSTEP_CLUSTER_RESTART": "yes"}


@pytest.fixture
def kept(make_cluster: MakeCluster) -> ClusterHarness:
    """A cluster with a process that keeps it running."""
    return make_cluster(file_servers=2, proxies=1, env=KEPT)


def keeper_of(cluster: ClusterHarness) -> int:
    return RunLock(cluster.folder).holder()


def kill_keeper(cluster: ClusterHarness) -> None:
    keeper = keeper_of(cluster)
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not keeper_of(cluster), what="the keeper's end")


def pids(cluster: ClusterHarness) -> dict[str, int]:
    return {one.name: one.pid for one in cluster.programs}


def changed(cluster: ClusterHarness, before: dict[str, int]) -> list[str]:
    """The programs that have another process than before."""
    return [name for name, pid in pids(cluster).items() if before.get(name) != pid]


def kill_some(cluster: ClusterHarness, *names: str) -> None:
    for record in cluster.programs:
        if record.name in names:
            send(record.pid, record.mark, signal.SIGKILL)


def runs_again(cluster: ClusterHarness, before: dict[str, int], *names: str) -> Callable[[], bool]:
    return lambda: (
        sorted(changed(cluster, before)) == sorted(names) and all(record.running for record in cluster.programs)
    )


def test_what_dies_runs_again_and_the_others_go_on(kept: ClusterHarness) -> None:
    """Killed programs, the directory among them, have new processes soon; the rest keeps its own, and no file is lost.
    --stop then ends everything, the process that kept it running too."""
    put_file(kept, "kept.txt", b"kept")
    before, keeper = pids(kept), keeper_of(kept)
    assert keeper
    kill_some(kept, "directory_server 1", "file_server 2")
    wait_until(runs_again(kept, before, "directory_server 1", "file_server 2"), what="the new processes")
    shown = until_all_are_healthy(kept)
    assert f"Process {keeper} keeps them running" in shown
    assert get_file(kept, "kept.txt") == b"kept"
    told = kept.folder.watch_log.read_text()
    assert "file_server 2 was killed by signal 9; it is started again in 1 s" in told

    assert kept.command("--stop").returncode == 0
    wait_until(lambda: not process_mark(keeper), what="the end of the process that stayed")
    assert kept.programs == []
    assert not listens(kept.ports.base)


def test_a_killed_keeper_stops_nothing_and_is_replaced(kept: ClusterHarness) -> None:
    """Its programs go on, --status warns that they are not restarted, and --detach takes them over as they are."""
    before = pids(kept)
    kill_keeper(kept)
    assert "are not restarted" in until_all_are_healthy(kept)
    assert kept.command("--detach").returncode == 0
    assert changed(kept, before) == []
    kill_some(kept, "file_server 1")
    wait_until(runs_again(kept, before, "file_server 1"), what="the new process")
    until_all_are_healthy(kept)
    again = kept.command("--detach")
    assert again.returncode == 6
    assert "--detach" not in again.stderr, "it would help with nothing"


def test_without_a_keeper_stop_stops_everything(kept: ClusterHarness) -> None:
    """The programs' own records are enough."""
    running = list(pids(kept).values())
    kill_keeper(kept)
    assert kept.command("--stop").returncode == 0
    assert not any(process_mark(pid) for pid in running)


def test_a_program_that_cannot_start_is_tried_ever_more_rarely(kept: ClusterHarness) -> None:
    """--status says how it ends, how often and when it is tried next; --detach tries at once, and helps once it is
    mended."""
    data, before = kept.data / "file_server-2", pids(kept)
    data.rename(kept.data / "kept")
    data.write_text("in the way")
    kill_some(kept, "file_server 2")
    wait_until(lambda: kept.record("file_server", 2).failures >= 2, what="failed starts")
    ended = r"file_server 2: ended with exit code 2, \d+ times in a row \(.* is a file\); it is started again"

    def told() -> bool:
        status = kept.command("--status")
        return status.returncode == 9 and re.search(ended, status.stdout) is not None

    wait_until(told, what="the reason")
    said = []

    def tried_again() -> bool:
        again = kept.command("--detach")
        said.append(again.stderr)
        return again.returncode == 9  # 6: its next start was due just now, and it has not ended yet

    wait_until(tried_again, what="a start at once")
    assert "file_server 2: ended with exit code 2" in said[-1]
    data.unlink()
    (kept.data / "kept").rename(data)
    mended = kept.command("--detach")
    assert mended.returncode in (0, 6), mended.stderr  # 6: its next start was due just now
    until_all_are_healthy(kept)
    assert changed(kept, before) == ["file_server 2"]


def test_a_running_cluster_grows(kept: ClusterHarness) -> None:
    """--file-servers 3 on a running cluster starts the third one; fewer, or other copies, need a stop."""
    before = pids(kept)
    for options in (("--file-servers", "1", "--copies", "1"), ("--copies", "1")):
        refused = kept.command("--detach", *options)
        assert refused.returncode == 6, options
    assert kept.command("--detach", "--file-servers", "3").returncode == 0
    assert changed(kept, before) == ["file_server 3"]
    assert len(kept.file_server_urls) == 3


def test_a_removed_file_server_stays_out(make_cluster: MakeCluster) -> None:
    """It is not started again, neither by the keeper nor by the next start, and does not count as sick; with an empty
    folder it comes back as a new one."""
    cluster = make_cluster(file_servers=3, proxies=1, env=KEPT)
    put_file(cluster, "kept.txt", b"kept")
    servers = f"{cluster.proxy_urls[0]}/api/v1/cluster/servers"
    session = cluster.session()
    assert session.delete(f"{servers}/3", params={"force": "true"}, timeout=60).status_code in (200, 204)
    kill_some(cluster, "file_server 3")
    wait_until(lambda: "file_server 3" not in pids(cluster), what="the end of file server 3")
    until_all_are_healthy(cluster)
    assert cluster.command("--stop").returncode == 0
    ended = cluster.command("--detach")
    assert ended.returncode == 0, ended.stderr
    assert "file_server 3 is left out, because it was removed" in ended.stderr
    assert "file_server 3" not in until_all_are_healthy(cluster)
    assert get_file(cluster, "kept.txt") == b"kept"
    shutil.rmtree(cluster.data / "file_server-3")
    assert cluster.command("--detach").returncode == 0
    assert "file_server 3" in until_all_are_healthy(cluster)


def test_a_full_file_server_keeps_nothing_down_and_can_leave(make_cluster: MakeCluster) -> None:
    """Without a byte to write it does not start: the others take writes, both commands say which and why, and it runs
    again when there is room. One that fills up is drained when `remove` accepts it, and is left out afterwards."""
    cluster = make_cluster(file_servers=3, proxies=1, env=KEPT, start_now=False)
    disk = cluster.data / "file_server-3"
    with small_disk(disk):
        cluster.start_all()
        for number in range(12):
            put_file(cluster, f"{number}.txt", f"content {number}".encode())
        assert cluster.command("--stop").returncode == 0
        with full(disk):
            ended = cluster.command("--detach")
            assert ended.returncode == 9, ended.stderr
            assert "1 of 5 programs is not healthy" in ended.stderr
            assert "file_server 3: ended with exit code 1" in ended.stderr
            assert "Traceback" not in ended.stderr
            put_when_ready(cluster, "taken.txt", b"by the two others")
            said = r"^  file server 3 (has not reported|is down|does not answer).* To do: "
            assert status_says(cluster, said)
        healthy = lockstep(cluster, "status", "--wait", "healthy", "--timeout", "200")
        assert healthy.returncode == 0, healthy.stdout
        with full(disk):
            wait_until(
                lambda: status_says(cluster, r"^  file server 3 takes no .*full.* To do: free space"), what="full"
            )
            drained = lockstep(cluster, "servers", "drain", "3", "--wait")
            assert "is drained; remove it with" in drained.stdout, drained.stderr
            removed = lockstep(cluster, "servers", "remove", "3")
            assert removed.returncode == 0, removed.stderr
        assert "file_server 3 is left out" in cluster.command("--detach").stderr
        assert "file_server 3" not in until_all_are_healthy(cluster)
        for number in range(12):
            assert get_file(cluster, f"{number}.txt") == f"content {number}".encode()
        assert cluster.command("--stop").returncode == 0
