"""The state of a running cluster: what --status shows, and what a repeated start waits for."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_cluster.failures import Degraded, NotRunning
from local_cluster.health import HealthProbe
from local_cluster.kept_program import KeptProgram, is_removed
from local_cluster.plan import COMMAND, Folder, ProgramPlan
from local_cluster.progress import program_table, sick_lines, tell
from local_cluster.records import RunRecord, load_records
from local_cluster.start_report import counted

REMOVED = "removed"
LONG_SECONDS = 5
"""A person who can mend a program need not wait for a start that is further away."""


def show_status(folder: Folder, keeper: int) -> int:
    """Print every program's state. `keeper` is the process that keeps them running, 0 if there is none.

    Raises NotRunning or Degraded unless all are healthy.
    """
    records = load_records(folder)
    if not keeper and not any(record.running for record in records):
        raise NotRunning(f"no cluster is running in {folder.data}: start it with {COMMAND}")
    faults = _faults(folder, records, keeper)
    tell(program_table(records, [_state(record, faults) for record in records]))
    if keeper:
        tell(f"\nProcess {keeper} keeps them running.")
    else:
        tell(
            f"\nPrograms that exit are not restarted: `{COMMAND} --detach` starts what is missing and restarts "
            "programs from then on."
        )
    removed = [name for name, fault in faults.items() if fault == REMOVED]
    for name in removed:
        tell(f"{name} was removed from the cluster: repeat the start with --detach to stop it")
    sick = {name: fault for name, fault in faults.items() if name not in removed}
    if sick:
        tell(sick_lines(sick, records))
        several = len(sick) > 1
        raise Degraded(
            f"{len(sick)} of {counted(len(records), 'program', 'programs')} {'are' if several else 'is'} not healthy "
            f"({', '.join(sick)}): see {'their logs' if several else 'its log'}"
        )
    return 0


def _faults(folder: Folder, records: Sequence[RunRecord], keeper: int) -> dict[str, str]:
    """What is wrong with each program that is not healthy, by name."""
    probe = HealthProbe(folder)

    def fault(record: RunRecord) -> str:
        if is_removed(folder, record.program, record.id, Path(record.data_dir)):
            return REMOVED
        return probe.fault(record) if record.running else _why_not_running(record, keeper)

    with ThreadPoolExecutor(max_workers=max(1, min(16, len(records)))) as pool:
        found = zip([record.name for record in records], pool.map(fault, records), strict=True)
        return {name: fault for name, fault in found if fault}


def _state(record: RunRecord, faults: dict[str, str]) -> str:
    if faults.get(record.name) == REMOVED:
        return REMOVED
    if not record.running:
        return "not running"
    return "not healthy" if record.name in faults else "healthy"


def _why_not_running(record: RunRecord, keeper: int) -> str:
    if not keeper or (record.ended and not record.next_start):
        return f"{record.ending}; start it again with --detach"
    seconds = math.ceil(record.next_start - time.monotonic())
    if seconds <= LONG_SECONDS:
        return f"{record.ending}; it is started again {f'in {seconds} s' if seconds > 0 else 'now'}"
    return f"{record.ending}; it is started again in {seconds} s, or now with --detach"


class FollowedProgram(KeptProgram):
    """A program that another process keeps running, and was asked to start if it is `missing`."""

    def __init__(self, plan: ProgramPlan, folder: Folder, record: RunRecord) -> None:
        super().__init__(plan, folder, record)
        self._file_of = folder
        self._starts = record.starts
        self._missing = not record.running

    @property
    def running(self) -> bool:
        """Whether it runs, or its start is still to come."""
        found = [record for record in load_records(self._file_of) if record.name == self.name]
        self.record = found[0] if found else self.record
        is_to_come = self._missing and self.record.starts <= self._starts
        return is_to_come or self.record.running or not self.record.ended

    def ending(self) -> str:
        return self.record.ending
