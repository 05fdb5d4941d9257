"""Processes: known by more than their id, and stopped for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from local_cluster.processes import end_processes, is_running, last_lines, process_mark, spawn
from tests.waiting import wait_until


def test_a_process_is_known_by_more_than_its_id(child: subprocess.Popen[bytes]) -> None:
    """A process id that belongs to somebody else by now is not taken for ours."""
    mark = process_mark(child.pid)
    assert is_running(child.pid, mark)
    assert not is_running(child.pid, mark + "0")
    assert not is_running(os.getpid(), mark)


def test_a_process_that_only_waits_to_be_reaped_is_gone(child: subprocess.Popen[bytes]) -> None:
    """A zombie does not count as running, because whoever adopts it in a container may never reap it."""
    mark = process_mark(child.pid)
    child.kill()
    wait_until(lambda: not is_running(child.pid, mark), what="the end of the process")
    assert child.returncode is None


def test_a_stranger_with_a_recycled_id_is_never_signalled(child: subprocess.Popen[bytes]) -> None:
    """Ending processes by a mark that does not fit leaves the process with that id alone."""
    assert end_processes([(child.pid, "an older process")], 0.5) == []
    assert child.poll() is None


def test_a_paused_process_ends_without_force(child: subprocess.Popen[bytes]) -> None:
    """A program that was paused hears the request to stop too."""
    os.kill(child.pid, signal.SIGSTOP)
    assert end_processes([(child.pid, process_mark(child.pid))], 60, child.poll) == []
    assert child.returncode == -signal.SIGTERM


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    """SIGTERM is given a bounded time, then SIGKILL ends the process."""
    log = tmp_path / "deaf.log"
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    deaf = spawn([sys.executable, "-c", code], log)
    wait_until(lambda: last_lines(log) == ["deaf"], what="the handler")
    assert end_processes([(deaf.pid, process_mark(deaf.pid))], 0.3, deaf.poll) == [deaf.pid]
    assert deaf.wait(60) == -signal.SIGKILL


def test_only_the_lines_of_this_start_are_shown(tmp_path: Path) -> None:
    """The last lines of a log leave out what an earlier start wrote."""
    log = tmp_path / "some.log"
    log.write_text("old\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.writelines(f"new {number}\n" for number in range(20))
    assert last_lines(log, start, 2) == ["new 18", "new 19"]
    assert last_lines(log, start, 100)[0] == "new 0"
    assert last_lines(tmp_path / "none.log") == []
