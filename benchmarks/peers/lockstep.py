"""Lockstep itself: this build, or another one from its folder."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.peer import Endpoint, PeerUnavailable
from benchmarks.peers.programs import answers, last_line
from lockstep_store.wire.names import FILES_BUCKET

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 180
STOP_SECONDS = 60
OFFSETS = (0, 10, 50, 60, 70, 80)
"""From the base port to each program's (`run_cluster.sh --help`)."""
SAVE_SECONDS = 900


class Lockstep:
    """A directory server, three file servers and two proxies, started as a person starts them."""

    note = (
        "two copies of the content and the name are flushed before the answer, contents are sealed on disk, TLS "
        "between all programs; a read asks the directory first, or has its promise to hear of changes."
    )

    def __init__(self, folder: Path, say: Callable[[str], None], checkout: Path = CHECKOUT, name: str = "Lockstep"):
        self.name = name
        self.version = _revision(checkout)
        self._data, self._checkout = folder / "data", checkout
        self._say = say
        own = checkout / ".venv" / "bin" / "python"
        self._python = str(own) if own.exists() else sys.executable
        self._environment = {**os.environ, "PYTHONPATH": str(checkout)}
        self._record: dict[str, object] = {}
        self._programs: dict[str, int] = {}
        self._endpoint: Endpoint | None = None

    def start(self) -> Endpoint:
        if not (self._checkout / "local_cluster").is_dir():
            raise PeerUnavailable(f"{self._checkout} has no local_cluster folder: name a checkout of Lockstep")
        self._cluster(START_SECONDS, "--detach", "--base-port", str(_free_base()))
        record = json.loads((self._data / "cluster.json").read_text())
        admin = json.loads(Path(record["admin_credentials_file"]).read_text())
        self._programs = {f"{program['program']}-{program['id']}": program["pid"] for program in record["programs"]}
        proxies = [program["url"] for program in record["programs"] if program["program"] == "client_proxy"]
        self._endpoint = Endpoint(
            proxies, Path(record["ca_file"]), admin["s3_access_key"], admin["s3_secret_key"], admin["api_key"]
        )
        return self._endpoint

    def processes(self) -> dict[str, int]:
        return self._programs

    def save(self, file: Path, key: str) -> float:
        """Store a file with the command line, which sends only what the cluster lacks. Returns the command's own
        processor time."""
        assert self._endpoint is not None
        package = next(name for name in ("lockstep_store", "lockstep") if (self._checkout / name).is_dir())
        command = [self._python, "-m", f"{package}.client.cli", "--url", self._endpoint.urls[0]]
        command += ["--ca", str(self._endpoint.ca_file), "put", str(file), f"{FILES_BUCKET}/{key}"]
        environment = {**self._environment, "LOCKSTEP_API_KEY": self._endpoint.api_key, "HOME": str(self._data)}
        before = _children_seconds()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SAVE_SECONDS)
        if done.returncode:
            raise RuntimeError(f"lockstep put: {last_line(done.stderr)}")
        return _children_seconds() - before

    def stop(self) -> None:
        if (self._data / "cluster.json").exists() or (self._data / "run").exists():
            self._cluster(STOP_SECONDS, "--stop")

    def _cluster(self, patience: float, *options: str) -> None:
        command = [self._python, "-m", "local_cluster", "--data", str(self._data), *options]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                cwd=self._checkout,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=patience,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerUnavailable(f"run_cluster.sh {' '.join(options)}: {error}") from error
        if done.returncode:
            raise PeerUnavailable(f"run_cluster.sh {' '.join(options)}: {last_line(done.stderr)}")


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _free_base() -> int:
    """A base port with a free range. It is below 32,768, so that no outgoing connection takes a port meanwhile."""
    bases = random.sample(range(12_000, 32_000, 100), 50)
    return next(base for base in bases if not any(answers(base + offset) for offset in OFFSETS))


def _revision(checkout: Path) -> str:
    """The commit of a checkout, marked if files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--tags"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
