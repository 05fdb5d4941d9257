"""Takes the programs' threads, clocks and randomness away from the machine, for as long as simulations run.

Every global of the programs' modules, and every default argument in them, that is one of the machine's functions or
modules is replaced by its stand-in; leaving the block puts everything back. Nothing in the programs knows of it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import importlib
import os
import pkgutil
import random
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from lockstep_store.runtime import backoff
from lockstep_store.wire import crash_points
from tests.simulation import futures, threads
from tests.simulation.threads import process_now, running

PROGRAMS = ("lockstep_store", "directory_server", "file_server", "client_proxy")


class _Random:
    """`random`, from the run's seed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(running().random, name)


class _Secrets:
    """`secrets`, from the run's seed: the same ids in every run of it."""

    compare_digest = staticmethod(secrets.compare_digest)

    @staticmethod
    def token_bytes(count: int = 32) -> bytes:
        return running().random.randbytes(count)

    @staticmethod
    def token_hex(count: int = 32) -> str:
        return running().random.randbytes(count).hex()

    @staticmethod
    def token_urlsafe(count: int = 32) -> str:
        return running().random.randbytes(count).hex()

    @staticmethod
    def randbelow(bound: int) -> int:
        return running().random.randrange(bound)

    @staticmethod
    def choice(choices: Any) -> Any:
        return running().random.choice(choices)


class _Os:
    """`os`, with seeded randomness; files that a process has open are closed when it is killed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @staticmethod
    def urandom(count: int) -> bytes:
        return running().random.randbytes(count)

    @staticmethod
    def open(*args: Any, **kwargs: Any) -> int:
        process = process_now()
        descriptor = os.open(*args, **kwargs)
        if "descriptors" not in process.facts:
            process.facts["descriptors"] = {}
            process.when_killed.append(lambda: _close_all(process.facts["descriptors"]))
        process.facts["descriptors"][descriptor] = None
        return descriptor

    @staticmethod
    def close(descriptor: int) -> None:
        _forget(descriptor)
        os.close(descriptor)

    @staticmethod
    def fdopen(descriptor: int, *args: Any, **kwargs: Any) -> Any:
        _forget(descriptor)
        return os.fdopen(descriptor, *args, **kwargs)


def _forget(descriptor: int) -> None:
    """The number may be another file's by now, if it is a dead process's that wants to close it."""
    known = process_now().facts.get("descriptors", {})
    if descriptor not in known:
        raise OSError(errno.EBADF, "the process that had this file is gone")
    del known[descriptor]


def _close_all(descriptors: dict[int, None]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    descriptors.clear()


def crash_point(name: str) -> None:
    """wire.crash_points.crash_point: here a process dies when its countdown is over, and others may go first."""
    scheduler, process = running(), process_now()
    left = process.facts.get("crash_in")
    if left is not None and not scheduler.closing:
        process.facts["crash_in"] = left - 1
        if left <= 0:
            scheduler.note(f"{process.machine} dies at {name}")
            scheduler.die(process)
    scheduler.maybe_yield()


def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    """sqlite3.connect; a process that is killed lets go of its files."""
    connection = sqlite3.connect(*args, **kwargs)
    process_now().when_killed.append(connection.close)
    return connection


class _Sqlite:
    """`sqlite3`, whose connections end with their process."""

    connect = staticmethod(connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)


def _stand_ins() -> dict[int, tuple[Any, Any]]:
    fake_random, fake_secrets = _Random(), _Secrets()
    pairs: list[tuple[Any, Any]] = [
        (threading, threads.threading),
        (threading.Lock, threads.Lock),
        (threading.RLock, threads.RLock),
        (threading.Condition, threads.Condition),
        (threading.Event, threads.Event),
        (threading.Thread, threads.Thread),
        (time, threads.time),
        (time.monotonic, threads.monotonic),
        (time.time, threads.wall),
        (time.sleep, threads.sleep),
        (time.perf_counter, threads.monotonic),
        (concurrent.futures.ThreadPoolExecutor, futures.ThreadPoolExecutor),
        (concurrent.futures.Future, futures.Future),
        (random, fake_random),
        (backoff.JITTER, lambda: running().random.random()),
        (secrets, fake_secrets),
        (secrets.token_hex, fake_secrets.token_hex),
        (os, _Os()),
        (crash_points.crash_point, crash_point),
        (sqlite3, _Sqlite()),
        (sqlite3.connect, connect),
    ]
    return {id(real): (real, fake) for real, fake in pairs}


class _Undo:
    def __init__(self) -> None:
        self._steps: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        self._steps.append((owner, name, owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)))
        setattr(owner, name, value)

    def all(self) -> None:
        for owner, name, value in reversed(self._steps):
            setattr(owner, name, value)


@contextlib.contextmanager
def taken_over(constants: dict[str, int], names: dict[str, Any]) -> Iterator[None]:
    """Run the programs in virtual time inside the block.

    `constants` replaces numbers by their name wherever a program's module has it; `names` replaces "module.name" by
    another object, after that.
    """
    _load_programs()
    undo = _Undo()
    stand_ins = _stand_ins()
    try:
        for module in [module for name, module in sorted(sys.modules.items()) if name.split(".")[0] in PROGRAMS]:
            _take_module(module, stand_ins, constants, undo)
        for full, value in names.items():
            module_name, _, name = full.rpartition(".")
            undo.set(sys.modules[module_name], name, value)
        yield
    finally:
        undo.all()


@cache
def _load_programs() -> None:
    """Import every module of the programs: one that is first imported inside a run would keep a stand-in for ever."""
    for program in PROGRAMS:
        for found in pkgutil.walk_packages(importlib.import_module(program).__path__, f"{program}."):
            if not found.name.endswith(".__main__") and ".migrations" not in found.name:
                importlib.import_module(found.name)


def _take_module(
    module: ModuleType, stand_ins: dict[int, tuple[Any, Any]], constants: dict[str, int], undo: _Undo
) -> None:
    for name, value in list(vars(module).items()):
        if id(value) in stand_ins:
            undo.set(module, name, stand_ins[id(value)][1])
        elif name in constants and isinstance(value, int):
            undo.set(module, name, constants[name])
        elif isinstance(value, FunctionType) and value.__module__ == module.__name__:
            _take_defaults(value, stand_ins, undo)
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for member in list(vars(value).values()):
                if isinstance(member, FunctionType):
                    _take_defaults(member, stand_ins, undo)


def _take_defaults(function: FunctionType, stand_ins: dict[int, tuple[Any, Any]], undo: _Undo) -> None:
    if function.__defaults__ and any(id(value) in stand_ins for value in function.__defaults__):
        taken = tuple(stand_ins[id(v)][1] if id(v) in stand_ins else v for v in function.__defaults__)
        undo.set(function, "__defaults__", taken)
    if function.__kwdefaults__ and any(id(value) in stand_ins for value in function.__kwdefaults__.values()):
        changed = {k: stand_ins[id(v)][1] if id(v) in stand_ins else v for k, v in function.__kwdefaults__.items()}
        undo.set(function, "__kwdefaults__", changed)
