"""Starts the programs of a plan and waits until they are healthy; stops whatever is running.

When anything fails during a start, everything that was started is stopped before the failure is raised.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from local_cluster.failures import Interrupted, NotHealthy, PortBusy, UnsuitableFolder
from local_cluster.health import HealthProbe
from local_cluster.plan import HOST, Folder, ProgramPlan
from local_cluster.processes import end_processes, last_lines, process_mark, spawn
from local_cluster.records import (
    RunRecord,
    forget_records,
    load_records,
    save_cluster_file,
    save_record,
)

STOP_PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.05


class Progress(Protocol):
    """Receives the progress of a start."""

    def healthy(self, name: str) -> None: ...

    def tick(self, faults: dict[str, str]) -> None: ...


class Started:
    """A program started by this process."""

    def __init__(self, plan: ProgramPlan, folder: Folder, env: Mapping[str, str] | None = None) -> None:
        self.plan = plan
        self.log_start = plan.log_file.stat().st_size if plan.log_file.exists() else 0

        def write_own_record() -> None:
            # The new process writes its own record: if this command wrote it and were killed first, a program without
            # a record would keep running.
            save_record(folder, _record(plan, os.getpid()))

        self.process: subprocess.Popen[bytes] = spawn(plan.command, plan.log_file, env, write_own_record)
        self.record = _record(plan, self.process.pid)

    def last_words(self) -> str:
        lines = last_lines(self.plan.log_file, self.log_start)
        if not lines:
            return f"It wrote nothing to its log, {self.plan.log_file}"
        return f"Last lines of {self.plan.log_file}:\n" + "\n".join(f"    {line}" for line in lines)


def _record(plan: ProgramPlan, pid: int) -> RunRecord:
    return RunRecord(
        program=plan.program,
        id=plan.id,
        url=plan.url,
        pid=pid,
        data_dir=str(plan.data_dir),
        log_file=str(plan.log_file),
        mark=process_mark(pid),
        command=list(plan.command),
    )


def check_ports(plans: Sequence[ProgramPlan]) -> None:
    """Raise PortBusy, naming the ports, unless every port is free. Nothing listens afterwards."""
    busy = [plan for plan in plans if not _port_is_free(plan.port)]
    if busy:
        names = ", ".join(f"port {plan.port} ({plan.name})" for plan in busy)
        raise PortBusy(
            f"nothing was started, because another program uses {names}: stop that program, "
            "or shift all ports with --base-port"
        )


def _port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without SO_REUSEADDR, connections of a cluster that has just stopped would count as a port in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise PortBusy(f"only root may use port {port}: choose a --base-port of 1024 or higher") from error
        except OSError:
            return False
        return True


def start_programs(
    plans: Sequence[ProgramPlan],
    folder: Folder,
    progress: Progress,
    *,
    wait_seconds: float,
    interrupted: Callable[[], bool] = lambda: False,
    env: Mapping[str, str] | None = None,
    new_metadata: bool = False,
) -> list[Started]:
    """Start all programs at once, wait until they are healthy, and write `cluster.json`.

    The directory may create new metadata only in a cluster without earlier data, or with `new_metadata`. Raises
    NotHealthy or Interrupted after it has stopped everything.
    """
    started: list[Started] = []
    try:
        may_begin = new_metadata or not any(folder.certs_dir.glob("directory_server-*"))
        probe = HealthProbe(folder)  # creates the authority, so that programs do not race to create it
        for plan in plans:
            is_first = may_begin and plan.program == "directory_server"
            started.append(Started(plan, folder, _with_new_metadata(env) if is_first else env))
        _wait_until_healthy(started, probe, progress, wait_seconds, interrupted)
        save_cluster_file(folder, [one.record for one in started])
    except BaseException as error:
        stop_programs(folder, reap=lambda: [one.process.poll() for one in started])
        if isinstance(error, subprocess.SubprocessError):
            raise UnsuitableFolder(
                f"cannot write to {folder.run_dir}, so everything was stopped: check the disk"
            ) from error
        raise
    return started


def _with_new_metadata(env: Mapping[str, str] | None) -> Mapping[str, str]:
    """Set it in the environment, not in the command: running the recorded command again must not repeat it."""
    return {**(os.environ if env is None else env), "LOCKSTEP_DIRECTORY_NEW_METADATA": "1"}


def _wait_until_healthy(
    started: Sequence[Started],
    probe: HealthProbe,
    progress: Progress,
    wait_seconds: float,
    interrupted: Callable[[], bool],
) -> None:
    deadline = time.monotonic() + wait_seconds
    waiting = {one.plan.name: one for one in started}
    asked: dict[str, Future[str]] = {}
    faults: dict[str, str] = {}
    pool = ThreadPoolExecutor(max_workers=len(started))
    try:
        while waiting:
            if interrupted():
                raise Interrupted("interrupted while starting: everything was stopped")
            for name, one in list(waiting.items()):
                _check_alive(one)
                answer = asked.get(name)
                if answer is not None and answer.done():
                    del asked[name]
                    faults[name] = answer.result()
                    if not faults[name]:
                        del waiting[name], faults[name]
                        progress.healthy(name)
                        continue
                if name not in asked:
                    asked[name] = pool.submit(probe.fault, one.record)
            progress.tick(faults)
            if waiting and time.monotonic() > deadline:
                raise _too_late(list(waiting.values()), faults, wait_seconds)
            time.sleep(POLL_SECONDS)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _check_alive(one: Started) -> None:
    code = one.process.poll()
    if code is not None:
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise NotHealthy(
            f"{one.plan.name} {ended} before it was healthy, so everything was stopped. {one.last_words()}"
        )


def _too_late(late: Sequence[Started], faults: Mapping[str, str], wait_seconds: float) -> NotHealthy:
    reasons = "; ".join(f"{one.plan.name} {faults.get(one.plan.name) or 'did not answer'}" for one in late)
    return NotHealthy(
        f"not healthy within {wait_seconds:g} s, so everything was stopped: {reasons}. {late[0].last_words()}"
    )


def stop_programs(folder: Folder, *, reap: Callable[[], object] = lambda: None) -> int:
    """Stop all running programs of this cluster, and return how many there were. Safe to repeat.

    Proxies stop first and the directory last, so that no program calls one that is gone.
    """
    running = [record for record in load_records(folder) if record.running]
    for program in ("client_proxy", "file_server", "directory_server"):
        group = [(record.pid, record.mark) for record in running if record.program == program]
        if group:
            end_processes(group, STOP_PATIENCE_SECONDS, reap)
    forget_records(folder)
    return len(running)
