"""The faults of a simulation and their times, all decided by the seed.

A fault takes its time and then ends by itself; several may overlap. Whatever is left is ended by `heal`, because the
promises that are judged at the end are those of a cluster that is well again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from lockstep_store.wire.errors import Conflict, Unavailable
from lockstep_store.wire.messages.cluster import BALANCE, DRAIN_SERVER, BalanceRequest, DrainRequest
from tests.simulation.disk import BROKEN, FULL
from tests.simulation.network import SILENT_SECONDS, Machine
from tests.simulation.nodes import Accepted, World
from tests.simulation.scheduler import Stuck, Task

if TYPE_CHECKING:
    from tests.simulation.run import Profile

HORIZON_SECONDS = 14.0
START_SECONDS = 120.0
RESTART_SECONDS = 2.0
"""Between two starts of a program that does not stay: 600 in vain cost as much as 20 whole runs, and show no more."""
END_SECONDS = 900.0
KINDS = (
    "crash", "crash_inside", "crash_inside", "power", "all_power", "pause", "pause", "cut", "cut", "isolate",
    "step_clock", "break_disk", "rot", "directory_crash", "wipe", "drain", "drain", "balance",
    "astray",
)  # fmt: skip
FORGETFUL_KINDS = (
    "older_metadata", "empty_metadata", "older_disk", "older_metadata", "empty_metadata", "older_disk",
    "crash", "directory_crash", "pause", "power",
)  # fmt: skip
"""Programs that come back with less than they had. Not among `KINDS`, whose seeds are known."""
ACCEPTING_KINDS = ("accept_older", "accept_older", "accept_oldest", *FORGETFUL_KINDS)
"""Older metadata that is refused, and then accepted by an administrator: the directory goes on from it."""
NOTICE_SECONDS = 8.0
"""Shorter than a directory waits for silent file servers: after that it goes on, whatever it has."""
FRAGILE = 0
"""The one file server whose disk rots or is lost: two bad disks at once would be nobody's fault."""


def forgetful(seed: int) -> dict[str, Any]:
    """The choices of a seed whose programs forget."""
    kinds = ACCEPTING_KINDS if seed % 2 else FORGETFUL_KINDS
    return {"kinds": kinds, "faults": 4, "servers": 3, "operations": 14}


def wait_until_up(world: World) -> None:
    """Wait until every program serves and every file server is up."""
    deadline = world.scheduler.now + START_SECONDS
    again: dict[str, float] = {}
    while not _all_up(world):
        if world.scheduler.now > deadline:
            raise Stuck("the cluster does not come up")
        for machine in world.machines:
            is_down = machine.process is None or not machine.process.alive
            if is_down and world.scheduler.now >= again.get(machine.name, 0.0):
                world.start(machine)
                again[machine.name] = world.scheduler.now + RESTART_SECONDS
        world.scheduler.sleep(0.2)


def _all_up(world: World) -> bool:
    if not all(machine.serving for machine in world.machines):
        return False
    assert world.directory.process is not None
    infos = world.directory.process.facts["server"].membership.infos()
    # An order to drain that was long on its way may have come after the one to stay.
    return sum(info.state in ("up", "draining") for info in infos) == len(world.servers)


def play(world: World, profile: Profile, people: list[Task]) -> None:
    """Let faults happen while `people` are busy; returns when everyone is done."""
    random = Random(f"faults {profile.seed}")
    plan = sorted((random.random() * HORIZON_SECONDS, random.randrange(1 << 30)) for _ in range(profile.faults))
    tasks = []
    for moment, own in plan:
        world.scheduler.sleep(moment - world.scheduler.now)
        tasks.append(
            world.scheduler.spawn(world.scheduler.world, "fault", _Fault(world, Random(own), profile.kinds).happen)
        )
    deadline = world.scheduler.now + END_SECONDS
    while not all(task.greenlet.dead for task in [*people, *tasks]):
        if world.scheduler.now > deadline:
            raise Stuck("people or faults do not come to an end")
        world.scheduler.sleep(0.5)
    for task in [*people, *tasks]:
        if task.error is not None:
            raise task.error


def heal(world: World) -> None:
    """End every fault and start every program."""
    world.scheduler.note("everything heals")
    world.network.conditions.lost_requests = world.network.conditions.lost_answers = 0.0
    world.network.heal()
    for disk in world.disks.values():
        disk.broken.clear()
    for machine in world.machines:
        if machine.process is not None:
            machine.process.facts.pop("crash_in", None)
            world.scheduler.resume(machine.process)
    wait_until_up(world)


class _Fault:
    def __init__(self, world: World, random: Random, kinds: tuple[str, ...] = ()) -> None:
        self._kinds = kinds
        self._world = world
        self._scheduler = world.scheduler
        self._random = random

    def happen(self) -> None:
        kind: Callable[[], None] = getattr(self, f"_{self._random.choice(self._kinds or KINDS)}")
        kind()

    def _some(self) -> Machine:
        return self._random.choice(self._world.machines)

    def _wait(self, longest: float) -> None:
        self._scheduler.sleep(0.05 + self._random.random() ** 2 * longest)

    def _crash(self) -> None:
        machine = self._some()
        self._world.kill(machine)
        self._wait(8.0)
        self._world.start(machine)

    def _directory_crash(self) -> None:
        self._world.kill(self._world.directory)
        self._wait(3.0)
        self._world.start(self._world.directory)

    def _crash_inside(self) -> None:
        """Kill a program at a crash point."""
        machine = self._some()
        process = machine.process
        if process is None:
            return
        process.facts["crash_in"] = self._random.randrange(40)
        for _ in range(40):
            self._scheduler.sleep(0.25)
            if not process.alive:
                break
        process.facts.pop("crash_in", None)
        self._wait(4.0)
        if not process.alive and machine.process is process:
            machine.app = None
            self._world.start(machine)

    def _power(self) -> None:
        machine = self._some()
        self._world.kill(machine, power=True)
        self._wait(8.0)
        self._world.start(machine)

    def _all_power(self) -> None:
        """Cut the power of every machine."""
        for machine in self._world.servers:
            self._world.kill(machine, power=True)
        self._wait(4.0)
        for machine in self._world.servers:
            self._world.start(machine)

    def _pause(self) -> None:
        self._hold(self._some(), lambda: self._wait(15.0))

    def _hang(self) -> None:
        """Pause a file server for twice as long as it takes to be found hung."""
        self._hold(self._random.choice(self._world.servers), lambda: self._scheduler.sleep(2 * SILENT_SECONDS))

    def _hold(self, machine: Machine, wait: Callable[[], None]) -> None:
        process = machine.process
        if process is None:
            return
        self._scheduler.note(f"{machine.name} is paused")
        self._scheduler.pause(process)
        wait()
        self._scheduler.note(f"{machine.name} goes on")
        self._scheduler.resume(process)

    def _cut(self) -> None:
        one, other = self._random.sample(self._world.machines, 2)
        pairs = [(one.name, other.name)]
        if self._random.random() < 0.5:
            pairs.append((other.name, one.name))
        self._cut_for(pairs)

    def _isolate(self) -> None:
        machine = self._some()
        others = [other for other in self._world.machines if other is not machine]
        pairs = [(other.name, machine.name) for other in others]
        if self._random.random() < 0.7:
            pairs += [(machine.name, other.name) for other in others]
        self._cut_for(pairs)

    def _cut_for(self, pairs: list[tuple[str, str]]) -> None:
        self._scheduler.note(f"cut {pairs}")
        for pair in pairs:
            self._world.network.cut(*pair)
        self._wait(12.0)
        self._scheduler.note(f"joined {pairs}")
        self._world.network.heal(pairs)

    def _astray(self) -> None:
        """Cut a proxy off from the directory, which begins anew at once, or with its wall clock set back."""
        proxy, directory = self._random.choice(self._world.proxies), self._world.directory
        pairs = [(proxy.name, directory.name), (directory.name, proxy.name)]
        if self._random.random() < 0.5:
            self._world.kill(directory)
            self._world.start(directory)
        elif proxy.process is not None:
            proxy.process.facts["wall_offset"] -= 3600.0
        self._cut_for(pairs)

    def _step_clock(self) -> None:
        machine = self._some()
        if machine.process is not None:
            machine.process.facts["wall_offset"] += self._random.choice([-3600.0, 3600.0])

    def _break_disk(self) -> None:
        machine = self._random.choice(self._world.servers)
        disk = self._world.disks[machine.name]
        sites = self._random.sample(["write_new", "sync_and_close", "rename", "sync_folder", "space"], 2)
        disk.broken.update(dict.fromkeys(sites, self._random.choice([FULL, BROKEN])))
        self._scheduler.note(f"the disk of {machine.name} fails at {sites}")
        self._wait(6.0)
        disk.broken.clear()

    def _rot(self) -> None:
        """Flip a bit in a stored chunk."""
        machine = self._world.servers[FRAGILE]
        chunks = self._world.folder / machine.name / "chunks"
        files = sorted(file for file in chunks.glob("??/*") if file.is_file()) if chunks.exists() else []
        if files:
            file = self._random.choice(files)
            data = bytearray(file.read_bytes())
            if data:
                data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
                file.write_bytes(data)
                self._scheduler.note(f"a bit flips on {machine.name}")

    def _wipe(self) -> None:
        """Restart a machine with an empty disk, which is filled again."""
        machine = self._world.servers[FRAGILE]
        self._world.kill(machine)
        self._world.empty_disk(machine)
        self._wait(8.0)
        self._world.start(machine)

    def _older_metadata(self) -> None:
        """A snapshot of the directory's folder takes the newest one's place for a while."""
        if self._world.forgetting:
            return  # it would be a snapshot of what another fault has put there
        self._world.kill(self._world.directory)
        snapshot = self._world.save_metadata("snapshot")
        self._world.start(self._world.directory)
        self._wait(8.0)
        self._forget("an older snapshot", snapshot, cut=False)

    def _empty_metadata(self) -> None:
        """The directory begins as a new cluster's: a disk that was not mounted."""
        self._forget("empty metadata", self._world.template)

    def _forget(self, what: str, metadata: Path, *, cut: bool = True) -> None:
        """Run the directory on other metadata until it notices; then on its newest again."""
        world = self._world
        with self._quiet(cut) as is_quiet:
            if not is_quiet:
                return
            world.kill(world.directory)
            newest = world.save_metadata("newest")
            self._run_until_noticed(what, metadata)
            world.put_metadata(newest)
            self._scheduler.note("the directory has its newest metadata again")
            world.start(world.directory)

    @contextmanager
    def _quiet(self, cut: bool = True) -> Iterator[bool]:
        """Wait until file servers know of the directory's start; yields whether they do.

        With `cut`, no proxy reaches the directory meanwhile: metadata of before the first file server waits for none,
        so reads may give what it has.
        """
        world = self._world
        if world.forgetting or not self._within(8.0, world.start_is_known):
            yield False
            return
        # File servers know of a start about two seconds later; what happens before may be forgotten unnoticed.
        self._scheduler.sleep(2.0)
        if world.forgetting or not world.start_is_known():
            yield False
            return
        world.forgetting = True
        pairs = [(proxy.name, world.directory.name) for proxy in world.proxies] if cut else []
        for pair in pairs:
            world.network.cut(*pair)
        if cut:
            self._scheduler.sleep(1.0)  # what is on its way arrives
        try:
            yield True
        finally:
            world.network.heal(pairs)
            world.forgetting = False

    def _run_until_noticed(self, what: str, metadata: Path) -> bool:
        """Start the directory on other metadata; return whether it refused that. It does not run on return."""
        world = self._world
        world.put_metadata(metadata)
        self._scheduler.note(f"the directory has {what}")
        world.start(world.directory)
        noticed = self._within(NOTICE_SECONDS, world.directory_refuses)
        world.kill(world.directory)
        return noticed

    def _within(self, seconds: float, true: Callable[[], bool]) -> bool:
        """Wait until a condition holds; return whether it did in time."""
        deadline = self._scheduler.now + seconds
        while not true():
            if self._scheduler.now >= deadline:
                return False
            self._scheduler.sleep(0.2)
        return True

    def _accept_older(self) -> None:
        """A snapshot of the directory's folder takes the newest one's place for good."""
        if self._world.forgetting:
            return
        accepted = len(self._world.accepted)
        self._world.kill(self._world.directory)
        snapshot = self._world.save_metadata("snapshot")
        self._world.start(self._world.directory)
        self._wait(8.0)
        self._accept("an older snapshot", snapshot, accepted)

    def _accept_oldest(self) -> None:
        """The oldest metadata there is, of before the first file server, takes the newest one's place for good."""
        self._accept("its oldest metadata", self._world.template, 0)

    def _accept(self, what: str, metadata: Path, accepted: int) -> None:
        """Run the directory on older metadata until it notices, accept that, and go on from it.

        The newest is lost when a file server whose disk is safe has every record of it: so nothing may be missing. But
        records do not continue metadata of before an earlier acceptance: `accepted` is the count of then.
        """
        world = self._world
        with self._quiet() as is_quiet:
            if not is_quiet or not self._within(8.0, world.redo_is_kept) or len(world.accepted) != accepted:
                return
            lost_at = self._scheduler.now
            newest = world.newest_change()
            world.kill(world.directory)
            noticed = self._run_until_noticed(what, metadata)
            world.accept_older()
            world.accepted.append(Accepted(lost_at, self._scheduler.now, newest, noticed))
            self._scheduler.note(f"the directory goes on from {what}")
            world.start(world.directory)

    def _older_disk(self) -> None:
        """A file server comes back with its disk of some seconds ago."""
        machine = self._world.servers[FRAGILE]
        self._world.kill(machine)
        self._world.save_disk(machine)
        self._world.start(machine)
        self._wait(8.0)
        self._world.kill(machine)
        self._world.put_older_disk(machine)
        self._wait(2.0)
        self._world.start(machine)

    def _drain(self) -> None:
        """Drain a server, then cancel the drain."""
        id = self._random.choice(self._world.servers).name.removeprefix("server-")
        if len(self._world.servers) > self._world.copies:
            self._administrate(lambda key: (DRAIN_SERVER, DrainRequest(key, id)))
            self._wait(10.0)
            while not self._administrate(lambda key: (DRAIN_SERVER, DrainRequest(key, id, stop=True))):
                self._scheduler.sleep(1.0)

    def _balance(self) -> None:
        self._administrate(lambda key: (BALANCE, BalanceRequest(key)))
        self._wait(10.0)
        self._administrate(lambda key: (BALANCE, BalanceRequest(key, stop=True)))

    def _administrate(self, request: Callable[[str], tuple[Any, Any]]) -> bool:
        """Return whether the administrator's request succeeded."""
        call, message = request(self._world.administrator)
        try:
            self._world.ask(self._random.choice(self._world.proxies), lambda _, to: to.call(call, message), 30.0)
        except (Unavailable, Conflict) as error:
            self._scheduler.note(f"{call.path} failed: {error}")
            return False
        self._scheduler.note(f"{call.path} {message}")
        return True
