"""Keeps checksums of the metadata file's pages beside it, so that flipped bits are detected.

SQLite does not verify what it reads from its main file: a flipped bit in a path, a digest or a number would just be
another path, digest or number. So this module keeps a checksum of every page in ``metadata.db-pages``. It verifies all
pages before the store is used, and again in a paced walk while it runs. In WAL mode the main file changes only at
checkpoints, and the store makes those itself: after each, the new pages' checksums are written durably before the log
may be reused. Pages in the log are not verified in the main file. SQLite verifies the log's own checksums when it opens
it, but takes the first bad one for the log's end. So after each commit ``metadata.db-mark`` notes the log's length; a
log that ends earlier has lost commits.

The mark is not flushed, because a commit would then need two flushes. After a power failure it may be older than the
log, never newer. This module only reports damage: the store then refuses to serve, and a backup repairs it.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from lockstep_store.runtime.storage.sealing import write_durably
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import Damaged

PAGES_SUFFIX, MARK_SUFFIX = "-pages", "-mark"
CHECKPOINT_FRAMES = 4000
STEP_PAGES = 256
"""Pages verified in one step of the walk: a mebibyte, about a millisecond."""
STEP_SECONDS = 0.1
ROUND_SECONDS = 600.0

_MAGIC = b"lockstep metadata pages 1\n"
_CHECK_BYTES = 8
_HEAD = struct.Struct(">II8sI")  # page size, pages, the log's salts, its frames that are covered
_MARK = struct.Struct(">8sI")
_SEAL_BYTES = 32
# SQLite documents the formats of the log and of its index.
_LOG_HEAD_BYTES, _FRAME_HEAD_BYTES = 32, 24
_INDEX = struct.Struct("=16xII8x8s")


class LogPlace(NamedTuple):
    """The log's end: its salts, which change whenever the log restarts, and the number of committed frames."""

    salts: bytes
    frames: int


def has_checks(database: Path) -> bool:
    """Whether the database has page checksums."""
    return _beside(database, PAGES_SUFFIX).exists()


def forget_checks(database: Path) -> None:
    """Delete the checksums. Call before another file replaces the database. Safe to repeat."""
    for suffix in (PAGES_SUFFIX, MARK_SUFFIX):
        _beside(database, suffix).unlink(missing_ok=True)


class PageChecks:
    """Page checksums of a database that this process has open in WAL mode, with at least one connection kept open.

    Call `verify` first, then `note` after each commit and `checkpointed` after each checkpoint, one at a time.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._pages_file = _beside(database, PAGES_SUFFIX)
        # Kept open until every connection is closed: closing a descriptor drops SQLite's locks on the same file.
        self._file = os.open(database, os.O_RDONLY | os.O_CLOEXEC)
        self._index = os.open(_beside(database, "-shm"), os.O_RDONLY | os.O_CLOEXEC)
        self._log = os.open(_beside(database, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        self._mark = os.open(_beside(database, MARK_SUFFIX), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._page_size = 0
        self._checks: list[bytes] = []
        self._covered = LogPlace(bytes(8), 0)
        self._in_log: set[int] = set()
        self._guard = threading.Lock()
        self._next = 0

    def close(self) -> None:
        """Close the files. Call after every connection to the database is closed."""
        for descriptor in (self._file, self._index, self._log, self._mark):
            os.close(descriptor)

    # ------------------------------------------------------------ opening

    def verify(self) -> bool:
        """Verify every page and the log's end; return False if there are no checksums yet (see `begin`).

        Raises Damaged if anything differs from what was written.
        """
        if not self._load():
            return False
        place = self.place()
        self._check_log(place)
        self._in_log = set(self._frames(place.frames))
        length = os.fstat(self._file).st_size
        pages = length // self._page_size
        if length % self._page_size or pages < len(self._checks):
            raise self._damaged(f"it was truncated to {length} bytes")
        strange = [number for number in range(len(self._checks) + 1, pages + 1) if number not in self._in_log]
        if strange:
            raise self._damaged(f"page {strange[0]} was never written by this directory")
        for first in range(0, len(self._checks), STEP_PAGES):
            self._verify_pages(first)
        return True

    def begin(self) -> None:
        """Compute the first checksums from the database as it is. Its log must be empty."""
        with self._guard:
            head = os.pread(self._file, 100, 0)
            self._page_size = (int.from_bytes(head[16:18], "big") or 4096) if len(head) == 100 else 4096
            self._page_size = 65536 if self._page_size == 1 else self._page_size
            count = os.fstat(self._file).st_size // self._page_size
            self._checks = [self._check(n, self._page(n)) for n in range(1, count + 1)]
            self._in_log = set()
            self._save(self.place())
            self.note()

    def _check_log(self, place: LogPlace) -> None:
        raw = os.pread(self._mark, _MARK.size + _SEAL_BYTES, 0)
        if len(raw) != _MARK.size + _SEAL_BYTES or _seal(raw[: _MARK.size]) != raw[_MARK.size :]:
            if raw:
                log.warning("%s is damaged; writing a new one", _beside(self._database, MARK_SUFFIX))
            return
        marked = LogPlace(*_MARK.unpack(raw[: _MARK.size]))
        if marked.frames <= (self._covered.frames if self._covered.salts == marked.salts else 0):
            return  # everything up to the mark is in the main file, covered by its checksums
        if marked.salts != place.salts or marked.frames > place.frames:
            raise self._damaged("its log ends before changes that were acknowledged")

    # ------------------------------------------------------------ while running

    def place(self) -> LogPlace:
        """Return the log's current end."""
        raw = os.pread(self._index, _INDEX.size, 0)
        if len(raw) != _INDEX.size:
            return LogPlace(bytes(8), 0)
        frames, _, salts = _INDEX.unpack(raw)
        return LogPlace(salts, frames)

    def note(self) -> int:
        """Note the log's end after a durable commit; return its number of frames."""
        place = self.place()
        raw = _MARK.pack(*place)
        os.pwrite(self._mark, raw + _seal(raw), 0)
        return place.frames

    def checkpointing(self) -> threading.Lock:
        """Return the lock to hold during a checkpoint and the following call of `checkpointed`."""
        return self._guard

    def checkpointed(self, frames: int, moved: int) -> None:
        """Update the checksums after a checkpoint copied `moved` of the log's `frames` into the main file."""
        latest: dict[int, int] = {number: place for place, number in enumerate(self._frames(moved))}
        self._in_log |= set(latest)
        if moved < frames or not latest:
            return  # a reader needs the rest: these pages have no valid checksum until a checkpoint completes
        self._checks += [b""] * (max(latest) - len(self._checks))
        for number, place in latest.items():
            start = _LOG_HEAD_BYTES + place * (_FRAME_HEAD_BYTES + self._page_size) + _FRAME_HEAD_BYTES
            self._checks[number - 1] = self._check(number, os.pread(self._log, self._page_size, start))
        self._in_log = set()
        try:
            self._save(self.place())
        except OSError as error:
            # The log may be overwritten now, so checksums older than the pages must not stay on the disk.
            self.distrust(f"cannot write the checksums ({error})")

    def unfinished(self) -> None:
        """After a failed checkpoint, skip the pages that it may have copied until one succeeds."""
        self._in_log |= set(self._frames(self.place().frames))

    def distrust(self, why: str) -> None:
        """Delete the checksums. The next start checks the structure instead and computes them again."""
        log.warning("deleting %s: %s", self._pages_file, why)
        forget_checks(self._database)

    def step(self) -> float:
        """Verify the next mebibyte; return seconds until the next call. Raises Damaged."""
        with self._guard:
            self._verify_pages(self._next)
            self._next += STEP_PAGES
            if self._next < len(self._checks):
                return STEP_SECONDS
            self._next = 0
        return ROUND_SECONDS

    # ------------------------------------------------------------ pages

    def _verify_pages(self, first: int) -> None:
        for number in range(first + 1, min(first + STEP_PAGES, len(self._checks)) + 1):
            if number not in self._in_log and self._check(number, self._page(number)) != self._checks[number - 1]:
                raise self._damaged(f"page {number} differs from what was written")

    def _page(self, number: int) -> bytes:
        return os.pread(self._file, self._page_size, (number - 1) * self._page_size)

    def _check(self, number: int, page: bytes) -> bytes:
        """Return a page's checksum. It includes the number, so that swapped pages are detected."""
        return blake3(number.to_bytes(4, "big") + page).digest(length=_CHECK_BYTES)

    def _frames(self, count: int) -> Iterable[int]:
        """Yield the page numbers of the log's first frames, in order."""
        step = _FRAME_HEAD_BYTES + self._page_size
        for place in range(count):
            yield int.from_bytes(os.pread(self._log, 4, _LOG_HEAD_BYTES + place * step), "big")

    def _load(self) -> bool:
        try:
            raw = self._pages_file.read_bytes()
        except FileNotFoundError:
            return False
        body, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
        if not body.startswith(_MAGIC) or _seal(body) != seal:
            log.error("%s is damaged; checking the metadata's structure instead", self._pages_file)
            return False
        self._page_size, count, salts, frames = _HEAD.unpack_from(body, len(_MAGIC))
        checks = body[len(_MAGIC) + _HEAD.size :]
        self._checks = [checks[at : at + _CHECK_BYTES] for at in range(0, count * _CHECK_BYTES, _CHECK_BYTES)]
        self._covered = LogPlace(salts, frames)
        return True

    def _save(self, covered: LogPlace) -> None:
        head = _HEAD.pack(self._page_size, len(self._checks), *covered)
        body = b"".join([_MAGIC, head, *self._checks])
        write_durably(self._pages_file, body + _seal(body))
        self._covered = covered

    def _damaged(self, what: str) -> Damaged:
        return Damaged(
            f"the metadata file {self._database} is damaged: {what}. Nothing is served from it: stop the directory, "
            "look at the disk, and restore a backup (lockstep restore)"
        )


def _seal(data: bytes) -> bytes:
    return blake3(data).digest()


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)
