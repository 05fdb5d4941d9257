"""Runs a started cluster in the foreground: with the menu, or until a signal arrives.

When standard input is a terminal, a pipe or a file, the menu reads it, and the cluster stops when the menu ends. When
it is `/dev/null`, closed, or the terminal of a shell that runs this command in the background, there is no input to
read: the cluster runs until a signal arrives.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from local_cluster.progress import remark
from lockstep_store.wire.cluster_file import ProgramEntry

WATCH_SECONDS = 0.1
MENU_PATIENCE_SECONDS = 5.0
WAKE_SIGNAL = signal.SIGCONT
"""Harmless to a process that does not handle it."""


class StopSignals:
    """Records SIGINT, SIGTERM and SIGHUP, so that every wait can end cleanly.

    An exception was refused: raised between the start of a program and its record, it would lose the program.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._woken = False
        self.interrupts = 0
        """How often Ctrl-C was pressed."""

    def install(self) -> None:
        """Handle the signals. A SIGHUP that `nohup` ignores stays ignored. A repeated start sends WAKE_SIGNAL."""
        signal.signal(WAKE_SIGNAL, self._wake)
        signal.signal(signal.SIGINT, self._remember)
        signal.signal(signal.SIGTERM, self._remember)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._remember)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._seen.add(number)
        self.interrupts += number == signal.SIGINT

    def _wake(self, *_: object) -> None:
        self._woken = True

    def take_wake(self) -> bool:
        """Whether a repeated start has asked for what is missing, since the last call."""
        woken, self._woken = self._woken, False
        return woken

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


def is_sure_to_stop(question: str, signals: StopSignals, before: int, meanwhile: Callable[[], None]) -> bool:
    """Ask on the terminal. A Ctrl-C after the first `before`, another signal and the end of the input mean yes.

    `input` was refused: a signal that is only remembered does not interrupt it.
    """
    print(question, end=" ", flush=True)
    while not select.select([0], [], [], WATCH_SECONDS)[0]:
        meanwhile()
        if signals.interrupts > before or signals.came_except_interrupt():
            print(flush=True)
            return True
    answer = os.read(0, 1024)
    return not answer or answer.strip().lower() in (b"y", b"yes")


class HeldBack:
    """Remarks that wait until the menu is left, which has the terminal until then."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def hold(self, text: str) -> None:
        """Keep a remark for later."""
        self._lines.append(text)

    def say(self) -> None:
        """Print what has waited."""
        while self._lines:
            remark(self._lines.pop(0))
