"""Runs every step in every program's folder, in turns, and compares Lockstep's results with the others'."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import requests

from benchmarks.cluster import BenchmarkCluster
from benchmarks.measurements import Measurement
from benchmarks.mounts import steps
from benchmarks.mounts.outage import write_through_an_outage
from benchmarks.mounts.programs import PROGRAMS, MountProgram
from benchmarks.mounts.steps import CUT_SECONDS, Cut, Took, Workplace
from benchmarks.peers.peer import PeerUnavailable

OURS = "Lockstep"
SEEDS = 1000


class Goal(NamedTuple):
    """An upper bound of Lockstep's time until the program returned, or all was stored.

    It is `limit` times that of `rival`, or `limit` seconds if there is no rival.
    """

    limit: float
    rival: str = ""
    stored: bool = False


class MountStep(NamedTuple):
    """What is measured under which name, and its goals."""

    name: str
    do: Callable[[Workplace], Took]
    goals: tuple[Goal, ...]


def the_steps(cluster: BenchmarkCluster) -> list[MountStep]:
    """In the order in which they are done: later ones use what earlier ones have written."""
    return [
        MountStep("mount: untar 2,000 files", steps.untar, (Goal(0.33, "JuiceFS", stored=True),)),
        MountStep("mount: git init, add, status", steps.git_add, (Goal(0.37, "JuiceFS"),)),
        MountStep("mount: git status again", steps.git_status, (Goal(1.0, "JuiceFS"),)),
        MountStep("mount: write 256 MiB, fsync", steps.write_large, (Goal(0.55, "JuiceFS", stored=True),)),
        MountStep("mount: read 256 MiB, cold", steps.read_cold, (Goal(0.85, "JuiceFS"),)),
        MountStep("mount: read 256 MiB again", steps.read_again, (Goal(0.5),)),
        MountStep("mount: 200 random reads of 4 KiB", steps.read_randomly, (Goal(1.0, "JuiceFS"),)),
        MountStep(
            "mount: change 1 byte of 256 MiB",
            steps.edit_one_byte,
            (Goal(0.08, "rclone", stored=True), Goal(0.25, "s3fs", stored=True)),
        ),
        MountStep("mount: lock a file twice", steps.locks, (Goal(0.0),)),
        MountStep("mount: another mount sees a change", steps.see_a_change, (Goal(0.1),)),
        MountStep("mount: save by rename, fsync", steps.save_by_rename, (Goal(0.017),)),
        MountStep("mount: rename a folder of 100", steps.rename_folder, (Goal(0.05),)),
        MountStep("mount: proxy away for 7 s", partial(write_through_an_outage, cluster), (Goal(2.0),)),
    ]


class Best(NamedTuple):
    """The best of a program's rounds, or why there is none."""

    took: Took | None
    failure: str = ""

    def seconds(self, *, stored: bool) -> float | None:
        if self.took is None:
            return None
        return self.took.stored if stored and self.took.stored is not None else self.took.returned

    def __str__(self) -> str:
        if self.took is None:
            return self.failure
        later = self.took.stored is not None and self.took.stored > self.took.returned * 1.1 + 0.1
        parts = [
            f"{self.took.returned:.3g} {self.took.unit}",
            *([f"stored after {self.took.stored:.3g} s"] if later else []),
        ]
        return ", ".join([*parts, *([self.took.note] if self.took.note else [])])


def measure(cluster: BenchmarkCluster, folder: Path, rounds: int) -> Iterator[Measurement]:
    """One measurement for each goal whose rival takes part. Its detail has the results of all."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        names: list[str] = []
        absent: dict[str, str] = {}
        taking_part: list[tuple[MountProgram, Path, Path]] = []
        for kind in PROGRAMS:
            names.append(kind.name)
            try:
                taking_part.append(_mounted(kind, cluster, folder, stack))
            except PeerUnavailable as error:
                absent[kind.name] = f"absent: {error}"
                click.echo(f"  {kind.name} is absent: {error}", err=True)
        found = _rounds(cluster, folder, taking_part, rounds)
        for step in the_steps(cluster):
            outcomes = {name: Best(None, absent[name]) if name in absent else found[step.name, name] for name in names}
            yield from compared(step, outcomes)


def _mounted(
    kind: type[MountProgram], cluster: BenchmarkCluster, folder: Path, stack: ExitStack
) -> tuple[MountProgram, Path, Path]:
    program = kind(cluster, folder / kind.name, lambda text: click.echo(f"  {text}", err=True))
    stack.callback(program.stop)
    program.prepare()
    return program, program.mount("first"), program.mount("second")


def _rounds(
    cluster: BenchmarkCluster, folder: Path, taking_part: Sequence[tuple[MountProgram, Path, Path]], rounds: int
) -> dict[tuple[str, str], Best]:
    """Each step's best outcome by step and program. Every second round goes through the programs backwards."""
    best: dict[tuple[str, str], Best] = {}
    for turn in range(rounds):
        places = [
            _workplace(cluster, folder / f"material-{turn}-{one.name}", one, first, second, turn * SEEDS + number)
            for number, (one, first, second) in enumerate(taking_part)
        ]
        for step in the_steps(cluster):
            for place in places if turn % 2 == 0 else reversed(places):
                outcome, name = _outcome(step, place), place.program.name
                click.echo(f"  {step.name}: {name} {outcome}", err=True)
                before = best.get((step.name, name))
                best[step.name, name] = outcome if before is None else min(before, outcome, key=_rank)
        for place in places:
            shutil.rmtree(place.material)
    return best


def _workplace(
    cluster: BenchmarkCluster, material: Path, program: MountProgram, first: Path, second: Path, seed: int
) -> Workplace:
    material.mkdir()
    steps.make_material(material, seed)
    name = f"round-{seed}"
    (first / name).mkdir()
    (second / name).mkdir(exist_ok=True)  # rclone's folders are in the cluster when they have a file
    return Workplace(
        program,
        first / name,
        second / name,
        material,
        partial(_objects, cluster, program.bucket),
        partial(cluster.metric, "client_proxy", "lockstep_client_proxy_received_bytes_total"),
    )


def _outcome(step: MountStep, place: Workplace) -> Best:
    try:
        return Best(step.do(place))
    except (Cut, OSError, RuntimeError) as error:
        return Best(None, f"failed: {error}" if not isinstance(error, Cut) else str(error))


def _rank(outcome: Best) -> float:
    seconds = outcome.seconds(stored=True)
    return float("inf") if seconds is None else seconds


def compared(step: MountStep, outcomes: dict[str, Best]) -> Iterator[Measurement]:
    """A measurement for each of the step's goals, but for those whose rival has no time."""
    detail = "; ".join(f"{name} {outcome}" for name, outcome in outcomes.items())
    for goal in step.goals:
        took = outcomes[OURS].took
        ours = outcomes[OURS].seconds(stored=goal.stored)
        if took is None or ours is None:
            ours, unit = CUT_SECONDS, "s, because it failed"
        else:
            unit = took.unit
        if not goal.rival:
            yield Measurement(step.name, ours, unit, goal.limit, "less", detail)
            continue
        theirs = outcomes[goal.rival].seconds(stored=goal.stored)
        if theirs is not None:
            yield Measurement(step.name, ours / theirs, f"of {goal.rival}", goal.limit, "less", detail)
        else:
            click.echo(f"  {step.name} has no ratio: {goal.rival} {outcomes[goal.rival]}", err=True)


def _objects(cluster: BenchmarkCluster, bucket: str) -> int:
    """The number of objects in a bucket."""
    proxy, count, cursor = cluster.proxies[1], 0, ""
    while True:
        reply = requests.get(
            f"{proxy.url}/api/v1/files/{bucket}",
            params={"limit": "1000"} | ({"cursor": cursor} if cursor else {}),
            headers=proxy.headers,
            verify=str(proxy.ca_file),
            timeout=60,
        )
        reply.raise_for_status()
        page = reply.json()
        count += len(page["files"])
        if page["next_after"] is None:
            return count
        cursor = page["next_after"]
