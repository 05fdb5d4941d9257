"""Runs a started cluster in the foreground: with the menu, or until a signal arrives.

When standard input is a terminal, a pipe or a file, the menu reads it, and the cluster stops when the menu ends. When
it is `/dev/null`, closed, or the terminal of a shell that runs this command in the background, there is no input to
read: the cluster runs until a signal arrives.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from local_cluster.lifecycle import Started
from local_cluster.progress import remark
from lockstep_store.wire.cluster_file import ProgramEntry

WATCH_SECONDS = 0.1
MENU_PATIENCE_SECONDS = 5.0


class StopSignals:
    """Records SIGINT, SIGTERM and SIGHUP, so that every wait can end cleanly.

    An exception was refused: raised between the start of a program and its record, it would lose the program.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def install(self) -> None:
        """Handle the signals. A SIGHUP that `nohup` ignores stays ignored."""
        signal.signal(signal.SIGINT, self._remember)
        signal.signal(signal.SIGTERM, self._remember)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._remember)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._seen.add(number)

    def came(self) -> bool:
        """Whether any of them has arrived."""
        return bool(self._seen)

    def came_except_interrupt(self) -> bool:
        """Whether one other than Ctrl-C has arrived."""
        return bool(self._seen - {signal.SIGINT})


def input_is_for_menu(descriptor: int = 0) -> bool:
    """Whether standard input can have requests for the menu (see the module's docstring)."""
    try:
        if os.isatty(descriptor):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
        return not os.path.sameopenfile(descriptor, _null())
    except OSError:
        return False


def _null() -> int:
    global _null_descriptor
    if _null_descriptor < 0:
        _null_descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return _null_descriptor


_null_descriptor = -1


def run_menu(
    proxy: ProgramEntry,
    ca_file: Path,
    local_storage: Path,
    umask: int,
    signals: StopSignals,
    meanwhile: Callable[[], None],
) -> int:
    """Run the menu on `proxy` until the person leaves it, and return its exit code.

    Local files are in `local_storage`, unless the environment names another folder, with the modes of `umask`. On a
    terminal, Ctrl-C also reaches the menu, which may only cancel a wait; so there, only the menu reacts to it.
    """
    on_terminal = os.isatty(0)
    command = [
        sys.executable,
        "-P",
        "-m",
        "lockstep_store.client.cli",
        "menu",
        "--url",
        proxy.url,
        "--ca",
        str(ca_file),
    ]
    menu = subprocess.Popen(command, env={"LOCKSTEP_LOCAL_STORAGE": str(local_storage), **os.environ}, umask=umask)
    stop = signals.came_except_interrupt if on_terminal else signals.came
    while menu.poll() is None:
        if stop():
            _end(menu)
            break
        meanwhile()
        time.sleep(WATCH_SECONDS)
    return menu.returncode


def _end(menu: subprocess.Popen[bytes]) -> None:
    menu.terminate()
    try:
        menu.wait(MENU_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        menu.kill()
        menu.wait()


def wait_for_signal(signals: StopSignals, meanwhile: Callable[[], None]) -> None:
    """Return when a signal has arrived."""
    while not signals.came():
        meanwhile()
        time.sleep(WATCH_SECONDS)


class LossWatch:
    """Reports each program that ends unexpectedly, once. The others keep running, because a cluster tolerates that."""

    def __init__(self, started: Sequence[Started]) -> None:
        self._left = list(started)
        self._lost: list[str] = []

    def look(self) -> None:
        """Notice programs that ended since the last look."""
        for one in [one for one in self._left if one.process.poll() is not None]:
            self._left.remove(one)
            self._lost.append(
                f"{one.plan.name} (process {one.record.pid}) ended unexpectedly with code "
                f"{one.process.returncode}: see its log {one.plan.log_file}"
            )

    def say(self) -> None:
        """Notice programs that ended, and print those not yet reported."""
        self.look()
        while self._lost:
            remark(self._lost.pop(0))
