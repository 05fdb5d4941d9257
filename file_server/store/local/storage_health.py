"""Tracks whether the storage takes writes. Disk errors become refusals here and nowhere else.

A server whose disk is full or broken reports it in its heartbeat, so that the directory sends writes elsewhere, and
probes until writing works again (`LocalChunkStore.probe`). A disk that hangs raises no error; flush_watch.py notices
it.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from file_server.store.local.flush_watch import HANGING_SECONDS
from lockstep_store.runtime.storage.sqlite_files import reports_damage
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError, StorageFull, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SQLITE_FULL = 13
WAIT_SECONDS = 10.0
_REBUILDING = "the file server rebuilds its damaged index: try again in a moment"
_HANGS = f"the file server's disk hangs: a flush has not completed for over {HANGING_SECONDS:.0f} seconds"


class StorageHealth:
    """The last disk error, until a probe succeeds, and whether the disk hangs. Thread-safe."""

    def __init__(self, on_malformed: Callable[[], None] = lambda: None) -> None:
        """`on_malformed` is called when the index itself is damaged and must be rebuilt."""
        self._on_malformed = on_malformed
        self._malformed = False
        self._problem = ""
        self._hangs = False
        self._guard = threading.Lock()
        self._under_way = 0
        self._rebuilding = False
        self._none_under_way = threading.Condition()

    @property
    def problem(self) -> str:
        """Say what is wrong, as a clause for people; empty when nothing is."""
        return self._problem or (_HANGS if self._hangs else "")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raise an error of the disk or the index as StorageFull or Unavailable, and remember it."""
        with self._none_under_way:
            if self._rebuilding:
                raise Unavailable(_REBUILDING)
            self._under_way += 1
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise self.failed(error) from error
        finally:
            with self._none_under_way:
                self._under_way -= 1
                if self._rebuilding and not self._under_way:
                    self._none_under_way.notify()

    @property
    def needs_rebuild(self) -> bool:
        """Whether the index itself is damaged."""
        return self._malformed

    @contextmanager
    def rebuilding(self) -> Iterator[bool]:
        """Refuse everything for the length of the block, and let what is under way end first: whether it did.

        The damage is over when the block ends without an error.
        """
        with self._none_under_way:
            self._rebuilding = True
            idle = self._none_under_way.wait_for(lambda: not self._under_way, WAIT_SECONDS)
        try:
            yield idle
            self._malformed = not idle
        finally:
            self._rebuilding = False

    def failed(self, error: Exception) -> LockstepError:
        """Remember `error` and return the refusal for the caller."""
        refusal = _refusal(error)
        if not self._malformed and reports_damage(error):
            self._malformed = True
            self._on_malformed()
        with self._guard:
            if self._problem != refusal.detail:
                log.error("storage problem: %s (%s)", refusal.detail, error)
            self._problem = refusal.detail
        return refusal

    def note_hanging(self, hangs: bool) -> None:
        """Set whether the disk hangs, as FlushWatch found. It needs no probe: a completed flush is proof enough."""
        if hangs and not self._hangs:
            log.error("storage problem: %s", _HANGS)
        elif self._hangs and not hangs:
            log.info("the disk completes flushes again")
        self._hangs = hangs

    def refuse_if_hanging(self) -> None:
        """Raise Unavailable while the disk hangs, because the caller would only wait."""
        if self._hangs:
            raise Unavailable(_HANGS)

    def recovered(self) -> None:
        """Forget the last error: a probe succeeded. A damaged index stays a problem."""
        with self._guard:
            if self._malformed:
                return
            if self._problem:
                log.info("storage takes writes again")
            self._problem = ""


def _refusal(error: Exception) -> LockstepError:
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageFull("the file server's disk is full: free space on it, or add a file server")
    if isinstance(error, sqlite3.Error) and _primary_code(error) == _SQLITE_FULL:
        return StorageFull("the file server's disk is full: free space on it, or add a file server")
    if isinstance(error, OSError):
        return Unavailable(f"the file server's disk failed ({error.strerror or error})")
    if reports_damage(error):
        return Unavailable(
            f"the file server's index is damaged ({error}): it is being rebuilt; what is lost is copied from other "
            "servers"
        )
    return Unavailable(f"the file server's index failed ({error}): check its disk")


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
