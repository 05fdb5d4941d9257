"""What processes have used, and that a peer's programs end with everything that they started."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers import accounting, programs
from benchmarks.peers.accounting import Usage
from benchmarks.peers.peer import PeerUnavailable
from benchmarks.peers.programs import Programs

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
open("child", "w").write(str(child.pid))
time.sleep(600)
"""
BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(600)"
SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Programs]:
    held = Programs(tmp_path, {})
    yield held
    held.stop()


def until(ready: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_children_count_as_their_parents(started: Programs) -> None:
    """Processor time and switches of a program include those of the processes that it started."""
    started.start("parent", [sys.executable, "-c", PARENT, BURN])
    until(lambda: accounting.usage(started.ids()).total_seconds >= 0.3)
    used = accounting.usage(started.ids())
    assert used.switches > 0
    assert used.since(used) == Usage({"parent": 0.0}, 0)
    resident, proportional = accounting.resident_bytes(started.ids())
    assert resident >= proportional > 1 << 20


def test_a_program_that_restarted_counts_from_its_start() -> None:
    """A new process of the same name has used what it shows, not less than nothing."""
    later = Usage({"a": 1.0, "b": 0.2}, 5)
    assert later.since(Usage({"a": 0.25, "b": 3.0}, 9)) == Usage({"a": 0.75, "b": 0.2}, 0)


def test_a_process_that_is_gone_has_used_nothing() -> None:
    """A program that ends during a cell does not break the accounting."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert accounting.usage({"ended": ended.pid}) == Usage({"ended": 0.0}, 0)


def test_the_machine_has_used_what_a_process_used() -> None:
    """The machine's count grows by at least what this process burns."""
    before, own = accounting.machine_seconds(), time.process_time()
    while time.process_time() < own + 0.2:
        pass
    assert accounting.machine_seconds() - before >= 0.15


def test_stop_ends_children_too(started: Programs, tmp_path: Path) -> None:
    """Nothing that a program started is left, though the program itself does not end it."""
    started.start("parent", [sys.executable, "-c", PARENT, SLEEP])
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    started.stop()
    assert started.ids() == {}
    until(lambda: not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text())


def test_a_program_that_ends_early_is_told_by_its_last_line(started: Programs) -> None:
    """The reason of a peer that does not start is what its program wrote last."""
    started.start("weed", [sys.executable, "-c", "print('first'); raise SystemExit('no disk')"])
    with pytest.raises(PeerUnavailable, match="weed ended with code 1: no disk"):
        started.wait("weed", lambda: False)


def test_a_program_that_never_answers_is_unavailable(started: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is bounded."""
    monkeypatch.setattr(programs, "PATIENCE_SECONDS", 0.3)
    started.start("weed", [sys.executable, "-c", SLEEP])
    with pytest.raises(PeerUnavailable, match="the door did not answer within"):
        started.wait("the door", lambda: False)


def test_commands_that_cannot_run_are_unavailable(started: Programs) -> None:
    """A missing program and a failing command are reasons, not crashes."""
    with pytest.raises(PeerUnavailable, match="could not be started"):
        started.start("weed", ["/nonexistent/weed"])
    with pytest.raises(PeerUnavailable, match="failed: no such volume"):
        started.run([sys.executable, "-c", "raise SystemExit('no such volume')"])
    assert started.run([sys.executable, "-c", "print(input())"], "echo\n") == "echo\n"


def test_free_ports_differ() -> None:
    """Ports of one peer never collide with one another."""
    assert len(set(programs.free_ports(20))) == 20
    assert not programs.answers(programs.free_ports(1)[0])
