"""A cluster whose programs do not reach one another directly, but through something that a test can break.

What stands between them is a `Place`: it changes each program's command before the start, and what the record keeps
of it, so that a program that was killed comes back in the same place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from local_cluster.kept_program import KeptProgram
from local_cluster.lifecycle import start_programs
from local_cluster.plan import ClusterSettings, ProgramPlan, plan_programs
from local_cluster.records import save_settings
from tests.cluster.cluster_harness import ClusterHarness
from tests.cluster.relay import Healing, Relay

__all__ = ["PlacedCluster", "PlacedPlan", "RelayPlace", "name_of", "with_option"]


def name_of(program: Any) -> str:
    """What a program is called in cuts: "directory_server-1", "file_server-2", "client_proxy-1"."""
    return f"{program.program}-{program.id}"


@dataclass(frozen=True)
class PlacedPlan(ProgramPlan):
    """A program that tests reach at `own_url`."""

    own_url: str = ""

    @property
    def url(self) -> str:
        return self.own_url or super().url


class Place(Protocol):
    """Where the programs run, and what can be lost between them."""

    def placed(self, plan: ProgramPlan) -> ProgramPlan:
        """The program with whatever makes it run here."""
        ...

    def cut(self, sender: str, receiver: str, *, refuse: bool = False) -> None:
        """Lose what `sender` says to `receiver`. With `refuse`, quickly where the place knows how."""
        ...

    def heal(self, healing: Healing = "late") -> None: ...


class PlacedCluster(ClusterHarness):
    """A cluster in a `Place`. `variables` are environment variables by program name, kept over restarts."""

    def __init__(
        self, tmp_path: Path, place: Place, *, variables: Mapping[str, Mapping[str, str]] | None = None, **options: Any
    ) -> None:
        self.place = place
        self.variables = variables or {}
        super().__init__(tmp_path, **options)

    def start_all(self, **counts: int) -> None:
        """Start every program in its place, and wait until all are healthy."""
        self._counts |= counts
        settings = ClusterSettings(base_port=self.ports.base, **self._counts)
        self.folder.data.mkdir(parents=True, exist_ok=True)
        save_settings(self.folder, settings)
        plans = [self._placed(plan) for plan in plan_programs(settings, self.folder)]
        programs = [KeptProgram(plan, self.folder) for plan in plans]
        sick = start_programs(programs, self.folder, _Silent(), wait_seconds=self.wait_seconds, env=self.env)
        self._children += [one.process for one in programs if one.started_here]
        assert not sick, sick

    def _placed(self, plan: ProgramPlan) -> ProgramPlan:
        placed = self.place.placed(plan)
        words = [f"{name}={value}" for name, value in self.variables.get(name_of(plan), {}).items()]
        return replace(placed, command=("/usr/bin/env", *words, *placed.command)) if words else placed

    def process_ids(self) -> dict[str, int]:
        """The process id of every program by its name in cuts."""
        return {name_of(record): record.pid for record in self.programs}


class _Silent:
    def healthy(self, name: str) -> None:
        pass

    def sick(self, name: str, fault: str) -> None:
        pass

    def tick(self, faults: dict[str, str]) -> None:
        pass


def with_option(command: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    """`command` with `option` set to `value`, in its place or at the end."""
    words = list(command)
    if option in words:
        words[words.index(option) + 1] = value
        return tuple(words)
    return (*words, option, value)


class RelayPlace:
    """All programs on this machine, with a relay in front of the directory and of every file server."""

    def __init__(self) -> None:
        self.relay = Relay(self._processes)
        self.cluster: PlacedCluster | None = None
        self._urls: dict[str, str] = {}

    @classmethod
    @contextlib.contextmanager
    def start(cls, tmp_path: Path, **options: Any) -> Iterator[PlacedCluster]:
        """A cluster behind a relay, with the options of PlacedCluster."""
        with ExitStack() as stack:
            place = cls()
            stack.enter_context(place.relay)
            place.cluster = cluster = PlacedCluster(tmp_path, place, start_now=False, **options)
            stack.enter_context(cluster)
            cluster.start_all()
            yield cluster

    def placed(self, plan: ProgramPlan) -> ProgramPlan:
        """Everyone calls the directory through the relay; file servers tell the relay's address as theirs."""
        command = plan.command
        if plan.program != "client_proxy":
            own = self._url(name_of(plan), plan.url)
            command = with_option(command, "--advertise", own)
        if plan.program != "directory_server":
            directory = command[command.index("--directory") + 1]
            command = with_option(command, "--directory", self._url("directory_server-1", directory))
        return replace(plan, command=command)

    def cut(self, sender: str, receiver: str, *, refuse: bool = False) -> None:
        self.relay.cut(sender, receiver, refuse=refuse)

    def heal(self, healing: Healing = "late") -> None:
        self.relay.heal(healing)

    def _url(self, name: str, target: str) -> str:
        if name not in self._urls:
            address = urlsplit(target)
            port = self.relay.listen(name, address.hostname or "", address.port or 0)
            self._urls[name] = f"https://127.0.0.1:{port}"
        return self._urls[name]

    def _processes(self) -> dict[str, int]:
        return self.cluster.process_ids() if self.cluster is not None else {}
