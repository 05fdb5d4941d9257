"""The result of one cell at one peer: rate, percentiles, costs per operation, and ratios to the reference."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.peers.runner import Row

BUSY_SHARE = 0.1


@dataclass(frozen=True)
class CellResult:
    """The merged turns of a row. Times are milliseconds, shares are of all processors."""

    cell: str
    peer: str
    failure: str = ""
    operations: int = 0
    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    processor_ms: float = 0.0
    """Processor time of all the peer's programs for one operation."""
    processor_ms_by_program: Mapping[str, float] | None = None
    switches: float = 0.0
    """Context switches of all the peer's programs for one operation."""
    generator_ms: float = 0.0
    generator_share: float = 0.0
    others_share: float = 0.0
    resident_mib: float = 0.0
    proportional_mib: float = 0.0
    idle_percent: float = 0.0
    """Of one processor, while idle."""
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        return asdict(self)


def result_of(row: Row) -> CellResult:
    """Merge the turns: average rates, costs divided by all operations, percentiles over all latencies."""
    name = row.cell.name
    if row.failure or not row.samples:
        return CellResult(name, row.peer, row.failure or "not measured")
    count = sum(sample.load.operations for sample in row.samples)
    seconds = sum(sample.load.elapsed_seconds for sample in row.samples)
    capacity = seconds * (os.cpu_count() or 1)
    latencies = sorted(value for sample in row.samples for value in sample.load.latencies_us)
    generator = sum(sample.load.processor_seconds for sample in row.samples)
    programs = sorted({name for sample in row.samples for name in sample.servers.processor_seconds})
    total = sum(sample.servers.total_seconds for sample in row.samples)
    idle = row.cell.operation == "idle"
    return CellResult(
        cell=name,
        peer=row.peer,
        operations=count,
        rate=sum(sample.load.rate for sample in row.samples) / len(row.samples),
        p50_ms=_percentile(latencies, 0.50),
        p99_ms=_percentile(latencies, 0.99),
        processor_ms=1e3 * total / count,
        processor_ms_by_program={
            program: 1e3 * sum(sample.servers.processor_seconds.get(program, 0.0) for sample in row.samples) / count
            for program in programs
        },
        switches=sum(sample.servers.switches for sample in row.samples) / count,
        generator_ms=1e3 * generator / count,
        generator_share=generator / capacity,
        others_share=sum(sample.others_seconds for sample in row.samples) / capacity,
        resident_mib=row.resident_bytes / (1 << 20),
        proportional_mib=row.proportional_bytes / (1 << 20),
        idle_percent=100 * total / seconds if idle else 0.0,
        seconds=seconds,
    )


def _percentile(ordered_us: list[int], share: float) -> float:
    return ordered_us[min(len(ordered_us) - 1, int(share * len(ordered_us)))] / 1e3 if ordered_us else 0.0


def others_share(found: Iterable[CellResult]) -> float:
    """The share of the processors that other programs used, over the whole run."""
    measured = [one for one in found if not one.failure]
    seconds = sum(one.seconds for one in measured)
    return sum(one.others_share * one.seconds for one in measured) / seconds if seconds else 0.0


def ratio(ours: float, theirs: float) -> float | None:
    """Theirs divided by ours; None if either was too small to measure."""
    return ours / theirs if ours and theirs else None
