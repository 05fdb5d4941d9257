"""Processes: started in their own sessions, recognised later, and ended within a bound.

A process id alone does not identify a process, because the system reuses it. So each process is identified by its id
and a *mark*, which contains its start time; a process whose mark differs is never signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.02


def process_mark(pid: int) -> str:
    """Return what distinguishes process `pid` from all others that had or will have its id; empty when it is gone.

    A zombie, which has ended and waits to be reaped, is gone.
    """
    if Path("/proc/self/stat").exists():
        return _mark_from_proc(pid)
    listed = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = listed.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def _mark_from_proc(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # the command's name before it may contain spaces and brackets
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else f"{boot}:{started}"


def is_running(pid: int, mark: str) -> bool:
    """Whether the process with this mark is still running."""
    return bool(mark) and process_mark(pid) == mark


def spawn(
    command: Sequence[str],
    log_file: Path,
    env: Mapping[str, str] | None = None,
    before_it_runs: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, and append all its output to `log_file`.

    In its own session it does not receive Ctrl-C from the terminal, so programs stop in order. `before_it_runs` is
    called in the new process before it becomes the program; when it raises, SubprocessError is raised here. Pass it
    only while this process has a single thread.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=log_file.parent,
            start_new_session=True,
            env=env,
            preexec_fn=before_it_runs,
        )


def send(pid: int, mark: str, number: signal.Signals) -> None:
    """Signal the process if it still has this mark; do nothing when it is gone."""
    if is_running(pid, mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_processes(
    processes: Sequence[tuple[int, str]], patience_seconds: float, reap: Callable[[], object] = lambda: None
) -> list[int]:
    """End all (pid, mark): SIGTERM, then SIGKILL after `patience_seconds`. Returns the ids that had to be killed.

    `reap` is called while waiting, for a caller that is the parent of some of them. A paused process is continued,
    because it could not handle the SIGTERM otherwise.
    """
    for pid, mark in processes:
        send(pid, mark, signal.SIGTERM)
        send(pid, mark, signal.SIGCONT)
    killed = []
    for pid, mark in _wait_until_gone(processes, patience_seconds, reap):
        send(pid, mark, signal.SIGKILL)
        killed.append(pid)
    _wait_until_gone(processes, patience_seconds, reap)
    return killed


def _wait_until_gone(
    processes: Sequence[tuple[int, str]], patience_seconds: float, reap: Callable[[], object]
) -> list[tuple[int, str]]:
    deadline = time.monotonic() + patience_seconds
    left = list(processes)
    while True:
        reap()
        left = [(pid, mark) for pid, mark in left if is_running(pid, mark)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_SECONDS)


def last_lines(log_file: Path, since_byte: int = 0, count: int = 8) -> list[str]:
    """Return the last `count` lines written to `log_file` after `since_byte`."""
    try:
        with log_file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            since = since_byte if since_byte <= size else 0  # a new file was begun meanwhile
            log.seek(max(since, size - 64 * 1024))
            return log.read().decode("utf-8", "replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
