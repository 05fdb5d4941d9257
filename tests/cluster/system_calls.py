"""What programs asked of the kernel, and faults in what it answers: strace on running processes.

Tests that need it call `skip_without_strace()` first: it is a Debian package (`.ci/run` installs it), and a container
may forbid tracing.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.waiting import wait_until

FLUSHES = "fsync,fdatasync"
RENAMES = "rename,renameat,renameat2"
_LINE = re.compile(
    r"(?P<start>\d+\.\d+) (?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+).*<(?P<took>\d+\.\d+)>$"
)
_FILE = re.compile(r"^\d+<(?P<path>[^>]*)>$")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Call(NamedTuple):
    """One finished system call that succeeded: a flush of `path`, or a rename of `path` to `target`."""

    pid: int
    start: float
    end: float
    path: str
    target: str = ""


@cache
def why_not_traced() -> str:
    """Why programs cannot be traced here; empty when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            with _attached([child.pid], ["-e", f"trace={FLUSHES}", "-o", "/dev/null"]):
                return ""
        except AssertionError as error:
            return f"strace may not trace here: {error}"
        finally:
            child.kill()


def skip_without_strace() -> None:
    """Skip the calling test where programs cannot be traced, and say why."""
    reason = why_not_traced()
    if reason:
        pytest.skip(reason)


@contextmanager
def traced(pids: Sequence[int], folder: Path) -> Iterator[None]:
    """Write down the flushes and renames of these processes, for `calls_in(folder)` afterwards."""
    folder.mkdir()
    # A file for each thread, so that no call is split over two lines; the names say which process it belongs to.
    options = ["-ttt", "-T", "-y", "-s", "4096", "-e", f"trace={FLUSHES},{RENAMES}"]
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_attached([pid], [*options, "-ff", "-o", str(folder / str(pid))]))
        yield


@contextmanager
def flushes_fail(pid: int) -> Iterator[None]:
    """Inside the block every fsync and fdatasync of the process gives EIO, and nothing is flushed."""
    with _attached([pid], ["-qq", "-o", "/dev/null", "-e", f"trace={FLUSHES}", "-e", f"inject={FLUSHES}:error=EIO"]):
        yield


@contextmanager
def flushes_hang(pid: int) -> Iterator[None]:
    """Inside the block no fsync and fdatasync of the process ends; those under way go on when the block ends."""
    hour = 3_600_000_000  # microseconds
    injected = f"inject={FLUSHES}:delay_enter={hour}"
    with _attached([pid], ["-qq", "-o", "/dev/null", "-e", f"trace={FLUSHES}", "-e", injected]):
        yield


def calls_in(folder: Path) -> list[Call]:
    """The successful calls that `traced` wrote down, by the time they ended."""
    calls = []
    for file in folder.iterdir():
        pid = int(file.name.split(".")[0])
        calls.extend(call for line in file.read_text("utf-8", "replace").splitlines() if (call := _call(pid, line)))
    return sorted(calls, key=lambda call: call.end)


def _call(pid: int, line: str) -> Call | None:
    found = _LINE.match(line)
    if found is None or found["result"] != "0":
        return None
    start = float(found["start"])
    end = start + float(found["took"])
    flushed = _FILE.match(found["arguments"])
    if flushed:
        return Call(pid, start, end, flushed["path"])
    names = _QUOTED.findall(found["arguments"])
    return Call(pid, start, end, names[0], names[1]) if len(names) == 2 else None


@contextmanager
def _attached(pids: Sequence[int], options: Sequence[str]) -> Iterator[None]:
    """strace on all threads of the processes, those that are started meanwhile included; detached in the end."""
    command = ["strace", "-f", *options, *(word for pid in pids for word in ("-p", str(pid)))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
        try:
            wait_until(lambda: tracer.poll() is not None or all(map(_is_traced, pids)), 60, "tracing")
            if tracer.poll() is not None:
                assert tracer.stderr is not None
                raise AssertionError(tracer.stderr.read().decode("utf-8", "replace").strip()[-300:])
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            try:
                tracer.wait(60)
            except subprocess.TimeoutExpired:
                tracer.kill()
                raise
    deadline = time.monotonic() + 60
    while any(map(_is_traced_at_all, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _tracers(pid: int) -> list[str]:
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            found.append(re.search(r"TracerPid:\s*(\d+)", status.read_text())[1])  # type: ignore[index]
        except (OSError, TypeError):
            continue  # the thread has just ended
    return found


def _is_traced(pid: int) -> bool:
    tracers = _tracers(pid)
    return bool(tracers) and "0" not in tracers


def _is_traced_at_all(pid: int) -> bool:
    return any(tracer != "0" for tracer in _tracers(pid))
