"""Following the journal and the locks of a real cluster while its programs die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.cluster.people import Person
from tests.waiting import wait_until

WRITES = 12


class Watching:
    """A command that follows something through one proxy, and the JSON that it has printed."""

    def __init__(self, cluster: ClusterHarness, proxy_url: str, config: Path, *words: str) -> None:
        command = [sys.executable, "-m", "lockstep_store.client.cli", "--url", proxy_url, "--ca", str(cluster.ca_file)]
        environment = {**os.environ, "LOCKSTEP_API_KEY": cluster.admin_key, "LOCKSTEP_CONFIG_DIR": str(config)}
        self.seen: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*command, *words, "--json"], env=environment, stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.seen.append(json.loads(line))

    def cursors(self) -> list[int]:
        return [change["cursor"] for change in self.seen]

    def interrupt(self) -> int:
        """Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        self._thread.join(60)


@contextmanager
def watching(cluster: ClusterHarness, proxy_url: str, config: Path, *words: str) -> Iterator[Watching]:
    watch = Watching(cluster, proxy_url, config, *words)
    try:
        yield watch
    finally:
        watch.close()


def test_every_change_is_seen_once_and_in_order_while_programs_die(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """A watcher at one proxy misses and repeats nothing of what goes on through another, though the directory and the
    watcher's own proxy are killed and started again meanwhile; Ctrl-C ends it with 130."""
    cluster = make_cluster(file_servers=2)
    acknowledged: list[int] = []
    with (
        Person(cluster, proxy=1) as writer,
        watching(cluster, cluster.proxy_urls[1], tmp_path / "config", "watch", "--cursor", "0") as watch,
    ):

        def write(first: int) -> None:
            for number in range(first, first + WRITES):
                acknowledged.append(writer.put(f"watched/{number}", f"content {number}".encode())["cursor"])

        write(0)
        wait_until(lambda: watch.seen, what="the first change")
        cluster.kill("directory_server")
        cluster.start("directory_server", wait=False)
        write(WRITES)
        cluster.kill("client_proxy", 2)
        write(2 * WRITES)
        moved = writer.patiently(
            "POST", "/copy", json={"source": _at("watched/0"), **_at("watched/moved"), "move": True}
        )
        acknowledged.append(moved.json()["cursor"])
        last = writer.patiently("DELETE", "/files/files/watched/1").json()["cursor"]
        cluster.start("client_proxy", 2, wait=False)
        wait_until(lambda: last in watch.cursors(), what="the last change")
        journal = writer.ask("GET", "/changes", params={"cursor": "0"}).json()
        assert watch.interrupt() == 130
    assert watch.seen == sorted(watch.seen, key=lambda change: change["cursor"])
    assert watch.cursors() == [change["cursor"] for change in journal["changes"]]
    assert set(acknowledged) <= set(watch.cursors())
    assert len(set(watch.cursors())) == len(watch.seen) >= 3 * WRITES + 3
    assert [change["kind"] for change in watch.seen][-3:] == ["move", "delete", "delete"]
    print(f"{len(watch.seen)} changes seen once and in order, {len(acknowledged)} of them acknowledged to the writer")


def test_locks_are_followed_while_programs_die(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """Who follows the locks at one proxy sees those that are taken through another, also after the directory and the
    own proxy were killed and started again."""
    cluster = make_cluster(file_servers=1, copies=1)
    with (
        Person(cluster, proxy=1) as writer,
        watching(cluster, cluster.proxy_urls[1], tmp_path / "config", "locks", "--watch") as watch,
    ):

        def lock(path: str) -> None:
            body = {"paths": [f"files/{path}"], "lease_seconds": 600, "request_id": f"the request for {path}"}
            writer.patiently("POST", "/locks", json=body)

        def wait_for(*paths: str) -> None:
            def shown() -> list[str]:
                return sorted(one["path"] for held in watch.seen[-1]["locks"] for one in held["paths"])

            wait_until(lambda: watch.seen and shown() == [*paths], what=f"locks on {paths}")

        wait_for()
        lock("a")
        wait_for("a")
        cluster.kill("directory_server")
        cluster.start("directory_server", wait=False)
        lock("b")
        wait_for("a", "b")
        cluster.kill("client_proxy", 2)
        lock("c")
        cluster.start("client_proxy", 2, wait=False)
        wait_for("a", "b", "c")
        assert watch.interrupt() == 130


def _at(path: str) -> dict[str, str]:
    return {"bucket": "files", "path": path}
