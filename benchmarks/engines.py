"""Compares the metadata engines: commits and look-ups of one directory on SQLite and on PostgreSQL, in turns.

It calls the directory's rules on real stores in this process, as the handlers do: one commit or look-up a call.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measurements import Measurement
from tests.fakes import metadata_engines
from tests.fakes.directory_rig import DirectoryRig

THREADS = (1, 8, 32)
ROUNDS = 3
SECONDS = 2.0
FILES = 500
COMMIT_GOAL, LOOKUP_GOAL = 0.6, 0.6
"""Of SQLite's rates."""


def measure(folder: Path, address: str) -> list[Measurement]:
    """Rates of PostgreSQL as ratios to SQLite's. `address` is an empty database's; without one nothing is measured."""
    if not address:
        return []
    rigs = {"sqlite": _rig(folder, ""), "postgresql": _rig(folder, address)}
    try:
        results = []
        for threads in THREADS:
            for what, goal, prepare in (("commits", COMMIT_GOAL, _commits), ("look-ups", LOOKUP_GOAL, _lookups)):
                rates: dict[str, list[float]] = {name: [] for name in rigs}
                for _ in range(ROUNDS):
                    for name, rig in rigs.items():
                        rates[name].append(_rate(prepare(rig), threads))
                ours, theirs = (statistics.median(rates[name]) for name in ("postgresql", "sqlite"))
                detail = f"{ours:,.0f}/s on PostgreSQL, {theirs:,.0f}/s on SQLite"
                label = f"{what} by {threads} at a time, PostgreSQL to SQLite"
                results.append(Measurement(label, ours / theirs, "x", goal, "more", detail))
        return results
    finally:
        for rig in rigs.values():
            rig.close()


def _rig(folder: Path, address: str) -> DirectoryRig:
    place = folder / ("postgresql" if address else "sqlite")
    place.mkdir(parents=True)
    if address:
        metadata_engines.address_of.append(lambda _: address)
    try:
        rig = DirectoryRig(place)
    finally:
        metadata_engines.address_of.clear()
    for number in range(FILES):
        rig.write(f"read/{number}.txt", str(number).encode())
    return rig


def _commits(rig: DirectoryRig) -> Callable[[int], None]:
    numbers = itertools.count()

    def one(_: int) -> None:
        number = next(numbers)
        rig.write(f"written/{number % 1000}.txt", f"{time.time_ns()} {number}".encode())

    return one


def _lookups(rig: DirectoryRig) -> Callable[[int], None]:
    def one(number: int) -> None:
        rig.lookup(f"read/{number % FILES}.txt")

    return one


def _rate(operation: Callable[[int], None], threads: int) -> float:
    """Operations a second."""
    started = time.monotonic()

    def work(place: int) -> int:
        count = 0
        while time.monotonic() < started + SECONDS:
            operation(count * threads + place)
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.monotonic() - started)
