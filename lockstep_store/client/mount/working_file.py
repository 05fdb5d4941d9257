"""The content of one file while programs of this machine write it, on the local disk until it is saved.

It begins as the version that is in the cluster, whose content is fetched when the first byte changes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from lockstep_store.client.lock_holder import LockHolder, Waiting
from lockstep_store.client.mount.attributes import PLAIN_MODE, kept_mode, mode_of, modified_ns, with_attributes
from lockstep_store.client.mount.contents import PinnedFile
from lockstep_store.client.mount.range_locks import RangeLocks
from lockstep_store.client.mount.unsaved import Unsaved
from lockstep_store.wire.messages.files import FileVersion

log = logging.getLogger("lockstep.mount")

COPY_BYTES = 1024 * 1024


class SpoolReader:
    """Reads a working file, also after its last writer has gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(eq=False)
class SharedRequest:
    """A request for a file's lock, for all programs of this machine that want it.

    `in_the_way`: who has the lock, once the cluster has said so. `is_taken`: the file has the lock that was granted.
    """

    future: Future[LockHolder] = field(default_factory=Future)
    in_the_way: Waiting | None = None
    is_taken: bool = False

    def note(self, news: threading.Condition, waiting: Waiting) -> None:
        with news:
            self.in_the_way = waiting
            news.notify_all()


class WorkingFile:
    """One file. Callers hold `guard`, for as long as several steps belong together.

    A save holds it, too, so what `ls` and readers need does not: `size`, `mode`, `modified_ns`, `reader`.
    `base` is the version that a save may replace; None for a new file, which may replace nothing.
    """

    def __init__(self, unsaved: Unsaved, bucket: str, path: str, key: str) -> None:
        self.guard = threading.RLock()
        self.news = threading.Condition(self.guard)
        """Told when a lock may have become free."""
        self.path = path
        self.key = key
        self.base: FileVersion | None = None
        self.lock: LockHolder | None = None
        self.request: SharedRequest | None = None
        self.asking = self.patient = 0
        """How many programs ask for the cluster's lock, and how many of them wait for it."""
        self.users = 0
        """How many programs have it open."""
        self.claims = 0
        """How many of them write, and need the lock until they close the file."""
        self.fcntl_locks = RangeLocks()
        self.flocks = RangeLocks()
        self.turn = 0
        """Counts the versions of others that this file has taken over: who opened it before may not write on."""
        self.is_dirty = False
        self.is_blank = False
        """Nothing was written since it was created or emptied. A shell closes a file once before it writes."""
        self.is_gone = False
        """Removed or replaced: what is written now belongs to no name, and is not saved."""
        self.mode = PLAIN_MODE
        self.modified_ns = time.time_ns()
        self.size = 0
        self._unsaved = unsaved
        self._bucket = bucket
        self._pinned: PinnedFile | None = None
        self._spool: Path | None = None
        self._descriptor = -1
        self._closing = threading.Lock()

    @property
    def content(self) -> Path:
        """The local file with the whole content."""
        self._fill()
        assert self._spool is not None
        return self._spool

    @property
    def is_own(self) -> bool:
        """Whether this machine knows more of the file than the cluster does."""
        return self.is_dirty or self.lock is not None

    @property
    def is_needed(self) -> bool:
        """Whether a program needs the cluster's lock."""
        return bool(self.claims or self.fcntl_locks or self.flocks)

    def begin_with(self, base: FileVersion, pinned: PinnedFile) -> None:
        """Take over a version of the cluster, in place of what was here; what was written here is kept aside."""
        self._pinned = pinned
        kept = self.close()
        if kept is not None:
            log.warning("%s was changed by others; what was written here is in %s", self.path, kept)
        self.is_dirty = self.is_blank = False
        self.turn += 1
        self.base, self.size = base, pinned.file.size
        self.mode, self.modified_ns = mode_of(base), modified_ns(base)

    def rebase(self, version: FileVersion) -> None:
        """Know of a version with the same content, but perhaps other metadata."""
        self.base = version
        if not self.is_dirty:
            self.mode, self.modified_ns = mode_of(version), modified_ns(version)

    def begin_new(self, mode: int) -> None:
        """Be an empty new file."""
        self.mode = kept_mode(mode)
        self._touch()
        self.is_blank = True

    def reader(self) -> SpoolReader | None:
        """What a program reads that opens the file now; None if nothing was written here."""
        with self._closing:
            return SpoolReader(os.dup(self._descriptor)) if self._descriptor >= 0 else None

    def read(self, offset: int, size: int) -> bytes:
        with self._closing:
            if self._descriptor >= 0:
                return os.pread(self._descriptor, size, offset)
            pinned = self._pinned
        return pinned.read(offset, size) if pinned is not None else b""

    def write(self, data: bytes, offset: int | None) -> int:
        """Write at `offset`, or at the end."""
        self._fill()
        at = self.size if offset is None else offset
        view = memoryview(data)
        while view:
            done = os.pwrite(self._descriptor, view, at)
            view, at = view[done:], at + done
        self.size = max(self.size, at)
        self._touch()
        return len(data)

    def truncate(self, size: int) -> None:
        if size == 0:
            self._pinned = None
        self._fill()
        os.ftruncate(self._descriptor, size)
        self.size = size
        self._touch()
        self.is_blank = size == 0

    def set_modified(self, at_ns: int) -> None:
        """Store a time of modification with the next save."""
        self.modified_ns = at_ns
        self.is_dirty = True

    def set_mode(self, mode: int) -> None:
        """Store whether it is executable with the next save."""
        self.mode = kept_mode(mode)
        self.is_dirty = True

    def metadata(self) -> dict[str, str]:
        """What to store with the content: what was there, the time, and whether it is executable."""
        kept = dict(self.base.metadata) if self.base is not None else {}
        return with_attributes(kept, self.modified_ns, self.mode)

    def saved(self, version: FileVersion) -> None:
        """Note that the content is in the cluster."""
        self.base = version
        self.is_dirty = self.is_blank = False

    def move(self, path: str, key: str) -> None:
        """Go under another name from now on."""
        self.path, self.key = path, key
        if self._spool is not None:
            self._unsaved.note(self._spool, self._bucket, key)

    def close(self) -> Path | None:
        """Forget the content; what was written and not saved is kept, and its place returned."""
        spool, self._spool = self._spool, None
        self._close_descriptor()
        if spool is None:
            return None
        if self.is_dirty and not self.is_blank and not self.is_gone:
            return self._unsaved.keep(spool)
        self._unsaved.drop(spool)
        return None

    def _touch(self) -> None:
        self._fill()
        self.is_dirty = True
        self.is_blank = False
        self.modified_ns = time.time_ns()

    def _fill(self) -> None:
        """Have the content in the spool."""
        if self._descriptor >= 0:
            return
        spool = self._unsaved.new_file(self._bucket, self.key)
        descriptor = os.open(spool, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if self._pinned is not None:
                for offset in range(0, self._pinned.file.size, COPY_BYTES):
                    os.pwrite(descriptor, self._pinned.read(offset, COPY_BYTES), offset)
        except BaseException:
            os.close(descriptor)
            self._unsaved.drop(spool)
            raise
        with self._closing:
            self._spool, self._descriptor, self._pinned = spool, descriptor, None

    def _close_descriptor(self) -> None:
        with self._closing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


@dataclass(eq=False)
class OpenedFile:
    """A working file as one program has opened it. `turn`: that of the file when it was opened, or last locked.

    `has_claim`: it writes, and needs the file's lock until it closes the file.
    """

    file: WorkingFile
    appends: bool = False
    turn: int = 0
    has_claim: bool = False

    def read(self, offset: int, size: int) -> bytes:
        return self.file.read(offset, size)

    def claim(self) -> None:
        """Need the lock, which the file has, until the program closes it."""
        self.file.claims += not self.has_claim
        self.has_claim = True

    def end_claim(self) -> None:
        self.file.claims -= self.has_claim
        self.has_claim = False
