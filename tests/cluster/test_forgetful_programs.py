"""Real programs that come back knowing less: nothing acknowledged goes, and no number is given twice, because of it."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from file_server.maintenance.garbage_collector import MARK_SECONDS
from local_cluster.health import HealthProbe
from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.disks import stop_and_check_disks
from tests.cluster.people import Person
from tests.cluster.test_replica_away import wait_converged
from tests.waiting import wait_until

GRACE_SECONDS = 12.0
SHORT = {
    "LOCKSTEP_DIRECTORY_SUSPECT_SECONDS": "1.5",
    "LOCKSTEP_DIRECTORY_DOWN_SECONDS": "2",
    "LOCKSTEP_DIRECTORY_REPAIR_GRACE_SECONDS": "2",
    "LOCKSTEP_DIRECTORY_TICKET_SECONDS": "10",
    "LOCKSTEP_FILE_SERVER_GRACE_SECONDS": str(GRACE_SECONDS),
}
"""So that collectors would soon drop what a directory does not know."""
COLLECTED_SECONDS = MARK_SECONDS + 1.25 * GRACE_SECONDS + 2.0
"""After so long a collector has asked about every blob: it marks ages so often, waits for the grace period, and takes
a step in a quarter of that."""
SOAK_ROUNDS = 12


def write_some(cluster: ClusterHarness, source: random.Random, prefix: str, count: int = 10) -> dict[str, bytes]:
    files = {f"{prefix}/{number}": source.randbytes(source.choice((10, 1000, 100_000))) for number in range(count)}
    with Person(cluster) as person:
        for path, content in files.items():
            person.put(path, content)
    return files


def read_all(cluster: ClusterHarness, files: dict[str, bytes]) -> None:
    with Person(cluster) as person:
        for path, content in files.items():
            assert person.get(path) == content, path


def marks_written(cluster: ClusterHarness) -> None:
    """Wait until some file server has on its disk that it has seen the directory's newest change and lock number."""
    metadata = cluster.data_dir("directory_server") / "metadata.db"
    with closing(sqlite3.connect(f"file:{metadata}?mode=ro", uri=True)) as db:
        cursor = db.execute("SELECT max(cursor) FROM journal").fetchone()[0]
        number = db.execute("SELECT coalesce(max(value), 0) FROM counter WHERE name = 'lock_number'").fetchone()[0]

    def seen() -> bool:
        for id in (1, 2, 3):
            index = cluster.data_dir("file_server", id) / "index.db"
            with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as db:
                marks = dict(db.execute("SELECT name, value FROM total WHERE name LIKE 'seen%'").fetchall())
            if marks.get("seen_cursor", 0) >= cursor and marks.get("seen_lock_number", 0) >= number:
                return True
        return False

    wait_until(seen, what="the file servers' marks")


def refused_start(cluster: ClusterHarness) -> str:
    """Start the directory, which must end by itself with 1; the last it said."""
    log = Path(cluster.record("directory_server").log_file)
    before = log.stat().st_size
    cluster.start("directory_server", wait=False)
    wait_until(lambda: cluster.exit_code("directory_server") is not None, what="the end of the directory")
    assert cluster.exit_code("directory_server") == 1
    return log.read_bytes()[before:].decode()


def accept_older(cluster: ClusterHarness) -> None:
    data = cluster.data_dir("directory_server")
    command = [
        sys.executable,
        "-P",
        "-m",
        "lockstep_store.client.cli",
        "restore",
        "--accept-older",
        "--data",
        str(data),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "lockstep recover" in ended.stdout


def recovered(cluster: ClusterHarness) -> dict[str, Any]:
    """How recovery ended, once every file server has registered."""
    cluster.wait_healthy()
    with Person(cluster) as person:

        def ended() -> dict[str, Any] | None:
            found = person.patiently("GET", "/cluster/recovery").json()["recovery"]
            return dict(found) if found and found["finished"] else None

        return wait_until(ended, what="the end of recovery") or {}


def problem_of(cluster: ClusterHarness) -> str:
    return HealthProbe(cluster.folder).fault(cluster.record("directory_server"))


def test_a_directory_without_its_folder_does_not_become_a_new_cluster(
    make_cluster: MakeCluster, seed: int, tmp_path: Path
) -> None:
    """It ends with what to do; the folder put back, all is there; and asked for by name, all is found again."""
    source = random.Random(seed)
    cluster = make_cluster(env=SHORT)
    files = write_some(cluster, source, "kept")
    with Person(cluster) as person, person.lock("locked") as number_before:
        person.put("locked", b"under a lock", X_Lockstep_Lock=str(number_before))
    marks_written(cluster)
    data = cluster.data_dir("directory_server")
    cluster.kill("directory_server")
    data.rename(tmp_path / "unmounted")
    said = refused_start(cluster)
    for words in ("there is no metadata in", "authority", "--data", "lockstep restore", "--new-metadata"):
        assert words in said, said
    again = cluster.command("--detach")
    assert again.returncode != 0, "the cluster's command does not ask for new metadata by itself"
    shutil.rmtree(data, ignore_errors=True)
    (tmp_path / "unmounted").rename(data)
    cluster.start_all()
    read_all(cluster, files)

    cluster.kill("directory_server")
    shutil.rmtree(data)
    cluster.start("directory_server", env={"LOCKSTEP_DIRECTORY_NEW_METADATA": "1"})
    assert recovered(cluster)["source"] == "nothing"
    read_all(cluster, files)
    with Person(cluster) as person, person.lock("locked") as number_after:
        assert number_after > number_before
        person.put("locked", b"under a later lock", X_Lockstep_Lock=str(number_after))
    time.sleep(COLLECTED_SECONDS)  # a collector that is right does nothing that could be waited for
    checked = stop_and_check_disks(cluster)
    assert checked.copies >= 2 * len(files)


def set_back(cluster: ClusterHarness, source: random.Random, folder: Path, round: str) -> dict[str, bytes]:
    """Put an older copy of the directory's folder back, see it refused, accept it; what was written meanwhile."""
    data = cluster.data_dir("directory_server")
    cluster.kill("directory_server")
    shutil.copytree(data, folder)
    cluster.start("directory_server")
    files = write_some(cluster, source, f"since-{round}")
    with Person(cluster) as person, person.lock("locked") as number_before:
        newest = person.put("locked", b"seen", X_Lockstep_Lock=str(number_before))
        marks_written(cluster)
    cluster.kill("directory_server")
    shutil.rmtree(data)
    shutil.copytree(folder, data)
    cluster.start("directory_server", wait=False)
    wait_until(lambda: "older than the records of file_server-" in problem_of(cluster), what="the directory's refusal")
    with Person(cluster) as person:
        for method, path in (("PUT", "/files/files/new"), ("GET", "/files/files/locked"), ("POST", "/locks")):
            body: dict[str, Any] = {"json": {"paths": ["files/other"]}} if path == "/locks" else {"data": b"new"}
            answer = person.ask(method, path, **(body if method != "GET" else {}))
            assert (answer.status_code, answer.json()["code"]) == (503, "out_of_date"), answer.text
    time.sleep(COLLECTED_SECONDS)  # a collector that is right does nothing that could be waited for
    cluster.terminate("directory_server")
    assert "restore --accept-older" in refused_start(cluster)
    accept_older(cluster)
    cluster.start("directory_server")
    assert recovered(cluster)["source"] == "older"
    read_all(cluster, files)
    with Person(cluster) as person, person.lock("locked") as number_after:
        assert number_after > number_before
        after = person.put("locked", b"later", X_Lockstep_Lock=str(number_after))
        assert after["version"]["version"] > newest["version"]["version"]
    shutil.rmtree(folder)
    return files


def test_a_directory_with_an_older_folder_gives_nothing_twice(
    make_cluster: MakeCluster, seed: int, tmp_path: Path
) -> None:
    """It refuses everything, keeps every blob, and goes on like a restored one when that is accepted."""
    source = random.Random(seed)
    cluster = make_cluster(env=SHORT)
    files = write_some(cluster, source, "before")
    files |= set_back(cluster, source, tmp_path / "older", "1")
    read_all(cluster, files)
    stop_and_check_disks(cluster)


def swap_disk(cluster: ClusterHarness, source: random.Random, folder: Path, round: str) -> dict[str, bytes]:
    """Let a file server come back with an older copy of its disk; what was written meanwhile."""
    id = source.randint(1, 3)
    data = cluster.data_dir("file_server", id)
    cluster.kill("file_server", id)
    shutil.copytree(data, folder)
    cluster.start("file_server", id)
    files = write_some(cluster, source, f"disk-{round}", 20)
    cluster.kill("file_server", id)
    wait_converged(cluster, 300)  # the others have two copies of everything
    shutil.rmtree(data)
    folder.rename(data)
    cluster.start("file_server", id)
    wait_converged(cluster, 300)
    return files


def test_a_file_server_with_an_older_disk_costs_no_copy(make_cluster: MakeCluster, seed: int, tmp_path: Path) -> None:
    """Two whole copies of everything are on the disks when it is settled, although the metadata counted more."""
    source = random.Random(seed)
    cluster = make_cluster(env=SHORT)
    files = write_some(cluster, source, "before")
    files |= swap_disk(cluster, source, tmp_path / "older", "1")
    read_all(cluster, files)
    stop_and_check_disks(cluster)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_programs_that_forget_again_and_again(make_cluster: MakeCluster, seed: int, tmp_path: Path) -> None:
    """Older folders and older disks in turn, in an order that the seed decides: nothing acknowledged is lost."""
    source = random.Random(seed)
    cluster = make_cluster(env=SHORT)
    files = write_some(cluster, source, "before")
    for round in range(SOAK_ROUNDS):
        fault = source.choice((set_back, swap_disk))
        files |= fault(cluster, source, tmp_path / f"older-{round}", str(round))
        read_all(cluster, files)
    stop_and_check_disks(cluster)
