"""The cluster command from outside: run, kept in front, and what its cluster shows."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import ROOT
from tests.cluster.cluster_harness import ClusterHarness, run_cluster
from tests.waiting import wait_until


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ports_of(cluster: ClusterHarness) -> list[int]:
    return [int(one.url.rpartition(":")[2]) for one in cluster.programs]


def put_file(cluster: ClusterHarness, path: str, content: bytes) -> None:
    reply = cluster.session().put(f"{cluster.proxy_urls[0]}/api/v1/files/files/{path}", data=content, timeout=60)
    assert reply.status_code in (200, 201), reply.text


def put_when_ready(cluster: ClusterHarness, path: str, content: bytes) -> None:
    """Write a file to a cluster that has just started, whose directory may still wait for file servers."""

    def written() -> bool:
        url = f"{cluster.proxy_urls[0]}/api/v1/files/files/{path}"
        return cluster.session().put(url, data=content, timeout=60).status_code in (200, 201)

    wait_until(written, what="an acknowledged write")


def until_all_are_healthy(cluster: ClusterHarness) -> str:
    """What --status prints when it exits with 0. Programs that a busy machine keeps from answering within three
    seconds are asked again."""

    def status() -> str:
        ended = run_cluster("--data", cluster.data, "--status")
        return ended.stdout if ended.returncode == 0 else ""

    return wait_until(status, what="a healthy status")


def get_file(cluster: ClusterHarness, path: str, proxy: int = 1) -> bytes:
    reply = cluster.session().get(f"{cluster.proxy_urls[proxy - 1]}/api/v1/files/files/{path}", timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.content


class Foreground:
    """The cluster command in front of its cluster, ended whatever happens."""

    def __init__(self, cluster: ClusterHarness, stdin: int) -> None:
        command = [sys.executable, "-P", "-m", "local_cluster", *cluster.arguments]
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=cluster.env
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_for(command: Sequence[str | Path], cluster: ClusterHarness) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=cluster.env,
        timeout=240,
    )


def lockstep(cluster: ClusterHarness, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `lockstep` as the administrator."""
    place = ["--url", cluster.proxy_urls[0], "--ca", str(cluster.ca_file)]
    return subprocess.run(
        [sys.executable, "-P", "-m", "lockstep_store.client.cli", *place, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **cluster.env,
            "LOCKSTEP_API_KEY": cluster.admin_key,
            "LOCKSTEP_CONFIG_DIR": str(cluster.data / "cli"),
        },
        timeout=180,
    )


def status_says(cluster: ClusterHarness, line: str) -> bool:
    """Whether `lockstep status` says that the cluster is not healthy, for this reason among others."""
    status = lockstep(cluster, "status")
    return status.returncode in (1, 2) and re.search(line, status.stdout, re.MULTILINE) is not None
