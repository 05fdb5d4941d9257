"""Tasks and virtual time: everything that runs in a simulation takes turns here, in an order that its seed decides.

A task is a greenlet that belongs to a process of some machine. Time stands still while tasks run and moves on when all
of them wait. A paused process keeps its place; a killed one is never given a turn again, not even to clean up.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

MAX_SWITCHES = 100_000


class Stuck(Exception):
    """The simulation does not end: no task can run, or tasks run for ever."""


class Process:
    """One life of one program. `when_killed` frees what a dead process would lose to the system."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.alive = True
        self.paused = False
        self.held: list[Task] = []
        self.when_killed: list[Callable[[], None]] = []
        self.facts: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Process({self.machine}, {'alive' if self.alive else 'dead'})"


class Task:
    """One thread of a process."""

    __slots__ = ("blocked", "error", "greenlet", "name", "outcome", "process", "result", "thread", "wait")

    def __init__(self, process: Process, name: str) -> None:
        self.process = process
        self.name = name
        self.wait = 0
        self.blocked = False
        self.outcome = True
        self.result: Any = None
        self.error: BaseException | None = None
        self.thread: Any = None
        self.greenlet: Any = None


class Scheduler:
    """`preempt`: how likely a task is to let others go first where it need not wait."""

    def __init__(self, random: Random, preempt: float = 0.0) -> None:
        self.now = 0.0
        self.wall = 1_800_000_000.0
        self.random = random
        self.preempt = preempt
        self.switches = 0
        self.closing = False
        self.current: Task | None = None
        self.world = Process("world")
        self._hub = getcurrent()
        self._ready: list[Task] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._tasks: dict[int, Task] = {}
        self._hash = blake2b(digest_size=16)
        self.story: list[str] | None = None

    # ------------------------------------------------------------ what happened

    def note(self, text: str) -> None:
        """Record an event in the run's fingerprint, which is equal for equal seeds."""
        line = f"{self.now:.6f} {text}"
        self._hash.update(line.encode())
        if self.story is not None:
            self.story.append(line)

    @property
    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    # ------------------------------------------------------------ tasks

    def spawn(self, process: Process, name: str, call: Callable[[], Any]) -> Task:
        """Add a task of `process`; it begins with its first turn."""
        task = Task(process, name)

        def body() -> None:
            try:
                task.result = call()
            except GreenletExit:
                pass
            except BaseException as error:
                task.error = error
            self._tasks.pop(id(task), None)

        task.greenlet = greenlet(body, parent=self._hub)
        self._tasks[id(task)] = task
        self._ready.append(task)
        return task

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Make `call` at `moment`, outside of any task; it must not wait."""
        heapq.heappush(self._timers, (moment, next(self._sequence), call))

    def block(self, deadline: float | None = None) -> bool:
        """Wait until this task is woken; False when `deadline` came first."""
        task = self.current
        if self.closing:
            raise GreenletExit
        if task is None:
            raise Stuck("only a task can wait")
        task.wait += 1
        task.blocked = True
        if deadline is not None:
            wait = task.wait
            # A wait shorter than the clock can tell would never end: no other time passes here.
            self.at(max(deadline, self.now + 1e-6), lambda: self._time_out(task, wait))
        self._hub.switch()
        if self.closing:
            raise GreenletExit
        return task.outcome

    def _time_out(self, task: Task, wait: int) -> None:
        if task.blocked and task.wait == wait:
            task.blocked, task.outcome = False, False
            self._ready.append(task)

    def wake(self, task: Task) -> bool:
        """Wake a waiting task; False when it does not wait."""
        if not task.blocked or not task.process.alive:
            return False
        task.blocked, task.outcome = False, True
        self._ready.append(task)
        return True

    def sleep(self, seconds: float) -> None:
        self.block(self.now + max(0.0, seconds))

    def maybe_yield(self) -> None:
        """Let other tasks go first, where a real thread could be interrupted."""
        if self.preempt and self.current is not None and not self.closing and self.random.random() < self.preempt:
            self._ready.append(self.current)
            self._hub.switch()
            if self.closing:
                raise GreenletExit

    # ------------------------------------------------------------ processes

    def kill(self, process: Process) -> None:
        """Kill a process at once."""
        if not process.alive:
            return
        process.alive = False
        process.held.clear()
        for call in process.when_killed:
            call()

    def die(self, process: Process) -> None:
        """Kill the running task's process; does not return."""
        self.kill(process)
        self._hub.switch()
        raise GreenletExit

    def pause(self, process: Process) -> None:
        process.paused = True

    def resume(self, process: Process) -> None:
        process.paused = False
        if process.alive:
            self._ready.extend(process.held)
        process.held.clear()

    # ------------------------------------------------------------ the turns

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Run tasks until `until()`; Stuck when virtual time would pass `limit`."""
        while not until():
            if self._ready:
                self._turn()
                continue
            if not self._timers:
                raise Stuck("every task waits for ever")
            moment, _, call = heapq.heappop(self._timers)
            if moment > limit:
                raise Stuck(f"not done after {limit:.0f} virtual seconds")
            self.wall += moment - self.now
            self.now = moment
            call()

    def _turn(self) -> None:
        index = self.random.randrange(len(self._ready)) if len(self._ready) > 1 else 0
        self._ready[index], self._ready[-1] = self._ready[-1], self._ready[index]
        task = self._ready.pop()
        process = task.process
        if not process.alive:
            return
        if process.paused:
            process.held.append(task)
            return
        self.switches += 1
        if self.switches > MAX_SWITCHES:
            raise Stuck(f"more than {MAX_SWITCHES} turns")
        self.current = task
        try:
            task.greenlet.switch()
        finally:
            self.current = None

    def close(self) -> None:
        """End every remaining task."""
        self.closing = True
        for _ in range(100):
            left = list(self._tasks.values())
            if not left:
                return
            for task in left:
                if not task.greenlet.dead:
                    self.current = task
                    try:
                        if task.greenlet:
                            task.greenlet.throw(GreenletExit)
                    except BaseException:
                        pass
                    self.current = None
                if task.greenlet.dead or not task.greenlet:
                    self._tasks.pop(id(task), None)
