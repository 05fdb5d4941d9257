"""The process that stays when a cluster is started with --detach: it keeps the programs running.

It is a fork of the command. So it is the parent of the programs that it started and knows how they ended, it has their
plan and environment, and a start takes no longer. The command waits until the start is over, and ends with its exit
code. When the process is killed, the programs go on, and the next `--detach` takes them over.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from local_cluster.failures import ClusterFailure
from local_cluster.foreground import StopSignals
from local_cluster.supervisor import Supervisor

LOG_KEPT_BYTES = 1024 * 1024
LOOK_SECONDS = 1.0
WAIT_SECONDS = 0.1


class Handover:
    """The pipe between the command that a person started and the process that stays."""

    def __init__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._reading, self._writing = os.pipe()
        self._child = os.fork()
        self.stays = self._child == 0
        os.close(self._reading if self.stays else self._writing)
        if self.stays:
            os.setsid()

    def wait(self, signals: StopSignals) -> int:
        """In the command: return the start's exit code. A signal is passed on, and ends the start."""
        passed_on = False
        while not select.select([self._reading], [], [], WAIT_SECONDS)[0]:
            if signals.came() and not passed_on:
                os.kill(self._child, signal.SIGTERM)
                passed_on = True
        code = os.read(self._reading, 16)
        if code:
            return int(code)
        ended = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        if ended < 0:
            raise ClusterFailure(
                f"the process that starts the cluster was killed by signal {-ended}: see what runs with --status, "
                "and start the rest with --detach"
            )
        return ended

    def release(self, exit_code: int, log_file: Path) -> None:
        """In the process that stays: let the command end, and leave its terminal, pipes and folder."""
        with contextlib.suppress(OSError):  # the command was killed meanwhile
            os.write(self._writing, str(exit_code).encode())
        os.close(self._writing)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(null)
        os.close(log)
        os.chdir("/")  # so that the folder where it was started can be unmounted


class WatchLog:
    """What the process that stays has done, one event a line, in a file of bounded size."""

    def __init__(self, file: Path, *, in_json: bool = False) -> None:
        self._file, self._in_json = file, in_json

    def say(self, text: str) -> None:
        """Write one event. A full disk is no reason to stop."""
        with contextlib.suppress(OSError):
            if self._file.exists() and self._file.stat().st_size > LOG_KEPT_BYTES:
                self._file.replace(self._file.with_name(self._file.name + ".1"))
            with self._file.open("a", encoding="utf-8") as log:
                log.write(self._line(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text) + "\n")

    def _line(self, now: str, text: str) -> str:
        if not self._in_json:
            return f"{now} {text}"
        fields = {"time": now, "level": "info", "program": "run_cluster", "id": "1", "message": text}
        return json.dumps(fields, ensure_ascii=False)


def keep_running(supervisor: Supervisor, signals: StopSignals, on_wake: Callable[[], None]) -> None:
    """Keep the programs running until a signal ends it. Sleeps until something happens."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the end of a child wakes it
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        while not signals.came():
            if signals.take_wake():
                on_wake()
            supervisor.look()
            select.select([reading], [], [], _seconds_to_sleep(supervisor))
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 4096)
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reading)
        os.close(writing)


def _seconds_to_sleep(supervisor: Supervisor) -> float | None:
    """Until the next start is due. The end of a program that an earlier process started sends no signal."""
    due = supervisor.seconds_to_next_start()
    if all(one.started_here for one in supervisor.programs):
        return due
    return LOOK_SECONDS if due is None else min(due, LOOK_SECONDS)
