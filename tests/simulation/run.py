"""Runs one seed from beginning to end: build, start, people and faults, heal, judge."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from client_proxy.core.chunk_upload import SMALL_CHUNKS
from directory_server.metadata.migrate import bring_up_to_date
from directory_server.metrics import DirectoryMetrics
from directory_server.people.passwords import NOBODY
from lockstep_store.runtime.storage.sealing import KeyRing
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.chunk_stream import stream_length
from lockstep_store.wire.messages.read_leases import TERM_SECONDS
from tests.linearizability import Operation
from tests.simulation import checks, faults
from tests.simulation.clients import Crowd
from tests.simulation.hung_servers import watched_choose
from tests.simulation.network import Conditions
from tests.simulation.nodes import World, disk_now, make_template
from tests.simulation.scheduler import Scheduler, Stuck
from tests.simulation.take_over import taken_over
from tests.simulation.threads import going_on

MEMORY_FOLDER = Path("/dev/shm")

SMALLER = {
    # Sizes in the thousands instead of millions, so that small bodies take every way that large ones take.
    "INLINE_BYTES": 4 * 1024,
    "MAX_SMALL_STREAM_BYTES": 4 * 1024,
    "HOLD_BYTES": 24 * 1024,
    "MIN_CHUNK_BYTES": 2 * 1024,
    "AVERAGE_CHUNK_BYTES": 4 * 1024,
    "MAX_CHUNK_BYTES": 16 * 1024,
}


@dataclass
class Profile:
    """The choices that a seed makes before anything runs."""

    seed: int
    servers: int
    proxies: int
    people: int
    operations: int
    paths: int
    preempt: float
    conditions: Conditions
    faults: int
    kinds: tuple[str, ...] = ()
    """The faults to choose from; empty: all."""
    linger: float = 0.0
    """Seconds between the last operation and the judgement, in which collectors are at work."""
    ticket_seconds: float = 60.0
    suspect_seconds: float = 3.0

    @classmethod
    def of(cls, seed: int, **changes: Any) -> Profile:
        """Return the choices of `seed`, with `changes`."""
        random = Random(f"profile {seed}")
        made = cls(
            seed=seed,
            servers=random.choice([2, 3, 3, 4]),
            proxies=random.choice([1, 2, 2]),
            people=random.choice([2, 3, 4]),
            operations=random.choice([8, 14, 20]),
            paths=random.choice([1, 2, 3]),
            preempt=random.choice([0.0, 0.0, 0.02, 0.1]),
            conditions=Conditions(
                random.choice([0.0005, 0.002, 0.02]), random.choice([0, 0, 0.02]), random.choice([0, 0, 0.02, 0.05])
            ),
            faults=random.choice([0, 2, 4, 7]),
            linger=random.choice([0.0, 0.0, 0.0, 60.0]),
            ticket_seconds=random.choice([8.0, 60.0, 60.0]),
        )
        return replace(made, **changes)


@dataclass
class Report:
    """The result of one seed. `violations` is empty when every promise was kept."""

    seed: int
    fingerprint: str
    violations: list[str]
    operations: int
    answered: int
    switches: int
    virtual_seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    history: list[Operation] = field(default_factory=list, repr=False)


class Laboratory:
    """Simulations in one folder, with the programs taken over meanwhile. Use it in a `with` block."""

    def __init__(self) -> None:
        parent = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="lockstep-simulation-", dir=parent))
        self._stack = contextlib.ExitStack()
        self._template = self._folder / "template"

    def __enter__(self) -> Laboratory:
        self._level = log.level
        log.setLevel(logging.CRITICAL + 1)
        with taken_over({}, _TEMPLATE), going_on(Scheduler(Random(0))) as scheduler:
            task = scheduler.spawn(scheduler.world, "template", self._prepare)
            scheduler.run(lambda: task.greenlet.dead, 1e9)
            scheduler.close()
            if task.error is not None:
                raise task.error
        self._stack.enter_context(taken_over(SMALLER, _STAND_INS))
        return self

    def _prepare(self) -> None:
        """With keys of the seeded randomness: what they encrypt is in the directory's records, which are compressed."""
        self._keys = KeyRing.load_or_create(self._folder / "keys.json")
        make_template(self._template)

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        log.setLevel(self._level)
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, seed: int, story: bool = False, **changes: Any) -> Report:
        """Simulate one seed; `changes` override its choices (see Profile)."""
        profile = Profile.of(seed, **changes)
        scheduler = Scheduler(Random(seed), profile.preempt)
        scheduler.story = [] if story else None
        folder = self._folder / f"seed-{seed}"
        folder.mkdir()
        handler = _StoryTeller(scheduler)
        if story:
            log.handlers.append(handler)
            log.setLevel(logging.INFO)
        try:
            with going_on(scheduler):
                return self._run(profile, scheduler, folder)
        finally:
            if story:
                log.handlers.remove(handler)
                log.setLevel(logging.CRITICAL + 1)
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, profile: Profile, scheduler: Scheduler, folder: Path) -> Report:
        world = World(
            folder, self._template, self._keys, scheduler, profile.conditions, profile.servers, profile.proxies
        )
        world.ticket_seconds, world.suspect_seconds = profile.ticket_seconds, profile.suspect_seconds
        crowd = Crowd(world, profile)
        violations: list[str] = []

        def play() -> None:
            for machine in world.machines:
                world.start(machine)
            faults.wait_until_up(world)
            people = crowd.begin()
            faults.play(world, profile, people)
            faults.heal(world)
            scheduler.sleep(profile.linger)
            violations.extend(checks.settled(world, crowd))

        task = scheduler.spawn(scheduler.world, "play", play)
        try:
            scheduler.run(lambda: task.greenlet.dead, 3600.0)
            if task.error is not None:
                raise task.error
        except Stuck as error:
            violations.append(f"stuck: {error}")
        finally:
            for machine in world.machines:
                if machine.process is not None:
                    scheduler.kill(machine.process)
            scheduler.close()
        violations.extend(world.network.hung.violations)
        violations.extend(checks.of_history(crowd))
        violations.extend(checks.of_metadata(folder, crowd))
        return Report(
            profile.seed,
            scheduler.fingerprint,
            violations,
            len(crowd.history),
            crowd.answered,
            scheduler.switches,
            scheduler.now,
            crowd.counts(),
            [*(scheduler.story or []), *map(str, sorted(crowd.history, key=lambda operation: operation.called))]
            if scheduler.story is not None
            else [],
            crowd.history,
        )


class _StoryTeller(logging.Handler):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def emit(self, record: logging.LogRecord) -> None:
        current = self._scheduler.current
        where = current.process.machine if current is not None else "-"
        assert self._scheduler.story is not None
        self._scheduler.story.append(f"{self._scheduler.now:.6f}   [{where}] {record.getMessage()}")
        if record.exc_info and record.exc_info[1] is not None:
            self._scheduler.story.append(f"{' ' * 12}{record.exc_info[1]!r}")


class _UnshownFigures(DirectoryMetrics):
    """The directory's gauges are this process's: they would ask a directory of a simulation that is over."""

    def _show_gauges(self) -> None:
        """Leave them as they are."""


_UNSHOWN: dict[str, Any] = {"directory_server.api.router.DirectoryMetrics": _UnshownFigures}
_TEMPLATE: dict[str, Any] = {
    **_UNSHOWN,
    # As in a process without `cheap_setup`, whose copied metadata takes another amount of the seeded randomness.
    "directory_server.metadata.engines.sqlite.store.bring_up_to_date": bring_up_to_date,
    # Nobody logs in with a password.
    "directory_server.people.administrator.PasswordHash": SimpleNamespace(of=lambda _password: NOBODY),
}
_STAND_INS: dict[str, Any] = {
    **_UNSHOWN,
    "file_server.writes.stream_write_handler.SMALL_BYTES": 8 * 1024,
    "directory_server.files.writes.choose": watched_choose,
    "client_proxy.core.chunk_upload.SMALL_BYTES": 4 * 1024 - stream_length([0] * SMALL_CHUNKS),
    "file_server.store.local.chunk_store.Disk": disk_now,
    "directory_server.metadata.engines.sqlite.store.bring_up_to_date": lambda _path: None,
    "directory_server.read_leases.lasting.TERM_SECONDS": TERM_SECONDS,  # also where `cheap_setup` shortens it
}


@contextlib.contextmanager
def laboratory() -> Iterator[Laboratory]:
    """Make a laboratory and clean it up afterwards."""
    with Laboratory() as made:
        yield made
