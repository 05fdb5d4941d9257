"""What --status reports of a program that does not run: why, and when it runs again."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from local_cluster.failures import Degraded
from local_cluster.kept_program import KeptProgram
from local_cluster.plan import Folder, ProgramPlan
from local_cluster.processes import process_mark
from local_cluster.records import save_record
from local_cluster.status import show_status
from local_cluster.supervisor import Supervisor
from tests.unit.local_cluster.programs import record_of
from tests.waiting import wait_until

KEEPER = 4242
DIES = "import os; print('a client has connected', flush=True); os.kill(os.getpid(), 9)"
GIVES_UP = "import sys; print('starting', flush=True); sys.exit('the disk is on fire.')"


def ended(folder: Folder, code: str, *, restart: bool = True) -> KeptProgram:
    """File server 1 after its process ran `code`, as its supervisor recorded it."""
    command = (sys.executable, "-c", code)
    data, log = folder.data_dir("file_server", "1"), folder.log_file("file_server", "1")
    program = KeptProgram(ProgramPlan("file_server", "1", 1, data, log, command), folder)
    program.start()
    wait_until(lambda: not program.running, what="its end")
    Supervisor([program], folder, lambda _: None, restart=restart).look()
    return program


def line(folder: Folder, capsys: pytest.CaptureFixture[str], keeper: int = KEEPER) -> str:
    with pytest.raises(Degraded, match=r"file_server 1.*: see "):
        show_status(folder, keeper)
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("file_server 1: "))


def next_start_in(folder: Folder, program: KeptProgram, seconds: float) -> None:
    program.record.next_start = time.monotonic() + seconds
    save_record(folder, program.record)


def test_a_kill_is_named_without_words_that_do_not_explain_it(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed program logged last says nothing about its end."""
    ended(folder, DIES)
    shown = line(folder, capsys)
    assert shown.startswith("file_server 1: was killed by signal 9; it is started again ")
    assert "a client has connected" not in shown


def test_a_program_that_gave_up_is_named_with_its_reason(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last line, once; a start that is far away need not be waited for."""
    program = ended(folder, GIVES_UP)
    program.record.failures = 7
    next_start_in(folder, program, 299.5)
    told = r"ended with exit code 1, 7 times in a row (the disk is on fire); it is started again in "
    assert line(folder, capsys).startswith(f"file_server 1: {told}")
    assert " s, or now with --detach (see " in line(folder, capsys)
    next_start_in(folder, program, -1.0)
    assert "; it is started again now (see " in line(folder, capsys)


@pytest.mark.parametrize(("restart", "keeper"), [(False, KEEPER), (True, 0)])
def test_a_person_starts_what_nothing_else_does(
    folder: Folder, capsys: pytest.CaptureFixture[str], child: subprocess.Popen[bytes], restart: bool, keeper: int
) -> None:
    """With --no-restart, and after the process that kept it running was killed."""
    ended(folder, DIES, restart=restart)
    save_record(folder, record_of(child.pid, process_mark(child.pid), "2"))
    assert "was killed by signal 9; start it again with --detach (see " in line(folder, capsys, keeper)
