"""Checksums of the metadata file's pages, kept beside it: no flipped bit is ever taken for metadata.

SQLite checks nothing that it reads from its main file: a flipped bit in a path, a digest or a number would simply be
another path, digest or number. So this module keeps a checksum of every page in ``metadata.db-pages``, verifies all
of them before the store is used and again in a paced walk while it runs. It can, because in WAL mode the main file
changes at checkpoints only, and the store makes those itself: after each, the checksums of the pages that the log
brought are written durably, before the log may be reused. Pages that stand in the log are not looked at in the main
file; SQLite verifies the log's own checksums when it opens it, but takes the first bad one for the log's end. So
after each commit ``metadata.db-mark`` notes how far the log reached: a log that ends earlier has lost commits.

The mark is not flushed, because a commit would then cost two flushes: after a power failure it may be older than the
log, never newer. What is found here is only told; refusing to serve is the store's part, repair a backup's.
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
"""Looked at in one step of the walk: a mebibyte, about a millisecond."""
STEP_SECONDS = 0.1
ROUND_SECONDS = 600.0

_MAGIC = b"lockstep metadata pages 1\n"
_CHECK_BYTES = 8
_HEAD = struct.Struct(">II8sI")  # page size, pages, the log's salts, its frames that are covered
_MARK = struct.Struct(">8sI")
_SEAL_BYTES = 32
# The log's own form and that of its index are SQLite's published file formats.
_LOG_HEAD_BYTES, _FRAME_HEAD_BYTES = 32, 24
_INDEX = struct.Struct("=16xII8x8s")


class LogPlace(NamedTuple):
    """How far the log reaches: its salts, which change whenever it begins anew, and its committed frames."""

    salts: bytes
    frames: int


def has_checks(database: Path) -> bool:
    """Whether there are checksums of the database's pages."""
    return _beside(database, PAGES_SUFFIX).exists()


def forget_checks(database: Path) -> None:
    """Before another file takes the database's place: the checksums are of the old one. Safe to repeat."""
    for suffix in (PAGES_SUFFIX, MARK_SUFFIX):
        _beside(database, suffix).unlink(missing_ok=True)


class PageChecks:
    """Of one database that this process has open in WAL mode, with at least one connection that stays open.

    `open` verifies; `note` follows each commit and `checkpointed` each checkpoint, both on the writer's thread.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._pages_file = _beside(database, PAGES_SUFFIX)
        # These stay open until every connection is closed: closing one would drop SQLite's locks on the same file.
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
        """After every connection to the database is closed."""
        for descriptor in (self._file, self._index, self._log, self._mark):
            os.close(descriptor)

    # ------------------------------------------------------------ opening

    def verify(self) -> bool:
        """Look at every page and at the log's end. False when there are no checksums yet: see `begin`.

        Raises Damaged when anything is not as it was written.
        """
        if not self._load():
            return False
        place = self.place()
        self._check_log(place)
        self._in_log = set(self._frames(place.frames))
        length = os.fstat(self._file).st_size
        pages = length // self._page_size
        if length % self._page_size or pages < len(self._checks):
            raise self._damaged(f"it has {length} bytes, which is shorter than it was written")
        strange = [number for number in range(len(self._checks) + 1, pages + 1) if number not in self._in_log]
        if strange:
            raise self._damaged(f"page {strange[0]} was never written by this directory")
        for first in range(0, len(self._checks), STEP_PAGES):
            self._verify_pages(first)
        return True

    def begin(self) -> None:
        """Take the database as it is for good, and make its first checksums; its log must be empty."""
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
                log.warning("%s is damaged; it is made anew", _beside(self._database, MARK_SUFFIX))
            return
        marked = LogPlace(*_MARK.unpack(raw[: _MARK.size]))
        if marked.frames <= (self._covered.frames if self._covered.salts == marked.salts else 0):
            return  # everything up to the mark is in the main file, and has its checksum there
        if marked.salts != place.salts or marked.frames > place.frames:
            raise self._damaged("its log ends before changes that were acknowledged")

    # ------------------------------------------------------------ while running

    def place(self) -> LogPlace:
        """How far the log reaches now."""
        raw = os.pread(self._index, _INDEX.size, 0)
        if len(raw) != _INDEX.size:
            return LogPlace(bytes(8), 0)
        frames, _, salts = _INDEX.unpack(raw)
        return LogPlace(salts, frames)

    def note(self) -> int:
        """A commit is durable: note how far the log reaches; in frames."""
        place = self.place()
        raw = _MARK.pack(*place)
        os.pwrite(self._mark, raw + _seal(raw), 0)
        return place.frames

    def checkpointing(self) -> threading.Lock:
        """To be held during a checkpoint and the call of `checkpointed` after it."""
        return self._guard

    def checkpointed(self, frames: int, moved: int) -> None:
        """A checkpoint has copied `moved` of the log's `frames` into the main file."""
        latest: dict[int, int] = {number: place for place, number in enumerate(self._frames(moved))}
        self._in_log |= set(latest)
        if moved < frames or not latest:
            return  # a reader needed the rest: these pages have no checksum until the log is done
        self._checks += [b""] * (max(latest) - len(self._checks))
        for number, place in latest.items():
            start = _LOG_HEAD_BYTES + place * (_FRAME_HEAD_BYTES + self._page_size) + _FRAME_HEAD_BYTES
            self._checks[number - 1] = self._check(number, os.pread(self._log, self._page_size, start))
        self._in_log = set()
        try:
            self._save(self.place())
        except OSError as error:
            # The log may now be written over, so checksums that are older than the pages must not stay on the disk.
            self.distrust(f"the checksums cannot be written ({error})")

    def unfinished(self) -> None:
        """A checkpoint failed somewhere: what it may have moved is not looked at until one succeeds."""
        self._in_log |= set(self._frames(self.place().frames))

    def distrust(self, why: str) -> None:
        """Remove the checksums: the next start checks the structure instead and makes them anew."""
        log.warning("%s is removed: %s", self._pages_file, why)
        forget_checks(self._database)

    def step(self) -> float:
        """Look at the next mebibyte; seconds to pause. Raises Damaged."""
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
                raise self._damaged(f"page {number} is not as it was written")

    def _page(self, number: int) -> bytes:
        return os.pread(self._file, self._page_size, (number - 1) * self._page_size)

    def _check(self, number: int, page: bytes) -> bytes:
        """The number is part of it, so that two pages that changed places are found too."""
        return blake3(number.to_bytes(4, "big") + page).digest(length=_CHECK_BYTES)

    def _frames(self, count: int) -> Iterable[int]:
        """The page numbers of the log's first frames, in order."""
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
            log.error("%s is damaged itself: the metadata's own structure is checked instead", self._pages_file)
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
