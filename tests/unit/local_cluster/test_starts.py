"""Starts: what can start starts, what is sick is named, and without a directory nothing is left running."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from local_cluster.failures import Interrupted, NotHealthy, PortBusy
from local_cluster.health import Finding, HealthProbe
from local_cluster.kept_program import KeptProgram
from local_cluster.lifecycle import check_ports, start_programs, stop_programs
from local_cluster.plan import ClusterSettings, Folder, Program, ProgramPlan, plan_programs
from local_cluster.processes import process_mark
from local_cluster.records import (
    load_records,
    save_record,
)
from lockstep_store.wire.cluster_file import ProgramEntry
from tests.unit.local_cluster.programs import Silent, record_of

SLEEP = "import time; time.sleep(600)"


def _program(folder: Folder, id: str, code: str, program: Program = "file_server", port: int = 1) -> KeptProgram:
    command = (sys.executable, "-c", code)
    plan = ProgramPlan(program, id, port, folder.data_dir(program, id), folder.log_file(program, id), command)
    return KeptProgram(plan, folder)


def _running(folder: Folder) -> list[int]:
    return [record.pid for record in load_records(folder) if record.running]


@pytest.fixture
def only_the_directory_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the directory answered well, file server 2 said that its disk is full, and no other listened."""

    def check(_: HealthProbe, entry: ProgramEntry) -> Finding:
        if entry.program == "directory_server":
            return Finding("")
        return Finding("its disk is full", answers=True) if entry.id == "2" else Finding("is not listening yet")

    monkeypatch.setattr(HealthProbe, "check", check)
    monkeypatch.setattr("local_cluster.lifecycle.SICK_SECONDS", 0.1)
    monkeypatch.setattr("local_cluster.lifecycle.port_is_free", lambda plan: plan.port != 7)


@pytest.fixture
def stopping(folder: Folder) -> Iterator[list[KeptProgram]]:
    """Programs that are stopped when the test ends."""
    programs: list[KeptProgram] = []
    yield programs
    stop_programs(folder, reap=lambda: [one.running for one in programs])


@pytest.mark.usefixtures("only_the_directory_is_healthy")
def test_what_is_sick_keeps_nothing_else_down(folder: Folder, stopping: list[KeptProgram]) -> None:
    """A program that ends, one whose port is busy and one that says it is sick are named with their reasons; the
    others run, and cluster.json has those that have a process."""
    directory = _program(folder, "1", SLEEP, "directory_server")
    ends = _program(folder, "1", "import sys; sys.exit('the disk is on fire')")
    full, busy = _program(folder, "2", SLEEP), _program(folder, "3", SLEEP, port=7)
    stopping += [directory, ends, full, busy]
    sick = start_programs(stopping, folder, Silent(), wait_seconds=120)
    assert set(sick) == {"file_server 1", "file_server 2", "file_server 3"}
    assert "ended with exit code 1" in sick["file_server 1"]
    assert "the disk is on fire" in sick["file_server 1"]
    assert sick["file_server 2"] == "its disk is full"
    assert "port 7 is used by another program" in sick["file_server 3"]
    assert (directory.running, ends.running, full.running, busy.running) == (True, False, True, False)
    names = [(one["program"], one["id"]) for one in json.loads(folder.cluster_file.read_text())["programs"]]
    assert names == [("directory_server", "1"), ("file_server", "1"), ("file_server", "2")]


@pytest.mark.usefixtures("only_the_directory_is_healthy")
def test_only_what_is_missing_is_started(folder: Folder, stopping: list[KeptProgram]) -> None:
    """A program that runs is left alone by the next start, which starts the other one."""
    directory, one = _program(folder, "1", SLEEP, "directory_server"), _program(folder, "2", SLEEP)
    stopping += [directory]
    start_programs([directory], folder, Silent(), wait_seconds=120)
    found = KeptProgram(directory.plan, folder, load_records(folder)[0])
    stopping += [one]
    start_programs([found, one], folder, Silent(), wait_seconds=120)
    assert found.record.pid == directory.record.pid
    assert not found.started_here
    assert _running(folder) == [directory.record.pid, one.record.pid]


def test_a_directory_that_ends_early_stops_what_was_started_with_it(folder: Folder) -> None:
    """Its end stops all others, and the message has its exit code and its last log lines."""
    other = _program(folder, "1", SLEEP)
    ill = _program(folder, "1", "import sys; sys.exit('no metadata')", "directory_server")
    with pytest.raises(NotHealthy) as failure:
        start_programs([ill, other], folder, Silent(), wait_seconds=120)
    assert "directory_server 1 ended with exit code 1" in str(failure.value)
    assert "no metadata" in str(failure.value)
    assert other.started_here
    assert not other.running
    assert load_records(folder) == []
    assert not folder.cluster_file.exists()


def test_what_ran_before_survives_a_directory_that_does_not_start(
    folder: Folder, child: subprocess.Popen[bytes]
) -> None:
    """Only what the failed start has started is stopped."""
    before = record_of(child.pid, process_mark(child.pid), "1")
    save_record(folder, before)
    found = KeptProgram(_program(folder, "1", SLEEP).plan, folder, before)
    ill = _program(folder, "1", "import sys; sys.exit(1)", "directory_server")
    with pytest.raises(NotHealthy):
        start_programs([ill, found], folder, Silent(), wait_seconds=120)
    assert child.poll() is None
    assert [record.pid for record in load_records(folder)] == [child.pid]


def test_a_directory_that_never_answers_ends_the_wait(folder: Folder) -> None:
    """The wait is bounded: it says why, and leaves nothing running."""
    code = "import time; print('looking for the key', flush=True); time.sleep(600)"
    late = _program(folder, "1", code, "directory_server")
    started = time.monotonic()
    with pytest.raises(NotHealthy, match="directory_server 1 is not listening yet within 1 s"):
        start_programs([late], folder, Silent(), wait_seconds=1)
    assert time.monotonic() - started < 30
    assert load_records(folder) == []


def test_an_interrupted_start_leaves_nothing_running(folder: Folder) -> None:
    """Ctrl-C while the programs start stops them all."""
    programs = [_program(folder, str(number), SLEEP) for number in (1, 2)]
    with pytest.raises(Interrupted):
        start_programs(programs, folder, Silent(), wait_seconds=120, interrupted=lambda: bool(_running(folder)))
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
