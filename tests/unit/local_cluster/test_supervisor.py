"""Programs that end are started again, after pauses that grow; real processes on a clock that the test moves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.detached import WatchLog
from local_cluster.kept_program import KeptProgram
from local_cluster.lifecycle import stop_programs
from local_cluster.plan import Folder, ProgramPlan
from local_cluster.processes import process_mark, send
from local_cluster.records import load_records, save_record
from local_cluster.supervisor import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Supervisor
from lockstep_store.runtime.tls.program_registry import ProgramRegistry
from tests.unit.local_cluster.programs import record_of
from tests.waiting import wait_until


class Kept:
    """A supervisor of one program; `now` is its clock, `said` what it has said."""

    def __init__(self, folder: Folder, code: str, *, restart: bool = True) -> None:
        self.folder = folder
        command = (sys.executable, "-c", code)
        data_dir, log = folder.data_dir("file_server", "1"), folder.log_file("file_server", "1")
        self.program = KeptProgram(ProgramPlan("file_server", "1", 1, data_dir, log, command), folder)
        self.now = 1000.0
        self.said: list[str] = []
        self.program.start()
        self.supervisor = Supervisor(
            [self.program], folder, self.said.append, restart=restart, monotonic=lambda: self.now
        )

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.supervisor.look()

    def until_ended(self) -> None:
        """Wait until the program has ended by itself, and let the supervisor see it."""
        wait_until(lambda: not self.program.running, what="the program's end")
        self.supervisor.look()

    def kill(self) -> None:
        send(self.program.record.pid, self.program.record.mark, signal.SIGKILL)
        self.until_ended()

    def pause(self) -> float:
        pause = self.supervisor.seconds_to_next_start()
        assert pause is not None
        return pause


@pytest.fixture(autouse=True)
def no_port_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_cluster.supervisor.port_is_free", lambda _: True)


@pytest.fixture
def sleeper(folder: Folder) -> Iterator[Kept]:
    kept = Kept(folder, "import time; time.sleep(600)")
    yield kept
    stop_programs(folder, reap=kept.supervisor.reap)


def test_what_is_killed_runs_again_after_a_second(sleeper: Kept) -> None:
    """With a new process, which its record and cluster.json name; and the others are told how it ended."""
    first = sleeper.program.record.pid
    sleeper.kill()
    assert "was killed by signal 9; it is started again in 1 s" in sleeper.said[0]
    assert load_records(sleeper.folder)[0].ending == "was killed by signal 9"
    sleeper.pass_time(0.9)
    assert not sleeper.program.running
    sleeper.pass_time(0.2)
    assert sleeper.program.running
    record = load_records(sleeper.folder)[0]
    assert record.pid != first
    assert (record.running, record.ended, record.starts) == (True, "", 2)
    assert f'"pid": {record.pid}' in sleeper.folder.cluster_file.read_text()
    assert sleeper.supervisor.seconds_to_next_start() is None


def test_pauses_grow_to_five_minutes_and_begin_again_after_a_steady_run(folder: Folder) -> None:
    """A program that ends at every start is tried ever more rarely; one that ran for a minute is not such a one."""
    kept = Kept(folder, "pass")
    pauses = []
    for _ in range(11):
        kept.until_ended()
        pauses.append(kept.pause())
        kept.pass_time(kept.pause())
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert "11 times in a row" in kept.said[-2]
    wait_until(lambda: not kept.program.running, what="its end")
    kept.pass_time(STEADY_SECONDS)
    assert kept.pause() == 1


def test_somebody_who_mended_it_need_not_wait(folder: Folder) -> None:
    """A repeated start ends the pause, and the next ones begin short again."""
    kept = Kept(folder, "pass")
    for _ in range(5):
        kept.until_ended()
        kept.pass_time(kept.pause())
    kept.until_ended()
    assert kept.pause() == 32
    starts = kept.program.record.starts
    kept.supervisor.start_now()
    kept.supervisor.look()
    assert kept.program.record.starts == starts + 1
    kept.until_ended()
    assert kept.pause() == 1


def test_a_program_of_a_larger_plan_is_started_too(sleeper: Kept) -> None:
    """A repeated start may bring further programs, which are then kept running as well."""
    folder, command = sleeper.folder, sleeper.program.plan.command
    plan = ProgramPlan("file_server", "2", 1, folder.data, folder.log_file("file_server", "2"), command)
    sleeper.supervisor.start_now([sleeper.program, KeptProgram(plan, folder)])
    sleeper.supervisor.look()
    assert [one.running for one in sleeper.supervisor.programs] == [True, True]


def test_a_removed_program_is_not_started_again(sleeper: Kept) -> None:
    """Its start would make it a member again; only with an empty folder it comes back, as a new one."""
    registry = ProgramRegistry(sleeper.folder.certs_dir)
    registry.start_here("file_server", "1")
    registry.end("file_server", "1")
    data = sleeper.program.plan.data_dir
    data.mkdir()
    sleeper.kill()
    sleeper.pass_time(1)
    assert sleeper.program.running, "its folder is empty"
    (data / "chunk").write_text("a copy")
    sleeper.kill()
    assert sleeper.supervisor.programs == []
    assert load_records(sleeper.folder) == []
    assert "was removed from the cluster" in sleeper.said[-1]


def test_a_busy_port_is_waited_for(sleeper: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started that could only fail, and the reason is on record."""
    monkeypatch.setattr("local_cluster.supervisor.port_is_free", lambda _: False)
    sleeper.kill()
    sleeper.pass_time(1)
    assert not sleeper.program.running
    assert "port 1 is used by another program" in load_records(sleeper.folder)[0].ending
    assert sleeper.pause() == 2
    monkeypatch.setattr("local_cluster.supervisor.port_is_free", lambda _: True)
    sleeper.pass_time(2)
    assert sleeper.program.running


def test_without_restarts_an_end_is_said_once(folder: Folder) -> None:
    """--no-restart only reports."""
    kept = Kept(folder, "import sys; sys.exit(3)", restart=False)
    kept.until_ended()
    kept.pass_time(3600)
    assert kept.said == [f"file_server 1 ended with exit code 3: see its log {kept.program.plan.log_file}"]
    assert kept.supervisor.seconds_to_next_start() is None


def test_what_an_earlier_process_started_is_kept_too(
    folder: Folder, child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """After the process that kept the cluster running was killed, the next one takes its programs over."""
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    record = record_of(child.pid, process_mark(child.pid), "1")
    save_record(folder, record)
    plan = ProgramPlan("file_server", "1", 1, tmp_path, folder.log_file("file_server", "1"), command)
    program = KeptProgram(plan, folder, record)
    now = [0.0]
    supervisor = Supervisor([program], folder, lambda _: None, monotonic=lambda: now[0])
    supervisor.look()
    assert not program.started_here
    child.kill()
    child.wait()
    supervisor.look()
    now[0] += 1
    supervisor.look()
    try:
        assert program.started_here
        assert program.running
    finally:
        stop_programs(folder, reap=supervisor.reap)


def test_the_log_of_what_was_done_can_be_json(tmp_path: Path) -> None:
    """One object for each event, like the programs' logs."""
    log = WatchLog(tmp_path / "run_cluster.log", in_json=True)
    log.say('file_server 1 ended (a "reason")')
    entry = json.loads((tmp_path / "run_cluster.log").read_text())
    assert (entry["program"], entry["message"]) == ("run_cluster", 'file_server 1 ended (a "reason")')


def test_the_log_of_what_was_done_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends at every start for years fills no disk."""
    monkeypatch.setattr("local_cluster.detached.LOG_KEPT_BYTES", 1000)
    log = WatchLog(tmp_path / "run_cluster.log")
    for number in range(200):
        log.say(f"event {number}")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3000
    assert "event 199" in (tmp_path / "run_cluster.log").read_text()
    WatchLog(tmp_path / "missing" / "x.log").say("no reason to stop")
