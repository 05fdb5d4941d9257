"""Runs the load generator in its own process: the one in Go if Go is installed, otherwise the one in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers.job import Job

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = CHECKOUT / "benchmarks" / "peers" / "load"
BUILD_SECONDS = 600


class LoadFailed(Exception):
    """The load failed. The message has the first error."""


@dataclass(frozen=True)
class Load:
    """The generator's measurements."""

    operations: int
    rate: float
    elapsed_seconds: float
    processor_seconds: float
    latencies_us: list[int]


class Generator:
    """Runs the generator on this machine."""

    def __init__(self, folder: Path, say: Callable[[str], None], go: str | None = None) -> None:
        """Build with `go`, a command's path, into `folder`; without it, or if that fails, use Python."""
        self.language = "Python"
        self._command = [sys.executable, "-m", "benchmarks.peers.load.generator"]
        if go is None:
            say("there is no Go: the load generator runs in Python and takes a larger share of the processors")
            return
        target = folder / "load"
        environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOWORK": "off"}
        say("building the load generator …")
        command = [go, "build", "-o", str(target), "."]
        done = subprocess.run(
            command, cwd=SOURCES, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
        if done.returncode:
            say(f"Go cannot build the load generator, so it runs in Python: {done.stderr.strip()[:300]}")
            return
        self.language, self._command = "Go", [str(target)]

    def connect(self, job: Job) -> Connected:
        return Connected(self._command, job)

    def run(self, job: Job) -> Load:
        """Run a job that is not measured."""
        with self.connect(job) as load:
            return load.go()


class Connected:
    """A generator with connected, waiting clients. Leaving the context ends it at any time."""

    def __init__(self, command: list[str], job: Job) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        try:
            self._write(json.dumps(asdict(job)))
            self._read()
        except BaseException:
            self._end()
            raise

    def go(self) -> Load:
        """Run the job and return its measurements. Raises LoadFailed."""
        self._write("go")
        measured = json.loads(self._read())
        error = measured.pop("error")
        if error:
            raise LoadFailed(error)
        if not measured["operations"]:
            raise LoadFailed("no operation ended in time")
        return Load(**measured)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        return line

    def _fail(self) -> None:
        _, said = self._process.communicate()
        raise LoadFailed(f"the load generator ended: {said.strip()[-300:]}")

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Connected:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
