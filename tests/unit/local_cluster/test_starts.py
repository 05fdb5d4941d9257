"""Starts that fail stop what they started, and say why."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from local_cluster.failures import Interrupted, NotHealthy, PortBusy
from local_cluster.lifecycle import check_ports, start_programs, stop_programs
from local_cluster.plan import ClusterSettings, Folder, ProgramPlan, plan_programs
from local_cluster.processes import process_mark
from local_cluster.records import (
    load_records,
    save_record,
)
from tests.unit.local_cluster.programs import Silent, record_of


def _plan(folder: Folder, id: str, code: str) -> ProgramPlan:
    command = (sys.executable, "-c", code)
    return ProgramPlan(
        "file_server", id, 1, folder.data_dir("file_server", id), folder.log_file("file_server", id), command
    )


def _running(folder: Folder) -> list[int]:
    return [record.pid for record in load_records(folder) if record.running]


def test_a_program_that_ends_early_stops_the_start_with_its_last_words(folder: Folder) -> None:
    """One program's early end stops all others, and the message has its exit code and its last log lines."""
    healthy = _plan(folder, "1", "import time; time.sleep(600)")
    ill = _plan(folder, "2", "import sys; sys.exit('the disk is on fire')")
    pids: list[int] = []

    def interrupted() -> bool:
        pids[:] = pids or [record.pid for record in load_records(folder)]
        return False

    with pytest.raises(NotHealthy) as failure:
        start_programs([healthy, ill], folder, Silent(), wait_seconds=120, interrupted=interrupted)
    assert "file_server 2 ended with exit code 1" in str(failure.value)
    assert "the disk is on fire" in str(failure.value)
    assert len(pids) == 2
    assert not any(process_mark(pid) for pid in pids)
    assert load_records(folder) == []
    assert not folder.cluster_file.exists()


def test_a_program_that_never_becomes_healthy_ends_the_wait(folder: Folder) -> None:
    """The wait is bounded: it names who is late and why, and leaves nothing running."""
    late = _plan(folder, "1", "import time; print('looking for the key', flush=True); time.sleep(600)")
    started = time.monotonic()
    with pytest.raises(NotHealthy, match=r"not healthy within 1 s.*file_server 1 is not listening yet"):
        start_programs([late], folder, Silent(), wait_seconds=1)
    assert time.monotonic() - started < 30
    assert load_records(folder) == []


def test_an_interrupted_start_leaves_nothing_running(folder: Folder) -> None:
    """Ctrl-C while the programs start stops them all."""
    plans = [_plan(folder, str(number), "import time; time.sleep(600)") for number in (1, 2)]
    with pytest.raises(Interrupted):
        start_programs(plans, folder, Silent(), wait_seconds=120, interrupted=lambda: bool(_running(folder)))
    assert load_records(folder) == []


def test_a_busy_port_is_named_before_anything_starts(folder: Folder) -> None:
    """The message has the port, the program that wanted it, and the option that helps."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        base = other.getsockname()[1] - 50
        with pytest.raises(PortBusy, match=rf"port {base + 50} \(directory_server 1\).*--base-port"):
            check_ports(plan_programs(ClusterSettings(base_port=base), folder)[:1])


def test_what_a_cut_start_left_is_stopped_by_the_next_stop(folder: Folder, child: subprocess.Popen[bytes]) -> None:
    """A start that was killed before cluster.json existed is known by its records, and a stale one is forgotten."""
    save_record(folder, record_of(child.pid, process_mark(child.pid), "1"))
    save_record(folder, record_of(child.pid, "a process of last week", "2"))
    assert stop_programs(folder, reap=child.poll) == 1
    assert child.returncode is not None
    assert load_records(folder) == []
    assert stop_programs(folder) == 0
