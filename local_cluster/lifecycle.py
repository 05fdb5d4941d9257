"""Starts the programs of a plan and waits until they are healthy; stops whatever is running.

Without a directory server there is no cluster: when it does not start, everything that was started with it is stopped
before the failure is raised. Any other program that does not start leaves the cluster degraded.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from local_cluster.failures import Interrupted, NotHealthy, PortBusy, UnsuitableFolder
from local_cluster.health import Finding, HealthProbe
from local_cluster.kept_program import KeptProgram
from local_cluster.plan import Folder, ProgramPlan
from local_cluster.processes import end_processes
from local_cluster.records import RunRecord, forget_record, forget_records, load_records, save_cluster_file

STOP_PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.05
SICK_SECONDS = 10.0
"""How long a start waits for a program that reports a problem, once all others are settled."""


class Progress(Protocol):
    """Receives the progress of a start."""

    def healthy(self, name: str) -> None: ...

    def sick(self, name: str, fault: str) -> None: ...

    def tick(self, faults: dict[str, str]) -> None: ...


def check_ports(plans: Sequence[ProgramPlan]) -> None:
    """Raise PortBusy, naming the ports, unless every port is free. Nothing listens afterwards."""
    busy = [plan for plan in plans if not port_is_free(plan)]
    if busy:
        names = ", ".join(f"port {plan.port} ({plan.name})" for plan in busy)
        raise PortBusy(
            f"nothing was started, because another program uses {names}: stop that program, "
            "or shift all ports with --base-port"
        )


def port_is_free(plan: ProgramPlan) -> bool:
    """Whether a program can listen on its port now. PortBusy if it never can."""
    with socket.socket(socket.AF_INET6 if ":" in plan.host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without SO_REUSEADDR, connections of a cluster that has just stopped would count as a port in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((plan.host, plan.port))
        except PermissionError as error:
            raise PortBusy(f"only root may use port {plan.port}: choose a --base-port of 1024 or higher") from error
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise PortBusy(
                    f"this machine does not have the address {plan.host} ({error.strerror}): name one of its own with "
                    "--host, or 0.0.0.0 for every network"
                ) from error
            return False
        return True


def busy_port(plan: ProgramPlan) -> str:
    """Why a program is not started whose port is not free."""
    return f"port {plan.port} is used by another program: stop that one, or shift all ports with --base-port"


def start_programs(
    programs: Sequence[KeptProgram],
    folder: Folder,
    progress: Progress,
    *,
    wait_seconds: float,
    interrupted: Callable[[], bool] = lambda: False,
    env: Mapping[str, str] | None = None,
    new_metadata: bool = False,
) -> dict[str, str]:
    """Start every program that does not run, wait until they are healthy, and write `cluster.json`.

    Returns what is wrong with each that is not healthy, by name. The directory may create new metadata only in a
    cluster without earlier data, or with `new_metadata`. Raises PortBusy, NotHealthy or Interrupted after it has
    stopped what it started.
    """
    missing = [one for one in programs if not one.running]
    busy = [one for one in missing if not port_is_free(one.plan)]
    if any(one.plan.program == "directory_server" for one in busy):
        check_ports([one.plan for one in busy])
    sick = {one.name: busy_port(one.plan) for one in busy}
    try:
        may_begin = new_metadata or not any(folder.certs_dir.glob("directory_server-*"))
        probe = HealthProbe(folder)  # creates the authority, so that programs do not race to create it
        for one in missing:
            is_first = may_begin and one.plan.program == "directory_server"
            if one.name not in sick:
                one.start(_with_new_metadata(env) if is_first else env)
        for name, fault in sick.items():
            progress.sick(name, fault)
        waiting = [one for one in programs if one.name not in sick]
        sick |= StartWait(waiting, probe, progress, wait_seconds, interrupted).until_settled()
        save_cluster_file(folder, [one.record for one in programs])
    except BaseException as error:
        _stop_started(programs, folder)
        if isinstance(error, subprocess.SubprocessError):
            raise UnsuitableFolder(
                f"cannot write to {folder.run_dir}, so what was started is stopped again: check the disk"
            ) from error
        raise
    return sick


def _with_new_metadata(env: Mapping[str, str] | None) -> Mapping[str, str]:
    """Set it in the environment, not in the command: running the recorded command again must not repeat it."""
    return {**(os.environ if env is None else env), "LOCKSTEP_DIRECTORY_NEW_METADATA": "1"}


class StartWait:
    """The wait of one start for its programs. If it does not `own` them, another process keeps them running."""

    def __init__(
        self,
        programs: Sequence[KeptProgram],
        probe: HealthProbe,
        progress: Progress,
        wait_seconds: float,
        interrupted: Callable[[], bool],
        *,
        owns: bool = True,
    ) -> None:
        self._waiting = {one.name: one for one in programs}
        self._owns = owns
        self._probe, self._progress, self._interrupted = probe, progress, interrupted
        self._wait_seconds = wait_seconds
        self._asked: dict[str, Future[Finding]] = {}
        self._faults: dict[str, str] = {}
        self._sick_since: dict[str, float] = {}
        """Since when a program has reported the same problem, while no other program became healthy."""
        self._sick: dict[str, str] = {}

    def until_settled(self) -> dict[str, str]:
        """Return what is wrong with each program that is not healthy. NotHealthy when the directory is not there."""
        deadline = time.monotonic() + self._wait_seconds
        pool = ThreadPoolExecutor(max_workers=max(1, len(self._waiting)))
        is_settled = False
        try:
            while self._waiting and time.monotonic() < deadline and not self._only_sick_are_left():
                if self._interrupted():
                    raise Interrupted(f"interrupted while starting{self._and_stopped()}")
                for one in list(self._waiting.values()):
                    self._look_at(one, pool)
                self._progress.tick(self._faults)
                if self._waiting:
                    time.sleep(POLL_SECONDS)
            for one in sorted(self._waiting.values(), key=lambda one: one.plan.program != "directory_server"):
                self._give_up(one)
            is_settled = True
        finally:
            # A thread that still runs when a program is started again later could leave a lock locked in it.
            pool.shutdown(wait=is_settled, cancel_futures=True)
        return self._sick

    def _look_at(self, one: KeptProgram, pool: ThreadPoolExecutor) -> None:
        name = one.name
        if not one.running:
            self._has_ended(one)
            return
        answer = self._asked.get(name)
        if answer is not None and answer.done():
            del self._asked[name]
            finding = answer.result()
            if not finding.fault:
                self._settle(name)
                self._progress.healthy(name)
                return
            if not finding.answers or finding.fault != self._faults.get(name):
                self._sick_since.pop(name, None)
            if finding.answers:
                self._sick_since.setdefault(name, time.monotonic())
            self._faults[name] = finding.fault
        if name not in self._asked:
            self._asked[name] = pool.submit(self._probe.check, one.record)

    def _only_sick_are_left(self) -> bool:
        enough = time.monotonic() - SICK_SECONDS
        return all(self._sick_since.get(name, enough) < enough for name in self._waiting)

    def _has_ended(self, one: KeptProgram) -> None:
        fault = one.ending()
        if one.plan.program == "directory_server":
            raise NotHealthy(f"{one.name} {fault}{self._and_stopped()}. {one.last_words()}")
        self._note_sick(one, f"{fault}. {one.last_words()}")

    def _give_up(self, one: KeptProgram) -> None:
        fault = self._faults.get(one.name) or "did not answer"
        if one.plan.program == "directory_server" and one.name not in self._sick_since:
            raise NotHealthy(
                f"{one.name} {fault} within {self._wait_seconds:g} s{self._and_stopped()}. {one.last_words()}"
            )
        self._note_sick(one, fault)

    def _and_stopped(self) -> str:
        return ", so what was started is stopped again" if self._owns else "; it is tried again"

    def _settle(self, name: str) -> None:
        del self._waiting[name]
        self._faults.pop(name, None)
        self._sick_since.clear()  # what others wait for may just have come

    def _note_sick(self, one: KeptProgram, fault: str) -> None:
        self._settle(one.name)
        self._sick[one.name] = fault
        self._progress.sick(one.name, fault.partition("\n")[0].partition(". Last lines of")[0])


def _stop_started(programs: Sequence[KeptProgram], folder: Folder) -> None:
    """Stop what this command started, and forget it. What ran before goes on."""
    started = [one for one in programs if one.started_here]
    _end_in_order([one.record for one in started], lambda: [one.running for one in started])
    for one in started:
        forget_record(folder, one.record)
    if not any(one.record.running for one in programs):
        forget_records(folder)


def stop_programs(folder: Folder, *, reap: Callable[[], object] = lambda: None) -> int:
    """Stop all running programs of this cluster, and return how many there were. Safe to repeat."""
    running = [record for record in load_records(folder) if record.running]
    _end_in_order(running, reap)
    forget_records(folder)
    return len(running)


def _end_in_order(records: Sequence[RunRecord], reap: Callable[[], object]) -> None:
    """Proxies stop first and the directory last, so that no program calls one that is gone."""
    for program in ("client_proxy", "file_server", "directory_server"):
        group = [(record.pid, record.mark) for record in records if record.program == program and record.pid]
        if group:
            end_processes(group, STOP_PATIENCE_SECONDS, reap)
