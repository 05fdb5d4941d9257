"""Starts a peer's programs, waits until they answer, and ends them with everything that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peer import PeerUnavailable

PATIENCE_SECONDS = 60.0
END_SECONDS = 10.0


class Programs:
    """The programs of one peer, each in its own session and with its own log file."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a program. It does not receive Ctrl-C, so that the harness can end all in order."""
        with self._log(name).open("ab") as log:
            try:
                self._running[name] = subprocess.Popen(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env=self._environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise PeerUnavailable(f"{name} could not be started: {error}") from error

    def run(self, command: Sequence[str | Path], input: str = "") -> str:
        """Run a command and return its output. PeerUnavailable if it fails."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words,
                input=input,
                capture_output=True,
                text=True,
                cwd=self._folder,
                env=self._environment,
                timeout=PATIENCE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerUnavailable(f"{Path(words[0]).name} {words[1]}: {error}") from error
        if done.returncode:
            raise PeerUnavailable(f"{Path(words[0]).name} {words[1]} failed: {last_line(done.stdout + done.stderr)}")
        return done.stdout

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until `ready` returns true. PeerUnavailable if a program ends meanwhile, or after a time-out."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            for name, process in self._running.items():
                if process.poll() is not None:
                    said = last_line(self._log(name).read_text(errors="replace"))
                    raise PeerUnavailable(f"{name} ended with code {process.returncode}: {said}")
            if time.monotonic() > deadline:
                raise PeerUnavailable(f"{what} did not answer within {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.1)

    def join(self, name: str) -> None:
        """Wait for the end of a program that ends by itself."""
        try:
            self._running[name].wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise PeerUnavailable(f"{name} did not end within {PATIENCE_SECONDS:.0f} s") from None
        del self._running[name]

    def ids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def stop(self) -> None:
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)  # also what it started and left
            process.wait()
        self._running.clear()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def answers(port: int) -> bool:
    """Whether a program accepts connections on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports that are free now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
