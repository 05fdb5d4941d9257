"""What the directory acknowledged more than a moment before it was lost is there after a restore: from a continuous
backup, whose process may be killed at any moment and whose disk may be full, and from file servers' redo records."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.cluster.cluster_command import lockstep
from tests.cluster.cluster_harness import ClusterHarness, wait_until
from tests.cluster.people import Person
from tests.cluster.test_backup import checked, json_of, recovered

LAG_SECONDS = 2.5
"""A second, on a machine where everything runs at once."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    with ClusterHarness(tmp_path_factory.mktemp("follow"), proxies=1) as harness:
        yield harness


class Follower:
    """`lockstep backup --follow` as a process. It ends with the `with` block."""

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def __init__(self, cluster: ClusterHarness, folder: Path, log: Path) -> None:
        self._cluster, self._folder, self._log = cluster, folder, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, max_file_bytes: int = 0) -> None:
        environment = {
            **os.environ,
            "LOCKSTEP_API_KEY": self._cluster.admin_key,
            "LOCKSTEP_CONFIG_DIR": str(self._cluster.data / "cli"),
        }
        place = ["--url", self._cluster.proxy_urls[0], "--ca", str(self._cluster.ca_file)]
        command = [sys.executable, "-P", "-m", "lockstep_store.client.cli", *place, "backup", "--follow"]
        limit: Callable[[], None] | None = None
        if max_file_bytes:
            limits = (max_file_bytes, max_file_bytes)
            limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # noqa: E731
        with (Path(os.devnull) if max_file_bytes else self._log).open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self._folder)], stdout=log, stderr=log, env=environment, cwd=ROOT, preexec_fn=limit
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def has_kept(self, folder: Path, changes: int) -> bool:
        """Whether the folder has about that much."""
        return sum(file.stat().st_size for file in folder.glob("redo-*.log")) > 1000 * changes

    def says(self, words: str) -> bool:
        return words in self._log.read_text("utf-8")


def lose_and_restore(cluster: ClusterHarness, saved: Path) -> None:
    data = cluster.data_dir("directory_server")
    cluster.kill("directory_server")
    shutil.rmtree(data)
    command = [sys.executable, "-P", "-m", "lockstep_store.client.cli", "restore", str(saved), "--data", str(data)]
    restored = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=ROOT)
    assert restored.returncode == 0, restored.stderr
    cluster.start("directory_server")


def change(person: Person, name: str) -> None:
    """Some of everything that leaves no bytes at a file server, and something that does."""
    person.put(f"{name}.txt", name.encode())
    person.put(f"{name}.gone", b"to be removed")
    source = {"bucket": "files", "path": f"{name}.txt"}
    copied = person.ask("POST", "/copy", json={"source": source, "bucket": "files", "path": f"{name}.copy"})
    assert copied.status_code in (200, 201), copied.text
    assert person.ask("DELETE", f"/files/files/{name}.gone").status_code in (200, 204)
    assert person.ask("POST", "/buckets", json={"name": f"bucket-{name}"}).status_code in (200, 201)


def assert_changed(person: Person, name: str) -> None:
    assert person.get(f"{name}.txt") == person.get(f"{name}.copy") == name.encode()
    assert person.patiently("GET", f"/files/files/{name}.gone").status_code == 404
    assert person.patiently("GET", f"/buckets/bucket-{name}").status_code == 200


def test_a_continuous_backup_survives_kills_and_a_full_disk(cluster: ClusterHarness, tmp_path: Path, seed: int) -> None:
    """Killed at ten moments while people work, then out of space: it goes on by itself, and misses nothing."""
    source, log = random.Random(seed), tmp_path / "log"
    folder = tmp_path / "follow"
    done: list[str] = []
    with Follower(cluster, folder, log) as follower, Person(cluster) as person:
        follower.start()
        wait_until(lambda: follower.says(" s behind"), what="the first backup")
        for number in range(10):
            change(person, f"kill-{number}")
            done.append(f"kill-{number}")
            time.sleep(1.0 + source.random() * 2.0)
            follower.kill()
            follower.start()
        wait_until(lambda: follower.has_kept(folder, 10), what="the records of ten changes")
        follower.kill()
        longest = max(file.stat().st_size for file in folder.glob("redo-*.log"))
        follower.start(max_file_bytes=longest + 4000)
        for number in range(20):
            change(person, f"full-{number}")
            done.append(f"full-{number}")
            time.sleep(0.3)
        wait_until(lambda: len(list(folder.glob("redo-*.log"))) > 1, what="another file")
        time.sleep(LAG_SECONDS)
        for id in (1, 2, 3):
            cluster.kill("file_server", id)
            shutil.rmtree(cluster.data_dir("file_server", id) / "redo", ignore_errors=True)
        lose_and_restore(cluster, folder)
        for id in (1, 2, 3):
            cluster.start("file_server", id)
        found = wait_until(lambda: recovered(person), what="the end of recovery")
        assert found is not None
        assert (found.get("replayed_records", 0), found["recovered_versions"]) == (0, 0), "all came from the backup"
        for name in done:
            assert_changed(person, name)
        assert checked(person).get("problems", []) == []


def test_file_servers_give_back_what_an_older_backup_lacks(cluster: ClusterHarness, tmp_path: Path) -> None:
    """Without a newer backup, and although most of it left no bytes with them."""
    saved = tmp_path / "older.backup"
    json_of(lockstep(cluster, "--json", "backup", saved))
    with Person(cluster) as person:
        for number in range(5):
            change(person, f"late-{number}")
        time.sleep(LAG_SECONDS)
        lose_and_restore(cluster, saved)
        found = wait_until(lambda: recovered(person), what="the end of recovery")
        assert found is not None
        assert found["replayed_records"] > 0
        for number in range(5):
            assert_changed(person, f"late-{number}")
        assert checked(person).get("problems", []) == []
