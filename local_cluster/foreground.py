"""Standing in front of a running cluster: the menu, or waiting, until the user or a signal says stop.

When standard input is a terminal, or anything else with input for us (a pipe, a file), the menu reads it, and its
end is the end of the cluster. When it is `/dev/null`, closed, or the terminal of a shell that put us in the
background, nobody will type anything: then we wait for a signal.
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
    """Remembers that SIGINT, SIGTERM or SIGHUP came, so that every wait can end in good order.

    A flag and not an exception: an exception between starting a program and writing its record would lose it.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def install(self) -> None:
        """Listen to the signals; a SIGHUP that `nohup` switched off stays off."""
        signal.signal(signal.SIGINT, self._remember)
        signal.signal(signal.SIGTERM, self._remember)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._remember)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._seen.add(number)

    def came(self) -> bool:
        """Whether any of them came."""
        return bool(self._seen)

    def came_except_interrupt(self) -> bool:
        """Whether one came that is not Ctrl-C."""
        return bool(self._seen - {signal.SIGINT})


def input_is_for_menu(descriptor: int = 0) -> bool:
    """Whether standard input can bring requests for the menu (see the module's docstring)."""
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
    proxy: ProgramEntry, ca_file: Path, local_storage: Path, signals: StopSignals, meanwhile: Callable[[], None]
) -> int:
    """The menu on `proxy`, until the person leaves it; returns its exit code.

    Files come from and go to `local_storage`, wherever the person stands, unless the environment names another folder.

    On a terminal Ctrl-C reaches the menu as well, which may only give up a wait: so it is the menu's to decide.
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
    menu = subprocess.Popen(command, env={"LOCKSTEP_LOCAL_STORAGE": str(local_storage), **os.environ})
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
    """Return when a signal came."""
    while not signals.came():
        meanwhile()
        time.sleep(WATCH_SECONDS)


class LossWatch:
    """Says once for each program that it has ended on its own. The others stay: a cluster is built for that."""

    def __init__(self, started: Sequence[Started]) -> None:
        self._left = list(started)
        self._lost: list[str] = []

    def look(self) -> None:
        """Notice programs that ended since the last look."""
        for one in [one for one in self._left if one.process.poll() is not None]:
            self._left.remove(one)
            self._lost.append(
                f"{one.plan.name} (process {one.record.pid}) ended unexpectedly with code "
                f"{one.process.returncode}; its log is {one.plan.log_file}"
            )

    def say(self) -> None:
        """Notice, and print what was lost since the last time."""
        self.look()
        while self._lost:
            remark(self._lost.pop(0))
