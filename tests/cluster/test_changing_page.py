"""docs/changing-a-cluster.md: its commands, in their order, on two machines.

Blocks marked `first` are for the first machine, `second` for the new one; here the machines are two loopback addresses.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.cluster.cluster_command import get_file, put_file
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.conftest import MakeCluster
from tests.pages import blocks
from tests.waiting import wait_until

PAGE = ROOT / "docs" / "changing-a-cluster.md"
FIRST, SECOND = "127.0.0.3", "127.0.0.2"


class TwoMachines:
    """The folders and shells of the two machines of the page."""

    def __init__(self, cluster: ClusterHarness, folder: Path) -> None:
        self.cluster = cluster
        self.first, self.second = folder / "first", folder / "second"
        self.first.mkdir()
        self.second.mkdir()
        program = [sys.executable, "-P", "-m", "local_cluster", *cluster.arguments]
        script = self.first / "run_cluster.sh"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
        script.chmod(0o755)
        (self.first / ".cluster").symlink_to(cluster.data)
        self.token = ""
        self.server: subprocess.Popen[bytes] | None = None

    def run(self, command: str, machine: str) -> None:
        """Run one line of the page."""
        own = command.replace("first.example.org", FIRST).replace("TOKEN", self.token)
        own = own.replace("second.example.org:5060", f"{SECOND}:{self.cluster.ports.base + 150}")
        own = own.replace("--port 5060", f"--port {self.cluster.ports.base + 150}").replace(
            "second.example.org", SECOND
        )
        own = own.replace(f"{FIRST}:5050", f"{FIRST}:{self.cluster.ports.base + 50}")
        if machine == "first":
            output = self._shell(own, self.first, self._variables(self.cluster.admin_key))
            if "servers add" in command:
                self.token = output.splitlines()[0].removeprefix("lockstep join ")
        elif command.startswith("lockstep serve"):
            with (self.second / "log").open("ab") as log:
                self.server = subprocess.Popen(
                    shlex.split(f"exec {own}")[1:], cwd=self.second, env=self._variables(""), stdout=log, stderr=log
                )
            wait_until(self._is_up, what="the second machine's file server")
        else:
            if command.startswith("cp"):
                self.stop_server()
            self._shell(own, self.second, self._variables(""))

    def _shell(self, command: str, folder: Path, env: dict[str, str]) -> str:
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}\n{self.cluster.log_tails()}"
        return ended.stdout

    def _variables(self, key: str) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        config = {"HOME": str(self.first), "LOCKSTEP_CONFIG_DIR": str(self.first / "config"), "LC_ALL": "C.UTF-8"}
        return {"PATH": path, **config} | ({"LOCKSTEP_API_KEY": key} if key else {})

    def _is_up(self) -> bool:
        assert self.server is not None
        assert self.server.poll() is None, (self.second / "log").read_text()
        return self.states().get("4") == "up"

    def states(self) -> dict[str, str]:
        """The file servers' states, by id."""
        reply = self.cluster.session().get(f"{self.cluster.proxy_urls[0]}/api/v1/cluster", timeout=60)
        return {one["id"]: one["state"] for one in reply.json()["file_servers"]} if reply.ok else {}

    def stop_server(self) -> None:
        """Stop the second machine's file server, as a service manager does."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(timeout=120)


@pytest.fixture
def machines(make_cluster: MakeCluster, tmp_path: Path) -> Iterator[TwoMachines]:
    machines = TwoMachines(make_cluster(file_servers=3, proxies=1, copies=2), tmp_path)
    yield machines
    machines.stop_server()


def test_the_commands_of_the_page_work_in_their_order(machines: TwoMachines) -> None:
    """A machine joins, its disk is moved, there are three copies, and it leaves again; every file can be read."""
    files = {f"file-{number}": f"content {number}".encode() * 100 for number in range(8)}
    for path, content in files.items():
        put_file(machines.cluster, path, content)
    steps = [(line, block) for block in blocks(PAGE) for line in block.text.splitlines()]
    assert {block.language for _, block in steps} == {"first", "second"}
    for line, block in steps:
        machines.run(line, block.language)
    assert sorted(machines.states()) == ["1", "2", "3"]
    for path, content in files.items():
        assert get_file(machines.cluster, path) == content
