"""Starts, harms and stops real clusters for tests, through the same command that people use.

A harness leaves no process behind: it is a context manager, and whatever is still alive when the interpreter ends
is stopped then. Ports are reserved with a lock file per block, so test runs side by side do not meet.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests

from local_cluster.actions import folder_for
from local_cluster.failures import Degraded
from local_cluster.health import HealthProbe
from local_cluster.lifecycle import check_ports, stop_programs
from local_cluster.plan import ClusterSettings, Program, plan_programs
from local_cluster.processes import end_processes, last_lines, process_mark, send, spawn
from local_cluster.records import (
    ProgramEntry,
    RunLock,
    RunRecord,
    load_records,
    save_cluster_file,
    save_record,
)
from tests.waiting import PATIENCE_SECONDS, wait_until

FIRST_BASE, LAST_BASE, BLOCK = 20_000, 32_000, 200  # below the ports that the system gives to clients
COMMAND_SECONDS = 240.0
HEALTH_LOOK_SECONDS = 0.05
"""As often as the cluster command looks: each look is a TLS handshake with every program."""

T = TypeVar("T")
_live: list[ClusterHarness] = []


def live_harnesses() -> list[ClusterHarness]:
    """The harnesses that have not been closed yet."""
    return list(_live)


def run_cluster(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the cluster command with `arguments` to its end; its output is captured, its input empty.

    Without `env`, the programs that it starts with --detach are kept running.
    """
    options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
    if options["stdin"] is None:
        del options["stdin"]
    command = [sys.executable, "-P", "-m", "local_cluster", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, **options)


class PortBlock:
    """Free ports for one cluster from `base` on, reserved against other test runs until `release`."""

    def __init__(self, settings: Callable[[int], ClusterSettings], data: Path) -> None:
        folder = Path(tempfile.gettempdir()) / "lockstep-test-ports"
        folder.mkdir(exist_ok=True)
        bases = list(range(FIRST_BASE, LAST_BASE, BLOCK))
        random.Random(os.urandom(8)).shuffle(bases)
        for base in bases:
            descriptor = os.open(folder / str(base), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                check_ports(plan_programs(settings(base), folder_for(data)))
            except Exception:  # taken by another run or by another program: the next block may be free
                os.close(descriptor)
                continue
            self.base, self._descriptor = base, descriptor
            return
        raise RuntimeError(f"no block of free ports between {FIRST_BASE} and {LAST_BASE}")

    def release(self) -> None:
        """Give the block back. Safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ClusterHarness:
    """One real cluster. `env` are variables for every program, such as `{"LOCKSTEP_PROXY_CACHE_BYTES": "1000000"}`.

    `start_now=False` only reserves ports and folders, for tests of the start itself.
    """

    def __init__(
        self,
        tmp_path: Path,
        file_servers: int = 3,
        proxies: int = 2,
        copies: int = 2,
        *,
        directories: int = 1,
        metadata: str = "",
        env: dict[str, str] | None = None,
        wait_seconds: float = 120.0,
        start_now: bool = True,
    ) -> None:
        self.data = tmp_path / "data"
        self.folder = folder_for(self.data)
        # A test that kills a program decides itself when it starts again.
        self.env = {**os.environ, "LOCKSTEP_CLUSTER_RESTART": "no", **(env or {})}
        self.wait_seconds = wait_seconds
        self._counts: dict[str, Any] = {"file_servers": file_servers, "proxies": proxies, "copies": copies}
        if metadata:
            self._counts |= {"metadata": metadata, "directories": directories}
        self._children: list[subprocess.Popen[bytes]] = []
        self.ports = PortBlock(lambda base: ClusterSettings(base_port=base, **self._counts), self.data)
        _live.append(self)
        if start_now:
            try:
                self.start_all()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> ClusterHarness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the whole cluster ------------------------------------------------------------------------------------

    @property
    def arguments(self) -> list[str]:
        """The command's options that make this cluster."""
        counts = [word for name, count in self._counts.items() for word in (f"--{name.replace('_', '-')}", str(count))]
        return ["--data", str(self.data), "--base-port", str(self.ports.base), *counts]

    def command(self, *more: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the cluster command for this cluster, such as `command("--status")`."""
        return run_cluster(*self.arguments, *more, env=self.env, **options)

    def start_all(self, **counts: int) -> None:
        """Start every program, detached, and wait until all are healthy. `counts` change the cluster's shape."""
        self._counts |= counts
        ended = self.command("--detach", "--wait", str(self.wait_seconds))
        if ended.returncode == Degraded.exit_code:  # a program that a busy machine keeps waiting
            self.wait_healthy()
            return
        assert ended.returncode == 0, f"the cluster did not start ({ended.returncode}):\n{ended.stdout}{ended.stderr}"

    def stop(self) -> None:
        """Stop every program in good order. The data stays, so `start_all` resumes. Safe to repeat."""
        if RunLock(self.folder).holder():  # it would start again what is stopped here
            run_cluster("--data", self.data, "--stop")
        stop_programs(self.folder, reap=self._reap)
        self._reap()

    def close(self) -> None:
        """Stop every program and give the ports back. Safe to repeat."""
        self.stop()
        for child in self._children:
            child.wait()
        self.ports.release()
        if self in _live:
            _live.remove(self)

    def _reap(self) -> None:
        for child in self._children:
            child.poll()

    # ---- what it is made of -----------------------------------------------------------------------------------

    @property
    def programs(self) -> list[RunRecord]:
        """Every program as it was last started."""
        return load_records(self.folder)

    def record(self, program: Program, id: str | int = 1) -> RunRecord:
        """One program as it was last started."""
        return next(one for one in self.programs if one.program == program and one.id == str(id))

    def url(self, program: Program, id: str | int = 1) -> str:
        return self.record(program, id).url

    def pid(self, program: Program, id: str | int = 1) -> int:
        return self.record(program, id).pid

    def data_dir(self, program: Program, id: str | int = 1) -> Path:
        return Path(self.record(program, id).data_dir)

    @property
    def directory_url(self) -> str:
        return self.url("directory_server")

    @property
    def proxy_urls(self) -> list[str]:
        return [one.url for one in self.programs if one.program == "client_proxy"]

    @property
    def file_server_urls(self) -> list[str]:
        return [one.url for one in self.programs if one.program == "file_server"]

    @property
    def ca_file(self) -> Path:
        return self.folder.ca_file

    @property
    def admin(self) -> dict[str, str]:
        """The administrator's username, password, api_key, s3_access_key and s3_secret_key."""
        content: dict[str, str] = json.loads(self.folder.credentials_file.read_text())
        return content

    @property
    def admin_key(self) -> str:
        return self.admin["api_key"]

    def session(self, api_key: str | None = None) -> requests.Session:
        """A client that trusts this cluster alone and is the administrator, or the owner of `api_key`."""
        session = requests.Session()
        session.trust_env = False  # REQUESTS_CA_BUNDLE and proxies of the environment would override the CA
        session.verify = str(self.ca_file)
        session.headers["X-Api-Key"] = self.admin_key if api_key is None else api_key
        return session

    def log_tails(self, lines: int = 25) -> dict[str, str]:
        """The ends of all log files, by file name."""
        files = sorted(self.folder.log_dir.glob("*.log"))
        return {file.name: "\n".join(last_lines(file, count=lines)) for file in files}

    # ---- harm and repair --------------------------------------------------------------------------------------

    def kill(self, program: Program, id: str | int = 1) -> None:
        """End a program as a power failure would (SIGKILL); it is gone on return."""
        record = self.record(program, id)
        send(record.pid, record.mark, signal.SIGKILL)

        def gone() -> bool:
            self._reap()
            return not record.running

        wait_until(gone, what=f"the end of {record.name}")

    def exit_code(self, program: Program, id: str | int = 1) -> int | None:
        """How a program that `start` started has ended (minus the signal's number); None while it runs."""
        pid = self.pid(program, id)
        return next(child for child in self._children if child.pid == pid).poll()

    def terminate(self, program: Program, id: str | int = 1) -> None:
        """Stop one program in good order (SIGTERM); it is gone on return."""
        record = self.record(program, id)
        killed = end_processes([(record.pid, record.mark)], PATIENCE_SECONDS, self._reap)
        assert not killed, f"{record.name} ignored SIGTERM for {PATIENCE_SECONDS:g} s"

    def pause(self, program: Program, id: str | int = 1) -> None:
        """Freeze a program (SIGSTOP): its connections stay open and nothing answers."""
        record = self.record(program, id)
        send(record.pid, record.mark, signal.SIGSTOP)

    def resume(self, program: Program, id: str | int = 1) -> None:
        """Let a frozen program go on (SIGCONT)."""
        record = self.record(program, id)
        send(record.pid, record.mark, signal.SIGCONT)

    def start(
        self, program: Program, id: str | int = 1, *, wait: bool = True, env: dict[str, str] | None = None
    ) -> None:
        """Start a program again with the same arguments, and wait until it is healthy."""
        record = self.record(program, id)
        assert not record.running, f"{record.name} still runs"
        child = spawn(record.command, Path(record.log_file), {**self.env, **(env or {})})
        self._children.append(child)
        record.pid, record.mark = child.pid, process_mark(child.pid)
        save_record(self.folder, record)
        save_cluster_file(self.folder, self.programs)
        if wait:
            self.wait_healthy(record)

    def wait_healthy(self, *entries: ProgramEntry, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the given programs, or all, are healthy."""
        probe = HealthProbe(self.folder)
        chosen = list(entries) or list(self.programs)
        waiting = chosen

        def healthy() -> bool:
            """Whether all are, at one time; until then only those that were not are asked again."""
            nonlocal waiting
            asked = waiting
            waiting = [one for one, fault in zip(asked, probe.faults(asked), strict=True) if fault]
            done = not waiting and len(asked) == len(chosen)
            waiting = waiting or chosen
            return done

        wait_until(healthy, seconds, f"health of {[one.name for one in chosen]}", HEALTH_LOOK_SECONDS)


@atexit.register
def _stop_what_is_left() -> None:
    for harness in live_harnesses():
        with contextlib.suppress(Exception):
            harness.close()
