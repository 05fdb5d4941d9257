"""One program of the plan with its process: started by this command, or found running."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from local_cluster.plan import Folder, ProgramPlan
from local_cluster.processes import last_lines, process_mark, spawn
from local_cluster.records import RunRecord, save_record
from lockstep_store.runtime.tls.program_registry import ProgramRegistry


class KeptProgram:
    """A program that should run. `record` describes its latest process; without one, its pid is 0."""

    def __init__(self, plan: ProgramPlan, folder: Folder, record: RunRecord | None = None) -> None:
        self.plan = plan
        self._folder = folder
        self.record = record or _record(plan, 0)
        self._process: subprocess.Popen[bytes] | None = None
        self.log_start = plan.log_file.stat().st_size if plan.log_file.exists() else 0

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, if this command has started it."""
        assert self._process is not None
        return self._process

    @property
    def started_here(self) -> bool:
        return self._process is not None

    @property
    def running(self) -> bool:
        """Whether it runs. Also lets an ended child go."""
        return self.record.running if self._process is None else self._process.poll() is None

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start it. The process writes its own record: if this command wrote it and were killed first, a program
        without a record would keep running. Raises SubprocessError if the record cannot be written."""
        plan, before = self.plan, self.record

        def own_record() -> RunRecord:
            return _record(plan, os.getpid(), before.failures, before.starts + 1)

        self.log_start = plan.log_file.stat().st_size if plan.log_file.exists() else 0
        own_env = {**(os.environ if env is None else env), **plan.environment}
        self._process = spawn(plan.command, plan.log_file, own_env, lambda: save_record(self._folder, own_record()))
        self.record = _record(plan, self._process.pid, before.failures, before.starts + 1)

    def note_not_running(self, ended: str, reason: str, failures: int, next_start: float) -> None:
        """Record why it does not run, and when it is started again, for the other commands."""
        record = self.record
        record.ended, record.reason, record.failures, record.next_start = ended, reason, failures, next_start
        save_record(self._folder, self.record)

    def ending(self) -> str:
        """How it ended, as a clause."""
        code = self._exit_code()
        if code is None:
            return "ended"
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def reason(self) -> str:
        """The last line of its log if it gave up by itself; after a kill that line explains nothing."""
        code = self._exit_code()
        lines = last_lines(self.plan.log_file, self.log_start, count=1) if code is not None and code > 0 else []
        return _message(lines[0]).strip().rstrip(".") if lines else ""

    def _exit_code(self) -> int | None:
        """None while it runs, or if another command started it. Negative: the signal that killed it."""
        return None if self._process is None else self._process.poll()

    def last_words(self) -> str:
        """What it wrote to its log since its start."""
        lines = last_lines(self.plan.log_file, self.log_start)
        if not lines:
            return f"It wrote nothing to its log, {self.plan.log_file}"
        return f"Last lines of {self.plan.log_file}:\n" + "\n".join(f"    {line}" for line in lines)


def _message(line: str) -> str:
    """The message of a line of a log, which may be JSON."""
    try:
        return msgspec.json.decode(line, type=_JsonLine).message
    except msgspec.DecodeError:
        return line


class _JsonLine(msgspec.Struct):
    message: str


def _record(plan: ProgramPlan, pid: int, failures: int = 0, starts: int = 0) -> RunRecord:
    return RunRecord(
        program=plan.program,
        id=plan.id,
        url=plan.url,
        pid=pid,
        data_dir=str(plan.data_dir),
        log_file=str(plan.log_file),
        mark=process_mark(pid) if pid else "",
        command=list(plan.command),
        failures=failures,
        starts=starts,
    )


def is_removed(folder: Folder, program: str, id: str, data_dir: Path) -> bool:
    """Whether an administrator removed this program from the cluster.

    Starting it on the authority's machine would invite it again. With an empty data folder that is what its owner
    wants: it joins as a new one.
    """
    known = ProgramRegistry(folder.certs_dir).find(program, id)
    if known is None or known.is_member:
        return False
    try:
        return any(data_dir.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True
