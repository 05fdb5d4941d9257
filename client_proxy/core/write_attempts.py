"""Tries a write with one master after another, and settles the outcome of attempts whose reply was lost.

An attempt begins at the directory, which returns a ticket and a master, or the version if the write is already
committed. After a failure the write is begun again under the same write id, so it is never committed twice. When no
attempt succeeded and one of them may still be committed, the directory is asked to give the write up: it returns the
version, or promises that there will be none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from client_proxy.core.directory_client import DirectoryClient, undecided
from client_proxy.metrics import LINKED, WRITE_FAILOVERS
from lockstep_store.runtime.backoff import JITTER, pause_after
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import (
    Forbidden,
    LockstepError,
    NotFound,
    NotLoggedIn,
    Overloaded,
    PeerUnreachable,
    PreconditionFailed,
    StorageFull,
    TicketRefused,
    TooFewHolders,
    Unavailable,
)
from lockstep_store.wire.messages.files import CommittedReply, Holder
from lockstep_store.wire.messages.writes import BeginItem, BeginReplyItem

ATTEMPTS = 5
PAUSE_SECONDS = 0.1
"""Doubled with each attempt. The pauses together outlast a heartbeat, after which a server that is back, or was wrongly
believed unreachable, accepts writes again."""
AVOID_SECONDS = 5.0
"""How long a master is avoided after a call to it timed out. By then the directory knows."""

R = TypeVar("R")


class WriteAttempts:
    """Tries writes with several masters. Thread-safe; remembers for a short time which masters timed out."""

    def __init__(
        self,
        directory: DirectoryClient,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = JITTER,
    ) -> None:
        self._directory = directory
        self._sleep = sleep
        self._monotonic = monotonic
        self._jitter = jitter
        self._unreachable_until: dict[str, float] = {}

    def with_masters(
        self,
        item: BeginItem,
        begun: BeginReplyItem | None,
        use: Callable[[BeginReplyItem, Holder], R],
        begin: Callable[[BeginItem], BeginReplyItem] | None = None,
    ) -> R | CommittedReply:
        """The result of `use` with the first master that works, or the version that the write id already has.

        `begin` may also send the write: then `use` knows what came of that.

        A rejected ticket has expired, or a lock was granted since. Beginning again finds out whether the write is still
        allowed.
        """
        lost = False
        too_few: TooFewHolders | None = None
        if self._unreachable_until:
            now = self._monotonic()
            avoided = [id for id, until in list(self._unreachable_until.items()) if until > now]
            item = msgspec.structs.replace(item, exclude=avoided)
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                begun = begun or (begin or self._begin)(item)
                if begun.version is not None:
                    return linked(begun)
                return use(begun, _master(begun))
            except (PreconditionFailed, NotFound, NotLoggedIn, Forbidden) as refusal:
                if lost:
                    return self.settled(item, refusal)
                raise
            except (Unavailable, TicketRefused) as error:
                lost = lost or (begun is not None and _may_be_committed_late(error))
                too_few = error if isinstance(error, TooFewHolders) else too_few
                if not attempts_left or not (begun or item.exclude or isinstance(error, TooFewHolders)):
                    # A last master that is gone too is a part of that problem, and says less.
                    last = too_few if too_few is not None and isinstance(error, PeerUnreachable) else error
                    if lost:
                        return self.settled(item, last)
                    raise last from last.__cause__
                item = msgspec.structs.replace(self.avoiding(item, begun, error), attempt=item.attempt + 1)
            begun = None
            self._sleep(pause_after(ATTEMPTS - attempts_left, PAUSE_SECONDS, jitter=self._jitter))
        raise Unavailable(f"{item.path!r} could not be written: every attempt failed; try again")

    def _begin(self, item: BeginItem) -> BeginReplyItem:
        begun = self._directory.begin(item)
        if begun.version is None:
            crash_point("proxy.begin.answered")
        return begun

    def settled(self, item: BeginItem, error: LockstepError) -> CommittedReply:
        """The version of a failed write that was committed after all; else raise `error`, and it is never committed.

        Undecided when the directory could not be asked to give the write up: only then is the outcome unknown.
        """
        if item.upload is not None and not item.upload.part:
            # All completions of an upload share one id: once given up, the upload could never be completed.
            raise undecided(error) from error
        try:
            found = self._directory.give_up(item)
        except LockstepError as unknown:
            raise undecided(error) from unknown
        if found.version is None:
            raise error
        return CommittedReply(cursor=found.version.cursor, version=found.version, copies=found.copies)

    def avoiding(self, item: BeginItem, begun: BeginReplyItem | None, error: LockstepError) -> BeginItem:
        """Return `item` for the next attempt: without the failed master, or with all servers if too few were left."""
        if begun is None or begun.master is None:
            self._unreachable_until.clear()
            return msgspec.structs.replace(item, exclude=[])
        master = begun.master.id
        WRITE_FAILOVERS.inc()
        log.warning("file server %s failed as master of %r: %s", master, item.path, error)
        if isinstance(error, TicketRefused | TooFewHolders | Overloaded):
            # The directory treats an excluded server as unreachable. Excluding a busy one would overload the next.
            return item
        if isinstance(error.__cause__, TimeoutError):
            # Only time-outs cost the next write something. A server that is excluded although it is back counts as
            # unreachable, which hurts when another one really is.
            self._unreachable_until[master] = self._monotonic() + AVOID_SECONDS
        return msgspec.structs.replace(item, exclude=[*item.exclude, master])


def linked(begun: BeginReplyItem) -> CommittedReply:
    """The reply to a write that the directory committed when it was begun."""
    assert begun.version is not None
    LINKED.inc()
    return CommittedReply(cursor=begun.version.cursor, version=begun.version, copies=begun.copies)


def _master(begun: BeginReplyItem) -> Holder:
    if begun.master is None or begun.ticket is None:
        raise Unavailable("the directory returned no file server to write to; try again")
    return begun.master


def _may_be_committed_late(error: LockstepError) -> bool:
    """Whether the attempt that ended with `error` may still be committed: its master has not ruled that out."""
    return isinstance(error, Unavailable) and not isinstance(error, TooFewHolders | StorageFull | Overloaded)
