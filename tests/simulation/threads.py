"""Replacements for `threading` and `time` in virtual time.

Only what the programs use is here; anything else fails loudly as a missing attribute. Each object asks `running()` for
the simulation that is going on, so the stand-ins are put in place once for many runs.
"""

from __future__ import annotations

import time as real_time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from tests.simulation.scheduler import Process, Scheduler, Task

_now: list[Scheduler] = []


def running() -> Scheduler:
    """Return the running simulation's scheduler."""
    return _now[-1]


class going_on:
    """Make `scheduler` the running one inside the block."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def __enter__(self) -> Scheduler:
        _now.append(self._scheduler)
        return self._scheduler

    def __exit__(self, *_: object) -> None:
        _now.pop()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else running().now + max(0.0, timeout)


class _Waiters:
    """Tasks that wait for one thing."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def wait(self, deadline: float | None) -> bool:
        scheduler = running()
        task = scheduler.current
        assert task is not None, "only a task can wait"
        self._tasks.append(task)
        try:
            return scheduler.block(deadline)
        finally:
            if task in self._tasks:
                self._tasks.remove(task)

    def wake_one(self) -> bool:
        scheduler = running()
        while self._tasks:
            index = scheduler.random.randrange(len(self._tasks)) if len(self._tasks) > 1 else 0
            if scheduler.wake(self._tasks.pop(index)):
                return True
        return False

    def wake_all(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            running().wake(task)


class Lock:
    """threading.Lock."""

    def __init__(self) -> None:
        self._taken = False
        self._waiters = _Waiters()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        scheduler = running()
        if not self._taken:
            self._taken = True
            if scheduler.preempt:
                scheduler.maybe_yield()
            return True
        if not blocking:
            return False
        deadline = None if timeout is None or timeout < 0 else scheduler.now + timeout
        while self._taken:
            if not self._waiters.wait(deadline):
                return False
        self._taken = True
        return True

    def release(self) -> None:
        if not self._taken and not running().closing:
            raise RuntimeError("release unlocked lock")
        self._taken = False
        if self._waiters:
            self._waiters.wake_one()

    def locked(self) -> bool:
        return self._taken

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock:
    """threading.RLock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: Task | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        current = running().current
        if self._count and self._owner is current:
            self._count += 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner, self._count = current, 1
        return True

    def release(self) -> None:
        self._count -= 1
        if self._count <= 0:
            self._count, self._owner = 0, None
            self._lock.release()

    def _release_save(self) -> int:
        count, self._count, self._owner = self._count, 0, None
        self._lock.release()
        return count

    def _acquire_restore(self, count: int) -> None:
        self._lock.acquire()
        self._owner, self._count = running().current, count

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    """threading.Condition."""

    def __init__(self, lock: Any = None) -> None:
        self._lock = lock if lock is not None else RLock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        self._waiters = _Waiters()

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)

    def wait(self, timeout: float | None = None) -> bool:
        saved = self._lock._release_save() if isinstance(self._lock, RLock) else self._lock.release()
        try:
            return self._waiters.wait(_deadline(timeout))
        finally:
            if not running().closing:
                if isinstance(self._lock, RLock):
                    self._lock._acquire_restore(saved)
                else:
                    self._lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline = _deadline(timeout)
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - running().now
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        for _ in range(n):
            self._waiters.wake_one()

    def notify_all(self) -> None:
        self._waiters.wake_all()


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._flag = False
        self._waiters = _Waiters()

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        self._flag = True
        self._waiters.wake_all()

    def clear(self) -> None:
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        deadline = _deadline(timeout)
        while not self._flag:
            if not self._waiters.wait(deadline):
                return self._flag
        return True


class Semaphore:
    """threading.Semaphore and BoundedSemaphore."""

    def __init__(self, value: int = 1) -> None:
        self._value = value
        self._waiters = _Waiters()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        deadline = _deadline(timeout)
        while self._value <= 0:
            if not blocking or not self._waiters.wait(deadline):
                return False
        self._value -= 1
        return True

    def release(self, n: int = 1) -> None:
        for _ in range(n):
            self._value += 1
            self._waiters.wake_one()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def process_now() -> Process:
    """Return the process of the running task, which owns new threads and objects."""
    scheduler = running()
    return scheduler.current.process if scheduler.current is not None else scheduler.world


class Thread:
    """threading.Thread, a task of the process that made it."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self.name = name or "thread"
        self.daemon = bool(daemon)
        self.ident: int | None = None
        self._call = lambda: target(*args, **(kwargs or {})) if target is not None else None
        self._done = Event()
        self._started = False
        self._process = process_now()

    def start(self) -> None:
        self._started = True
        task = running().spawn(self._process, self.name, self._run)
        task.thread = self
        self.ident = id(task)

    def _run(self) -> None:
        try:
            self._call()
        finally:
            self._done.set()

    def is_alive(self) -> bool:
        return self._started and not self._done.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._done.wait(timeout)


def current_thread() -> Any:
    """threading.current_thread."""
    task = running().current
    if task is None:
        return SimpleNamespace(name="main", ident=0)
    if task.thread is None:
        task.thread = SimpleNamespace(name=task.name, ident=id(task))
    return task.thread


class Local:
    """threading.local."""

    def __init__(self) -> None:
        object.__setattr__(self, "_of", {})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._of[id(running().current)][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._of.setdefault(id(running().current), {})[name] = value


def monotonic() -> float:
    """time.monotonic: the machine's, which no step of the wall clock moves."""
    return running().now


def clock_gettime(_clock: int) -> float:
    """time.clock_gettime of a clock that never stands still; each process's machine counts a little fast or slow."""
    rate: float = process_now().facts.get("clock_rate", 1.0)
    return running().now * rate


def wall() -> float:
    """time.time, with the steps that this machine's clock was given."""
    offset: float = process_now().facts.get("wall_offset", 0.0)
    return running().wall + offset


def sleep(seconds: float) -> None:
    """time.sleep."""
    running().sleep(seconds)


class _Time:
    monotonic = staticmethod(monotonic)
    perf_counter = staticmethod(monotonic)
    time = staticmethod(wall)
    clock_gettime = staticmethod(clock_gettime)
    sleep = staticmethod(sleep)
    strftime = staticmethod(real_time.strftime)
    gmtime = staticmethod(real_time.gmtime)
    localtime = staticmethod(real_time.gmtime)

    @staticmethod
    def monotonic_ns() -> int:
        return int(running().now * 1e9)

    @staticmethod
    def time_ns() -> int:
        return int(wall() * 1e9)


class _Threading:
    Lock = Lock
    RLock = RLock
    Condition = Condition
    Event = Event
    Semaphore = Semaphore
    BoundedSemaphore = Semaphore
    Thread = Thread
    local = Local
    current_thread = staticmethod(current_thread)
    get_ident = staticmethod(lambda: id(running().current))


time = _Time()
threading = _Threading()
