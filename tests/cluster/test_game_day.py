"""A game day: whatever can happen to a cluster happens to one, while eight people work.

`lockstep status` has to say each time what is the matter, and that all is well afterwards. In the end nothing that was
acknowledged is lost, and what people were told could have come from one copy of every file.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local_cluster.plan import Program
from lockstep_store.runtime.storage.redo_files import RedoFile, files_in
from tests import ROOT
from tests.cluster.cluster_command import get_file, lockstep, put_when_ready, status_says
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import full, small_disk
from tests.cluster.history import Traffic, judge
from tests.cluster.previous_release import ORDER, previous_release, use_this_release
from tests.linearizability import Operation, Outcome
from tests.waiting import wait_until

SECONDS = 600.0
PEOPLE = 8
FULL = 3
LEAVES = 4
QUICK = {
    "LOCKSTEP_DIRECTORY_HEARTBEAT_SECONDS": "0.5",
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "2",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "4",
    "LOCKSTEP_DIRECTORY_REPAIR_GRACE_SECONDS": "1",
}


AWAY: dict[Program, str] = {
    "directory_server": r"^  directory server does not answer.* To do: start it",
    "file_server": r"^  file server {id} (is down|does not answer|has not reported).* To do: ",
    "client_proxy": r"^  proxy {id} has not reported.* To do: ",
}
"""What the status says of a program that does not run."""


class GameDay:
    """The cluster, the people at work, and what has to be there in the end."""

    def __init__(self, cluster: ClusterHarness, traffic: Traffic, folder: Path) -> None:
        self.cluster = cluster
        self.traffic = traffic
        self.folder = folder
        self.kept: dict[str, bytes] = {}
        self.told: list[str] = []

    def act(self, what: str, harm: Callable[[], object], says: str, mend: Callable[[], object]) -> None:
        """Harm the cluster, see the status say so, let people go on, mend it, and see that all is well."""
        self.keep(f"before {what}")
        harm()
        began = time.monotonic()
        try:
            self.traffic.allow(PEOPLE)
            wait_until(lambda: status_says(self.cluster, says), 120.0, f"a status that says {says!r}")
            self.traffic.allow(PEOPLE)
        finally:
            mend()
        said = time.monotonic() - began
        self.well()
        self.traffic.calm(2 * PEOPLE, PEOPLE)
        self.keep(f"after {what}")
        self.told.append(f"{what}: said within {said:.0f} s, well after {time.monotonic() - began:.0f} s")

    def keep(self, name: str) -> None:
        """Write a file that nobody changes."""
        content = f"{name}, {len(self.kept)}".encode() * 400
        path = f"kept/{len(self.kept)}"
        put_when_ready(self.cluster, path, content)
        self.kept[path] = content

    def well(self) -> None:
        ended = lockstep(self.cluster, "status", "--wait", "healthy", "--timeout", "150")
        assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}\n{self.cluster.log_tails(8)}"

    # ------------------------------------------------------------ what can happen

    def a_file_server_dies(self) -> None:
        kill, start = self.cluster.kill, self.cluster.start
        says = AWAY["file_server"].format(id=2)
        self.act("a file server dies", lambda: kill("file_server", 2), says, lambda: start("file_server", 2))

    def a_file_server_hangs(self) -> None:
        pause, resume = self.cluster.pause, self.cluster.resume
        says = r"^  file server 1 (is down|does not answer).* To do: "
        self.act("a file server hangs", lambda: pause("file_server", 1), says, lambda: resume("file_server", 1))

    def a_proxy_dies(self) -> None:
        kill, start = self.cluster.kill, self.cluster.start
        self.act(
            "a proxy dies",
            lambda: kill("client_proxy", 2),
            AWAY["client_proxy"].format(id=2),
            lambda: start("client_proxy", 2),
        )

    def the_directory_dies(self) -> None:
        kill, start = self.cluster.kill, self.cluster.start
        says = AWAY["directory_server"]
        self.act("the directory dies", lambda: kill("directory_server"), says, lambda: start("directory_server"))

    def a_disk_fills_up(self) -> None:
        with full(self.cluster.data_dir("file_server", FULL)):
            what = "a disk fills up"
            self.keep(f"before {what}")
            said = r"^  file server 3 takes no .*full.* To do: free space"
            wait_until(lambda: status_says(self.cluster, said), 120.0, f"a status that says {said!r}")
            self.traffic.calm(2 * PEOPLE, PEOPLE)  # the others take the writes
        self.well()
        self.keep(f"after {what}")
        self.told.append(what)

    def a_file_server_is_removed(self) -> None:
        for words in (("drain", str(LEAVES), "--wait"), ("remove", str(LEAVES))):
            ended = lockstep(self.cluster, "servers", *words)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            self.traffic.calm(PEOPLE, 1)
        self.cluster.terminate("file_server", LEAVES)
        self.well()
        self.told.append("a file server is drained and removed")

    def the_cluster_is_upgraded(self) -> None:
        """From the previous release, program by program; the status says which one is away just now."""
        use_this_release(self.cluster)
        for program, id in [*ORDER, ("file_server", LEAVES)]:
            self._is_upgraded(program, id)
        self.told.append("the cluster is upgraded")

    def _is_upgraded(self, program: Program, id: int) -> None:
        terminate, start = self.cluster.terminate, self.cluster.start
        if (program, id) == ("client_proxy", 1):  # people ask it for the status
            terminate(program, id)
            start(program, id)
            self.well()
            return
        self.act(
            f"{program} {id} is upgraded",
            lambda: terminate(program, id),
            AWAY[program].format(id=id),
            lambda: start(program, id),
        )

    def every_program_is_started_anew(self) -> None:
        """In the order of a rolling upgrade."""
        for program, id in ORDER:
            self.traffic.allow(PEOPLE)
            self.cluster.terminate(program, id)
            self.cluster.start(program, id)
            self.well()
        self.traffic.calm(2 * PEOPLE, PEOPLE)
        self.told.append("every program is started anew")

    def the_directorys_disk_is_lost(self) -> None:
        backup = self.folder / f"{len(self.told)}.backup"
        ended = lockstep(self.cluster, "backup", backup)
        assert ended.returncode == 0, ended.stderr
        self.traffic.calm(2 * PEOPLE, PEOPLE)  # which is in no backup
        self.keep("since the backup")
        wait_until(self._records_are_kept, what="file servers that have every redo record")
        lost_at = time.monotonic()
        self.cluster.kill("directory_server")
        data = self.cluster.data_dir("directory_server")
        shutil.rmtree(data)
        command = [sys.executable, "-P", "-m", "lockstep_store.client.cli", "restore", str(backup), "--data", str(data)]
        subprocess.run(command, check=True, capture_output=True, timeout=180, cwd=ROOT)
        for path in self.traffic.paths:  # no lock outlives it
            self.traffic.record(Operation("administrator", "break", path, lost_at, time.monotonic(), Outcome.OK))
        self.cluster.start("directory_server")
        says = r"^  directory server has no backup since it was restored.* To do: make one"
        wait_until(lambda: status_says(self.cluster, says), 120.0, f"a status that says {says!r}")
        assert lockstep(self.cluster, "backup", self.folder / f"{len(self.told)}-new.backup").returncode == 0
        # What was replaced before the loss may be there without a name, if a file server had yet to delete it.
        wait_until(self._recovery_is_over, what="the end of recovery")
        self.well()
        self.traffic.calm(2 * PEOPLE, PEOPLE)
        self.told.append("the directory's disk is lost, and a backup restored")

    def _recovery_is_over(self) -> bool:
        told = lockstep(self.cluster, "status").stdout
        if "recovery has found" in told:
            lockstep(self.cluster, "recover", "--drop-unnamed")
        return "recovery" not in told

    def _records_are_kept(self) -> bool:
        """Whether nothing has changed since every file server fetched what had."""
        ends = set()
        for id in (1, 2, 3):
            last = RedoFile(files_in(self.cluster.data_dir("file_server", id) / "redo")[-1])
            ends.add(max([last.place.sequence, *(batch.through.sequence for batch in last.batches())]))
        time.sleep(2.0)
        return len(ends) == 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_minutes_of_everything_lose_nothing_and_are_said(
    make_cluster: MakeCluster, tmp_path: Path, seed: int
) -> None:
    """An upgrade first, then each once in this order, then again by chance until the time is over."""
    env = {**QUICK, **previous_release(tmp_path / "previous", installed=True)}
    cluster = make_cluster(file_servers=4, proxies=2, env=env, start_now=False)
    with small_disk(cluster.data / f"file_server-{FULL}"):
        cluster.start_all()
        began = time.monotonic()
        with Traffic(cluster, seed, clients=PEOPLE) as traffic:
            day = GameDay(cluster, traffic, tmp_path)
            again = [
                day.a_file_server_dies,
                day.a_file_server_hangs,
                day.a_proxy_dies,
                day.the_directory_dies,
                day.a_disk_fills_up,
                day.every_program_is_started_anew,
                day.the_directorys_disk_is_lost,
            ]
            day.well()
            traffic.calm(5 * PEOPLE, PEOPLE)
            day.the_cluster_is_upgraded()
            for happens in [*again[:5], day.a_file_server_is_removed, *again[5:]]:
                happens()
            chance = random.Random(seed)
            while time.monotonic() - began < SECONDS:
                chance.choice(again)()
            traffic.read_everything()
        judge(traffic, tmp_path, seed)
        for path, content in day.kept.items():
            for proxy in (1, 2):
                assert get_file(cluster, path, proxy) == content, path
        report = lockstep(cluster, "fsck")
        assert "metadata and disks agree" in report.stdout, report.stdout + report.stderr
        cluster.stop()
    lines = "\n  ".join(day.told)
    print(f"\nseed {seed}: {len(traffic.history)} operations, {len(day.kept)} kept files, 0 violations\n  {lines}")
