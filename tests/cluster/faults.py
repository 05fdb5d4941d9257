"""Faults for a running cluster, made from a seed: kills, pauses, partitions of ordered pairs of roles, clock steps.

A `Fault` is done and undone by the schedule, which lets traffic flow before, during and after it and says how much.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from local_cluster.plan import Program
from local_cluster.records import RunRecord
from tests.cluster.history import Traffic
from tests.cluster.placed_cluster import PlacedCluster, name_of
from tests.cluster.wall_clocks import HOUR, WallClocks

ROLES: tuple[Program, ...] = ("directory_server", "file_server", "client_proxy")
ORDERED_PAIRS = [
    (sender, receiver)
    for sender in ROLES
    for receiver in ROLES
    if sender != receiver or sender == "file_server"  # directories and proxies never talk to their like
]
SHORT, LONG = (0.3, 0.9), (2.2, 3.5)
"""Seconds: shorter than every lease and time-out, and longer than the leases and a file server's way to `down`."""
STEPS = 10


@dataclass(frozen=True)
class Fault:
    """`kind` for the figures, `text` for people; `begin` does it, `end` undoes it."""

    kind: str
    text: str
    seconds: float
    begin: Callable[[], object]
    end: Callable[[], object]


class FaultMaker:
    """Makes faults for one cluster. `clocks` may be None where wall clocks cannot be set."""

    def __init__(self, cluster: PlacedCluster, rng: random.Random, clocks: WallClocks | None = None) -> None:
        self.cluster, self.rng, self.clocks = cluster, rng, clocks

    def any(self) -> Fault:
        """One by chance."""
        kinds = [self.kill, self.pause, self.partition, self.partition]
        return self.rng.choice([*kinds, self.step] if self.clocks else kinds)()

    def kill(self, program: Program | None = None) -> Fault:
        """SIGKILL, and after a while a new start with the same disk."""
        record = self._one(program)
        seconds = self._seconds()

        def begin() -> None:
            self.cluster.kill(record.program, record.id)

        def end() -> None:
            self.cluster.start(record.program, record.id, wait=False)

        return Fault("kill", f"kill -9 {record.name} for {seconds:.1f} s", seconds, begin, end)

    def pause(self, program: Program | None = None, *, long: bool | None = None) -> Fault:
        """SIGSTOP and SIGCONT: the program finds its calls and clocks later than it thinks."""
        record = self._one(program)
        seconds = self._seconds(long)
        return Fault(
            f"pause {'long' if seconds >= LONG[0] else 'short'}",
            f"pause {record.name} for {seconds:.1f} s",
            seconds,
            lambda: self.cluster.pause(record.program, record.id),
            lambda: self.cluster.resume(record.program, record.id),
        )

    def partition(self, pair: tuple[Program, Program] | None = None, *, both_ways: bool | None = None) -> Fault:
        """What one or all programs of a role say to those of another is lost, or late."""
        sender, receiver = pair or self.rng.choice(ORDERED_PAIRS)
        both = self.rng.random() < 0.5 if both_ways is None else both_ways
        refuse = self.rng.random() < 0.3
        healing = self.rng.choice(("late", "late", "never"))
        seconds = self._seconds(long=self.rng.random() < 0.7)
        senders = self._some(self._names(sender))
        receivers = self._some([name for name in self._names(receiver) if name not in senders] or senders)
        cuts = {(one, other) for one in senders for other in receivers if one != other}
        cuts |= {(other, one) for one, other in cuts} if both else set()

        def begin() -> None:
            for one, other in sorted(cuts):
                self.cluster.place.cut(one, other, refuse=refuse)

        arrow = "<->" if both else "->"
        how = f"{'refused' if refuse else 'silent'}, then {healing}"
        return Fault(
            f"{sender} {arrow} {receiver}",
            f"cut {'+'.join(senders)} {arrow} {'+'.join(receivers)} for {seconds:.1f} s ({how})",
            seconds,
            begin,
            lambda: self.cluster.place.heal(healing),
        )

    def step(self, program: Program | None = None) -> Fault:
        """A wall clock is set an hour forward or back, then to the true time: two steps."""
        clocks = self.clocks
        assert clocks is not None
        name = name_of(self._one(program))
        seconds = self.rng.choice((-HOUR, HOUR))
        return Fault(
            "clock step",
            f"set the wall clock of {name} by {seconds:+d} s",
            self._seconds(),
            lambda: clocks.step(name, seconds),
            lambda: clocks.step(name, 0),
        )

    def _seconds(self, long: bool | None = None) -> float:
        chosen = self.rng.random() < 0.5 if long is None else long
        return self.rng.uniform(*(LONG if chosen else SHORT))

    def _all(self, program: Program) -> list[RunRecord]:
        return [record for record in self.cluster.programs if record.program == program]

    def _one(self, program: Program | None) -> RunRecord:
        return self.rng.choice(self._all(program or self.rng.choice(ROLES)))

    def _names(self, program: Program) -> list[str]:
        return [name_of(record) for record in self._all(program)]

    def _some(self, names: list[str]) -> list[str]:
        return names if self.rng.random() < 0.3 else [self.rng.choice(names)]


@dataclass
class Flow:
    """What passed around the faults of one history."""

    kinds: Counter[str]
    texts: list[str]
    done_around: list[int]


def run_schedule(
    traffic: Traffic, faults: Sequence[Callable[[], Fault]], *, operations: int, at_least: int = 12
) -> Flow:
    """At least `operations` operations, half of them between the faults and half during them.

    Every fault is made just before it happens. Before the first and after every one, `at_least` operations have to
    succeed, or the test fails: a history without traffic proves nothing.
    """
    share = -(-operations // (2 * len(faults) + 1))
    flow = Flow(Counter(), [], [traffic.calm(share, at_least)])
    for make in faults:
        fault = make()
        fault.begin()
        try:
            for step in range(STEPS):
                traffic.allow(share * (step + 1) // STEPS - share * step // STEPS)
                time.sleep(fault.seconds / STEPS)
        finally:
            fault.end()
        flow.kinds[fault.kind] += 1
        flow.texts.append(fault.text)
        flow.done_around.append(traffic.calm(share, at_least))
    return flow
