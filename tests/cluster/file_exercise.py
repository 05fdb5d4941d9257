"""Random operations on one file of a mounted folder, each compared with a model in memory."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.waiting import wait_until

MAX_BYTES = 3 * 1024 * 1024
"""Several chunks, so that files are saved whole and as changes."""
MAX_WRITE = 200_000
SMALL = 4096


class FileExercise:
    """One file that is written, read, cut, mapped, closed and renamed. `other` is the same folder on another mount."""

    def __init__(self, folder: Path, other: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._noise = self._random.randbytes(2 * MAX_WRITE)
        self._folder = folder
        self._other = other
        self._name = "exercised"
        self._names = 0
        self._expected = bytearray()
        self._steps: list[str] = []
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._operations: list[tuple[int, Callable[[], str]]] = [
            (8, self._write),
            (8, self._read),
            (2, self._append),
            (2, self._cut),
            (1, self._grow),
            (2, self._map),
            (1, self._sync),
            (2, self._reopen),
            (1, self._empty),
            (1, self._rename),
            (1, self._replace),
            (1, self._look_from_elsewhere),
        ]

    @property
    def _path(self) -> Path:
        return self._folder / self._name

    def run(self, steps: int) -> None:
        """Do that many operations. AssertionError, with the last ones, if the file is not as the model."""
        weights, operations = zip(*self._operations, strict=True)
        for _ in range(steps):
            (operation,) = self._random.choices(operations, weights)
            self._steps = [*self._steps[-40:], f"{operation.__name__.strip('_')}:"]
            self._steps[-1] += f" {operation()}"
            size = os.fstat(self._descriptor).st_size
            self._check(size == len(self._expected), f"the file has {size} bytes instead of {len(self._expected)}")
        self._look_from_elsewhere()

    def close(self) -> None:
        os.close(self._descriptor)

    def _check(self, holds: bool, otherwise: str) -> None:
        assert holds, "\n".join([otherwise, "the last operations were:", *self._steps])

    def _same(self, found: bytes, expected: bytes, at: int, how: str) -> None:
        if found != expected:
            pairs = zip(found, expected, strict=False)
            first = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(found), len(expected)))
            self._check(
                False, f"{how}: {len(found)} of {len(expected)} bytes at {at}; they differ from {at + first} on"
            )

    def _place(self) -> int:
        """A place in the file, or a little behind its end."""
        return self._random.randrange(min(len(self._expected) + SMALL, MAX_BYTES - MAX_WRITE))

    def _some(self) -> bytes:
        length = self._random.choice((1, SMALL, self._random.randrange(1, MAX_WRITE)))
        start = self._random.randrange(MAX_WRITE)
        return self._noise[start : start + length]

    def _put(self, data: bytes, at: int) -> str:
        if at > len(self._expected):
            self._expected.extend(bytes(at - len(self._expected)))
        self._expected[at : at + len(data)] = data
        return f"{len(data)} at {at}"

    def _write(self) -> str:
        data, at = self._some(), self._place()
        assert os.pwrite(self._descriptor, data, at) == len(data)
        return self._put(data, at)

    def _append(self) -> str:
        if len(self._expected) > MAX_BYTES - MAX_WRITE:
            return "not: it is long enough"
        data = self._some()
        with open(self._path, "ab", buffering=0) as appending:
            assert appending.write(data) == len(data)
        return self._put(data, len(self._expected))

    def _read(self) -> str:
        at, length = self._place(), self._random.randrange(1, MAX_WRITE)
        self._same(os.pread(self._descriptor, length, at), bytes(self._expected[at : at + length]), at, "reading")
        return f"{length} at {at}"

    def _cut(self) -> str:
        size = self._random.randrange(len(self._expected) + 1)
        os.ftruncate(self._descriptor, size)
        del self._expected[size:]
        return f"to {size}"

    def _grow(self) -> str:
        size = self._random.randrange(len(self._expected), MAX_BYTES)
        os.ftruncate(self._descriptor, size)
        self._expected.extend(bytes(size - len(self._expected)))
        return f"to {size}"

    def _map(self) -> str:
        """Private mappings, which is what the mount allows."""
        if not self._expected:
            return "not: it is empty"
        with mmap.mmap(self._descriptor, len(self._expected), mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
            self._same(mapped[:], bytes(self._expected), 0, "mapping")
        return f"{len(self._expected)}"

    def _sync(self) -> str:
        os.fsync(self._descriptor)
        return ""

    def _reopen(self) -> str:
        os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_RDWR)
        return self._read()

    def _empty(self) -> str:
        """As programs do that write a file anew."""
        os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_TRUNC)
        self._expected.clear()
        return self._put_now(self._some())

    def _put_now(self, data: bytes) -> str:
        assert os.pwrite(self._descriptor, data, 0) == len(data)
        return self._put(data, 0)

    def _rename(self) -> str:
        """While it is open: the program goes on under the new name."""
        self._names += 1
        old, self._name = self._path, f"exercised-{self._names}"
        old.rename(self._path)
        return self._name

    def _replace(self) -> str:
        """As editors save: a new file takes the name."""
        data = self._some()
        new = self._folder / "new"
        new.write_bytes(data)
        os.close(self._descriptor)
        new.rename(self._path)
        self._descriptor = os.open(self._path, os.O_RDWR)
        self._expected[:] = data
        return f"by {len(data)}"

    def _look_from_elsewhere(self) -> str:
        """What is closed is what every other machine reads, as soon as it has heard of the name."""
        os.close(self._descriptor)
        wait_until((self._other / self._name).exists, what="the name on the other mount")
        found = (self._other / self._name).read_bytes()
        self._descriptor = os.open(self._path, os.O_RDWR)
        self._same(found, bytes(self._expected), 0, "the other mount")
        return f"{len(found)}"
