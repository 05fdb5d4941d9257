"""A real local cluster for one benchmark run, with its programs' metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from benchmarks.limits import free_port
from benchmarks.load import Target
from benchmarks.peers.programs import answers


class BenchmarkCluster:
    """1 directory server, 3 file servers and 2 proxies, started as a person starts them."""

    def __init__(self, data: Path, **variables: str) -> None:
        """`variables` are added to the programs' environment."""
        self._data = data
        # Building the web console would take the machine a minute while something is measured.
        self._environment = {**os.environ, "LOCKSTEP_CLUSTER_CONSOLE": "no", **variables}
        base = 20_000 + free_port() % 20_000
        self._command = [sys.executable, "-m", "local_cluster", "--data", str(data)]
        self._run("--detach", "--base-port", str(base))
        record = self._record()
        self.ca_file = Path(record["ca_file"])
        self.programs: list[dict[str, Any]] = record["programs"]
        self.admin: dict[str, str] = json.loads(Path(record["admin_credentials_file"]).read_text())
        self.api_key = self.admin["api_key"]
        self.proxies = [
            Target(program["url"], self.ca_file, {"X-Api-Key": self.api_key})
            for program in self.programs
            if program["program"] == "client_proxy"
        ]
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(self.ca_file)
        proxy = next(program for program in self.programs if program["program"] == "client_proxy")
        folder = self.ca_file.parent / f"client_proxy-{proxy['id']}"
        self._session.cert = (str(folder / "cert.pem"), str(folder / "key.pem"))

    def _run(self, *arguments: str) -> None:
        subprocess.run([*self._command, *arguments], check=True, stdin=subprocess.DEVNULL, env=self._environment)

    def _record(self) -> Any:
        return json.loads((self._data / "cluster.json").read_text())

    def start_again(self) -> float:
        """Stop the cluster and start it with its data. Returns the seconds until every program was healthy."""
        self.stop()
        started = time.perf_counter()
        self._run("--detach")
        seconds = time.perf_counter() - started
        self.programs = self._record()["programs"]
        return seconds

    @contextmanager
    def without(self, url: str) -> Iterator[None]:
        """Kill the program at `url`. It comes back, and answers, at the end of the block."""
        entry = next(entry for entry in self.programs if entry["url"] == url)
        keeper = int(Path(f"/proc/{entry['pid']}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGSTOP)  # it would start the program again at once
        try:
            os.kill(entry["pid"], signal.SIGKILL)
            yield
        finally:
            os.kill(keeper, signal.SIGCONT)
        while not answers(urlsplit(url).port or 443):
            time.sleep(0.01)
        while self.programs == (programs := self._record()["programs"]):
            time.sleep(0.01)
        self.programs = programs

    def metric(self, program: str, name: str) -> float:
        """The sum of a counter over all programs of a kind."""
        total = 0.0
        for entry in self.programs:
            if entry["program"] == program:
                text = self._session.get(entry["url"] + "/metrics", timeout=10).text
                total += sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))
        return total

    def processor_seconds(self) -> float:
        """Processor time that all programs have used since their start."""
        ticks = 0
        for entry in self.programs:
            fields = Path(f"/proc/{entry['pid']}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def forget_peaks(self) -> None:
        """Reset `peak_resident_bytes`."""
        for entry in self.programs:
            Path(f"/proc/{entry['pid']}/clear_refs").write_text("5")

    def peak_resident_bytes(self) -> dict[str, int]:
        """The peak resident memory of each program since its start or the last reset."""
        peaks = {}
        for entry in self.programs:
            for line in Path(f"/proc/{entry['pid']}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks[f"{entry['program']}-{entry['id']}"] = int(line.split()[1]) * 1024
        return peaks

    def resident_bytes(self, url: str) -> int:
        """The resident memory of the program at `url`."""
        pid = next(entry["pid"] for entry in self.programs if entry["url"] == url)
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def lockstep(self, *arguments: str, proxy: int = 0) -> str:
        """Run the `lockstep` command. Returns its output."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "lockstep_store.client.cli",
                "--url",
                self.proxies[proxy].url,
                "--ca",
                str(self.ca_file),
                *arguments,
            ],
            env={"LOCKSTEP_API_KEY": self.api_key, "PATH": "/usr/bin:/bin", "HOME": str(self._data)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"lockstep {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def stop(self) -> None:
        self._run("--stop")
