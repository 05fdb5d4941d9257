"""What a start tells a person in the end: the programs, what is sick and why, and the next steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from local_cluster.failures import Degraded
from local_cluster.kept_program import KeptProgram
from local_cluster.plan import Folder
from local_cluster.progress import next_step, program_table, remark, sick_lines, tell


def say_started(
    folder: Folder,
    root: Path,
    programs: Sequence[KeptProgram],
    sick: Mapping[str, str],
    seconds: float,
    console: str = "",
) -> int:
    """Print what runs and what is sick; return the exit code.

    `root` is the checkout, `console` a remark on the console's page.
    """
    records = [one.record for one in programs]
    if sick:
        few = f"{len(sick)} of {counted(len(programs), 'program', 'programs')}"
        are = "are" if len(sick) > 1 else "is"
        remark(f"\nThe cluster runs after {seconds:.1f} s, but {few} {are} not healthy.\n")
    else:
        remark(f"\nThe cluster is healthy after {seconds:.1f} s.\n")
    tell(program_table(records, [_state(one, sick) for one in programs] if sick else None))
    if sick:
        remark(f"\n{sick_lines(sick, records)}")
    proxy = next((one for one in programs if one.plan.program == "client_proxy" and one.name not in sick), None)
    if proxy is not None:
        tell(f"\n{next_step(folder, root, root / '.cluster', proxy.plan.url, console)}")
    return Degraded.exit_code if sick else 0


def counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _state(one: KeptProgram, sick: Mapping[str, str]) -> str:
    if one.name not in sick:
        return "healthy"
    return "not healthy" if one.running else "not running"
