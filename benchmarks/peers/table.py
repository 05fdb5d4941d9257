"""The tables that a run prints: the cells, two doors compared with one, idle programs, and each peer's promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.peers.results import BUSY_SHARE, CellResult, others_share, ratio

WIDTH = 140


def print_tables(found: Sequence[CellResult], reference: str, notes: Iterable[str]) -> None:
    """Print everything; ratios are the reference's value divided by the row's."""
    console = Console(width=WIDTH)
    rated = [one for one in found if one.cell != "idle"]
    if rated:
        console.print(_cells(rated, reference))
    if doors := _doors(found):
        console.print(doors)
    if idle := [one for one in found if one.cell == "idle"]:
        console.print(_idle(idle, reference))
    for one in found:
        if one.failure:
            console.print(f"{one.cell}, {one.peer}: {' '.join(one.failure.split())}", highlight=False, markup=False)
    for note in notes:
        console.print(note, highlight=False, markup=False)
    share = others_share(found)
    busy = f"BUSY MACHINE: other programs used {share:.0%} of the processors, so trust only the ratios."
    quiet = f"Other programs used {share:.0%} of the processors."
    console.print(busy if share > BUSY_SHARE else quiet, highlight=False)


def _cells(found: Sequence[CellResult], reference: str) -> Table:
    table = Table(title=f"Operations; the last two columns are {reference}'s value divided by the row's")
    table.add_column("cell")
    table.add_column("peer")
    for heading in ("rate/s", "p50 ms", "p99 ms", "processor ms/op", "switches/op", "generator", "rate ÷", "cost ÷"):
        table.add_column(heading, justify="right")
    ours = {one.cell: one for one in found if one.peer == reference and not one.failure}
    shown = ""
    for one in found:
        cell = one.cell if one.cell != shown else ""
        if cell and shown:
            table.add_section()
        shown = one.cell
        if one.failure:
            table.add_row(cell, one.peer, "failed")
            continue
        base = ours.get(one.cell)
        table.add_row(
            cell,
            one.peer,
            _number(one.rate),
            _number(one.p50_ms),
            _number(one.p99_ms),
            _number(one.processor_ms),
            _number(one.switches),
            f"{one.generator_share:.0%}",
            _ratio(base.rate, one.rate) if base else "",
            _ratio(base.processor_ms, one.processor_ms) if base else "",
        )
    return table


def _doors(found: Sequence[CellResult]) -> Table | None:
    """The cost of a second proxy for a hot read, and the directory's share of it."""
    pairs = [
        (one, two)
        for two in found
        for one in found
        if two.cell == f"{one.cell}, two doors" and two.peer == one.peer and not (one.failure or two.failure)
    ]
    if not pairs:
        return None
    table = Table(title="Hot reads through two doors, divided by those through one")
    for heading in ("peer", "rate", "processor time per read", "of it the directory's"):
        table.add_column(heading, justify="left" if heading == "peer" else "right")
    for one, two in pairs:
        costs = (_ratio(two.rate, one.rate), _ratio(two.processor_ms, one.processor_ms))
        table.add_row(one.peer, *costs, _ratio(_directory_ms(two), _directory_ms(one)))
    return table


def _directory_ms(result: CellResult) -> float:
    by_program = result.processor_ms_by_program or {}
    return sum(cost for program, cost in by_program.items() if program.startswith("directory_server"))


def _idle(found: Sequence[CellResult], reference: str) -> Table:
    table = Table(title=f"Idle; the last two columns are {reference}'s value divided by the row's")
    table.add_column("peer")
    for heading in ("programs", "resident MiB", "shared pages divided", "processor %", "memory ÷", "processor ÷"):
        table.add_column(heading, justify="right")
    base = next((one for one in found if one.peer == reference and not one.failure), None)
    for one in found:
        if one.failure:
            table.add_row(one.peer, "failed")
            continue
        table.add_row(
            one.peer,
            str(len(one.processor_ms_by_program or {})),
            f"{one.resident_mib:.0f}",
            f"{one.proportional_mib:.0f}",
            f"{one.idle_percent:.1f}",
            _ratio(base.resident_mib, one.resident_mib) if base else "",
            _ratio(base.idle_percent, one.idle_percent) if base else "",
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(ours: float, theirs: float) -> str:
    found = ratio(ours, theirs)
    return "" if found is None else f"{found:.2f}"
