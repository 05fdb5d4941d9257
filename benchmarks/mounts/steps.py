"""What is done in a mounted folder. Each step returns what it took.

A program's own time ends when it returns. What it wrote is stored when the cluster has it: JuiceFS, s3fs and Lockstep
upload before they return from a close, rclone afterwards. So the steps that write wait until the bucket has everything.
"""

from __future__ import annotations

import fcntl
import io
import os
import random
import statistics
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.mounts.programs import MountProgram

MIB = 1 << 20
SMALL_FILES = 2000
LARGE_BYTES = 256 * MIB
RANDOM_READS = 200
BLOCK = 4096
RENAMED_FILES = 100
SAVES = 20
CUT_SECONDS = 180.0
"""A program that takes longer is ended, and its time counts as this."""
LOOK_SECONDS = 0.005
SLOW_LOOK_SECONDS = 0.2
REFUSED = "refused"


class Took(NamedTuple):
    """Seconds, or what `unit` says, until the program returned, and until all was stored."""

    returned: float
    stored: float | None = None
    note: str = ""
    """What else was seen."""
    unit: str = "s"


@dataclass
class Workplace:
    """What every program works with: two mounts of the same bucket, and the same content."""

    program: MountProgram
    first: Path
    second: Path
    material: Path
    """A folder of this machine, with `small.tar` and `large`."""
    objects: Callable[[], int]
    """How many objects the bucket has."""
    received: Callable[[], float]
    """How many bytes the proxies have received."""


class Cut(Exception):
    """A program took longer than CUT_SECONDS."""


def make_material(folder: Path, seed: int) -> None:
    """Write the archive of 2,000 small files (20.5 MiB), and the large file.

    Each program and each round need content of their own: Lockstep stores what it has already only once.
    """
    noise = random.Random(seed)
    with tarfile.open(folder / "small.tar", "w") as archive:
        for number in range(SMALL_FILES):
            data = noise.randbytes(int(noise.triangular(100, 31_600, 550)))
            entry = tarfile.TarInfo(f"small/d{number // 100:02}/s{number % 5}/f{number:04}.txt")
            entry.size, entry.mtime = len(data), 1_700_000_000 + number
            archive.addfile(entry, io.BytesIO(data))
    with open(folder / "large", "wb") as large:
        for _ in range(LARGE_BYTES // (16 * MIB)):
            large.write(noise.randbytes(16 * MIB))


def untar(place: Workplace) -> Took:
    """Unpack 2,000 files."""
    before = place.objects()
    began = time.perf_counter()
    _run("tar", "-C", place.first, "-xf", place.material / "small.tar", "--no-same-owner")
    returned = time.perf_counter() - began
    until(lambda: place.objects() - before >= SMALL_FILES, SLOW_LOOK_SECONDS)
    return Took(returned, time.perf_counter() - began)


def git_add(place: Workplace) -> Took:
    """`git init`, `add` and `status` where the archive was unpacked."""
    began = time.perf_counter()
    _git(place, "init", "--quiet")
    _git(place, "add", ".")
    _git(place, "status", "--short")
    return Took(time.perf_counter() - began)


def git_status(place: Workplace) -> Took:
    """A second `git status`."""
    before = place.received()
    began = time.perf_counter()
    _git(place, "status", "--short")
    return Took(time.perf_counter() - began, note=f"{(place.received() - before) / 1024:.0f} KiB sent")


def write_large(place: Workplace) -> Took:
    """Write 256 MiB in order, and fsync."""
    before = place.objects()
    began = time.perf_counter()
    with open(place.material / "large", "rb") as source, open(place.first / "large", "wb") as target:
        while block := source.read(MIB):
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
        synced = time.perf_counter() - began
    returned = time.perf_counter() - began
    until(lambda: place.objects() > before, SLOW_LOOK_SECONDS)
    return Took(returned, time.perf_counter() - began, f"fsync after {synced:.1f} s")


def read_cold(place: Workplace) -> Took:
    """Read 256 MiB through a mount that has read nothing yet."""
    with _cold(place) as folder:
        return Took(_read_all(folder / "large"))


def read_again(place: Workplace) -> Took:
    """Read 256 MiB that this mount has read already."""
    until((place.second / "large").exists)
    _read_all(place.second / "large")
    return Took(_read_all(place.second / "large"))


def read_randomly(place: Workplace) -> Took:
    """200 reads of 4 KiB at random places of 256 MiB, through a mount that has read nothing yet."""
    places = random.Random(200)
    with _cold(place) as folder:
        began = time.perf_counter()
        with open(folder / "large", "rb", buffering=0) as file:
            for _ in range(RANDOM_READS):
                file.seek(places.randrange(LARGE_BYTES - BLOCK))
                file.read(BLOCK)
        return Took(time.perf_counter() - began)


def edit_one_byte(place: Workplace) -> Took:
    """Change one byte in the middle of 256 MiB, and close."""
    before = place.received()
    began = time.perf_counter()
    with open(place.first / "large", "r+b") as file:
        file.seek(LARGE_BYTES // 2)
        file.write(os.urandom(1))
    returned = time.perf_counter() - began
    quiet_since, seen = time.perf_counter(), place.received()
    while time.perf_counter() - quiet_since < 8.0:  # rclone begins to upload after 5 s
        if place.received() != seen:
            quiet_since, seen = time.perf_counter(), place.received()
        time.sleep(0.05)
    return Took(returned, max(returned, quiet_since - began), f"{(seen - before) / 1e6:.3f} MB up")


def locks(place: Workplace) -> Took:
    """Lock a file through one mount, and try to through the other."""
    name = "locked"
    (place.first / name).write_text("x")
    until((place.second / name).exists)
    seen = []
    for kind, take in (("flock", fcntl.flock), ("lockf", fcntl.lockf)):
        with open(place.first / name, "r+") as held:
            try:
                take(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                seen.append(f"{kind} fails: {error.strerror}")
                continue
            try:
                with open(place.second / name, "r+") as other:
                    take(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                seen.append(f"{kind} granted twice")
            except OSError as error:
                seen.append(f"{kind} {REFUSED}: {error.strerror}")
    others = sum(REFUSED not in one for one in seen)
    return Took(others, note=", ".join(seen), unit="not refused")


def see_a_change(place: Workplace) -> Took:
    """The median time until the other mount sees a new content of a file that it has read before."""
    name, times = "seen", []
    (place.first / name).write_text("0")
    for number in range(1, 6):
        until(lambda number=number: _text(place.second / name) == str(number - 1))  # type: ignore[misc]
        (place.first / name).write_text(str(number))
        began = time.perf_counter()
        until(lambda number=number: _text(place.second / name) == str(number))  # type: ignore[misc]
        times.append(time.perf_counter() - began)
    return Took(statistics.median(times))


def save_by_rename(place: Workplace) -> Took:
    """The median of 20 saves: write a new file, fsync, rename it over the old one. Both mounts read meanwhile."""
    target, ready, missed = place.first / "saved", threading.Event(), [0, 0]
    target.write_text("0")
    until((place.second / "saved").exists)

    def read() -> None:
        while not ready.is_set():
            for number, folder in enumerate((place.first, place.second)):
                missed[number] += _text(folder / "saved") is None
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    times = []
    try:
        for number in range(SAVES):
            began = time.perf_counter()
            with open(place.first / "saved.new", "w") as file:
                file.write(str(number))
                file.flush()
                os.fsync(file.fileno())
            (place.first / "saved.new").rename(target)
            times.append(time.perf_counter() - began)
    finally:
        ready.set()
        reader.join()
    return Took(
        statistics.median(times), note=f"readers missed the file {missed[0]} times here, {missed[1]} times there"
    )


def rename_folder(place: Workplace) -> Took:
    """Rename a folder of 100 files."""
    folder = place.first / "before"
    folder.mkdir()
    for number in range(RENAMED_FILES):
        (folder / f"f{number}").write_text(str(number))
    began = time.perf_counter()
    folder.rename(place.first / "after")
    returned = time.perf_counter() - began
    found = len(list((place.first / "after").iterdir()))
    return Took(returned, note="" if found == RENAMED_FILES else f"only {found} files are there")


def _run(*command: str | Path) -> None:
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=CUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Cut(f"cut at {CUT_SECONDS:.0f} s") from None
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-200:]}")


def _git(place: Workplace, *words: str) -> None:
    _run("git", "-c", "safe.directory=*", "-C", place.first / "small", *words)


def until(condition: Callable[[], bool], pause: float = LOOK_SECONDS) -> None:
    """Wait for a condition. Cut after CUT_SECONDS."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > CUT_SECONDS:
            raise Cut(f"cut at {CUT_SECONDS:.0f} s")
        time.sleep(pause)


@contextmanager
def _cold(place: Workplace) -> Iterator[Path]:
    """The same folder through a new mount."""
    root = place.program.mount("cold")
    try:
        yield root / place.first.name
    finally:
        place.program.unmount(root)


def _read_all(file: Path) -> float:
    began = time.perf_counter()
    count = 0
    with open(file, "rb", buffering=0) as source:
        while block := source.read(MIB):
            count += len(block)
    if count != LARGE_BYTES:
        raise RuntimeError(f"{file.name} has {count} bytes instead of {LARGE_BYTES}")
    return time.perf_counter() - began


def _text(file: Path) -> str | None:
    with suppress(OSError):
        return file.read_text()
    return None
