"""A directory restored from an older backup finds again what happened since; disks and metadata are made to agree."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.cluster.cluster_command import lockstep
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.people import Person
from tests.waiting import wait_until


def json_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return dict(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterHarness]:
    """One cluster for both tests: each harms it in its own way, and leaves it whole."""
    with ClusterHarness(tmp_path_factory.mktemp("backup"), proxies=1) as harness:
        yield harness


def recovered(person: Person) -> dict[str, Any] | None:
    """How recovery ended; None while it has not."""
    answer = person.patiently("GET", "/cluster/recovery")
    assert answer.status_code == 200, answer.text
    found = dict(answer.json()["recovery"])
    return found if found["finished"] else None


def checked(person: Person, *, deep: bool = False) -> dict[str, Any]:
    """A whole fsck's report."""
    answer = person.patiently("POST", "/cluster/fsck", json={"deep": deep})
    assert answer.status_code == 202, answer.text

    def done() -> dict[str, Any] | None:
        report = dict(person.patiently("GET", "/cluster/fsck").json())
        return report if report["state"] == "done" else None

    return wait_until(done, what="the end of fsck") or {}


def test_a_restored_older_backup_loses_nothing_that_was_written_since(cluster: ClusterHarness, tmp_path: Path) -> None:
    """Write, back up, write more, lose the directory's disk, restore: everything is readable, no number repeats."""
    saved = tmp_path / "directory.backup"
    with Person(cluster) as person:
        person.put("before.txt", b"one")
        with person.lock("locked.txt") as number_before:
            person.put("locked.txt", b"locked", X_Lockstep_Lock=str(number_before))
        made = json_of(lockstep(cluster, "--json", "backup", saved))["backup"]
        assert saved.stat().st_mode & 0o777 == 0o600
        assert made["files"] == 2
        later = {f"later-{number}.txt": f"content {number}".encode() * 50 for number in range(8)}
        later["large.bin"] = os.urandom(3_000_000)
        for name, content in later.items():
            person.put(name, content)
        newest = person.put("before.txt", b"two, written after the backup")
        with person.lock("locked.txt") as number_after_backup:
            person.put("locked.txt", b"newer", X_Lockstep_Lock=str(number_after_backup))
        notes_written(cluster, len(later) + 2)

        data = cluster.data_dir("directory_server")
        cluster.kill("directory_server")
        shutil.rmtree(data)
        for id in (1, 2, 3):  # without redo records it must do with the masters' notes
            shutil.rmtree(cluster.data_dir("file_server", id) / "redo")
        restored = subprocess.run(
            [sys.executable, "-P", "-m", "lockstep_store.client.cli", "restore", str(saved), "--data", str(data)],
            capture_output=True, text=True, timeout=180, check=False, cwd=ROOT,
        )  # fmt: skip
        assert restored.returncode == 0, restored.stderr
        cluster.start("directory_server")
        found = wait_until(lambda: recovered(person), what="the end of recovery")
        assert found is not None
        assert found.get("replayed_records", 0) == 0
        assert found["recovered_versions"] == len(later) + 2
        assert found["unnamed_blobs"] == 0

        for name, content in {**later, "before.txt": b"two, written after the backup", "locked.txt": b"newer"}.items():
            assert person.get(name) == content, name
        version = person.ask("HEAD", "/files/files/before.txt").headers["X-Lockstep-Version"]
        assert version == newest["version"]["version"], "a version found again has the id that it had"
        person.put("locked.txt", b"without a lock, on a path whose later locks the backup does not know")
        with person.lock("locked.txt") as number_now:
            assert number_now > number_after_backup > number_before
            after = person.put("locked.txt", b"newest", X_Lockstep_Lock=str(number_now))
        assert after["version"]["version"] > newest["version"]["version"]
        report = lockstep(cluster, "fsck")
        assert report.returncode == 0, report.stdout + report.stderr
        assert "metadata and disks agree" in report.stdout


def notes_written(cluster: ClusterHarness, count: int) -> None:
    """Wait until the masters' notes of `count` commits since are on their disks: nobody waits for them otherwise."""
    indexes = [cluster.data_dir("file_server", id) / "index.db" for id in (1, 2, 3)]

    def written() -> int:
        found = 0
        for index in indexes:
            with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as db:
                found += db.execute("SELECT count(*) FROM note").fetchone()[0]
        return found

    wait_until(lambda: written() >= count + 2, what="the commit notes")


def test_what_vanished_behind_a_stopped_servers_back_is_made_again(cluster: ClusterHarness) -> None:
    """Blobs deleted from a stopped file server's index are missed when it starts, and repaired; fsck then agrees."""
    with Person(cluster) as person:
        for number in range(20):
            person.put(f"file-{number}.txt", f"content {number}".encode())
        cluster.terminate("file_server", 2)
        index = cluster.data_dir("file_server", 2) / "index.db"
        with closing(sqlite3.connect(index, isolation_level=None)) as db:
            gone = [row[0] for row in db.execute("SELECT name FROM blob ORDER BY name LIMIT 7").fetchall()]
            for name in gone:
                db.execute("DELETE FROM blob WHERE name = ?", (name,))
        cluster.start("file_server", 2)

        def back() -> int:
            with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as db:
                held = {row[0] for row in db.execute("SELECT name FROM blob")}
            return sum(name in held for name in gone)

        wait_until(lambda: back() == len(gone), what="the return of the deleted blobs")

        # A copy that was just made again may still be on its way into the metadata.
        wait_until(lambda: "problems" not in checked(person, deep=True), what="fsck's agreement")
        for number in range(20):
            assert person.get(f"file-{number}.txt") == f"content {number}".encode()
