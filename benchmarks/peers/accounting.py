"""Reads the costs of processes and their children from /proc: processor time, context switches, memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """The costs of the named programs since they started."""

    processor_seconds: dict[str, float]
    switches: int
    """Context switches of the threads that still run. When a thread ends, its count is lost."""

    @property
    def total_seconds(self) -> float:
        return sum(self.processor_seconds.values())

    def since(self, earlier: Usage) -> Usage:
        """The difference to an earlier usage. A program that has restarted since counts from its start."""
        used = {
            name: seconds - (before if (before := earlier.processor_seconds.get(name, 0.0)) <= seconds else 0.0)
            for name, seconds in self.processor_seconds.items()
        }
        return Usage(used, max(0, self.switches - earlier.switches))


def usage(programs: Mapping[str, int]) -> Usage:
    """Read the costs so far of the programs, by process id, with their descendants."""
    children = _children()
    seconds: dict[str, float] = {}
    switches = 0
    for name, root in programs.items():
        tree = list(_tree(root, children))
        seconds[name] = sum(_processor_seconds(pid) for pid in tree)
        switches += sum(_switches(pid) for pid in tree)
    return Usage(seconds, switches)


def resident_bytes(programs: Mapping[str, int]) -> tuple[int, int]:
    """The resident memory of all programs: as the system counts it, and with shared pages divided by their users."""
    children = _children()
    resident = proportional = 0
    for root in programs.values():
        for pid in _tree(root, children):
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                fields = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
                resident += int(fields["Rss"]) * 1024
                proportional += int(fields["Pss"]) * 1024
    return resident, proportional


def machine_seconds() -> float:
    """The processor time of the whole machine since it started."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, interrupts, soft, steal = (int(word) for word in words[:8])
    return (user + nice + system + interrupts + soft + steal) / TICK


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _tree(root: int, children: Mapping[int, list[int]]) -> Iterator[int]:
    yield root
    for child in children.get(root, ()):
        yield from _tree(child, children)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)), or none if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _processor_seconds(pid: int) -> float:
    """User and system time, with that of children that have ended and were waited for."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / TICK


def _switches(pid: int) -> int:
    count = 0
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for line in (thread / "status").read_text().splitlines():
                    if "ctxt_switches" in line:
                        count += int(line.split()[1])
    return count
