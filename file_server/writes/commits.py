"""Commits: a master tells the directory what is durable where, many writes in one call.

The directory's answer is the only truth. One that was lost on the way is asked for again with the same ticket, which
gives the same version; how often a write is committed is the directory's to see to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from lockstep_store.runtime.clock import Clock
from lockstep_store.runtime.peers.coalescing import Coalescer
from lockstep_store.runtime.peers.protocols import Caller
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.crash_points import crash_point
from lockstep_store.wire.errors import LockstepError, PeerUnreachable
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import COMMIT, CommitItem, CommitReply, CommitRequest

GIVE_UP_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 1.0


class Committed(NamedTuple):
    """What the directory answered: the version made, its copies, and its place in the journal."""

    version: FileVersion
    copies: int
    cursor: int


class CommitClient:
    """Commits writes at the directory. Thread-safe."""

    def __init__(
        self,
        peers: Caller,
        directory_url: str,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
        give_up_seconds: float = GIVE_UP_SECONDS,
        on_committed: Callable[[str, FileVersion], None] = lambda ticket, version: None,
    ) -> None:
        self._peers = peers
        self._directory_url = directory_url
        self._clock = clock
        self._pause = pause
        self._give_up_seconds = give_up_seconds
        self._on_committed = on_committed
        self._coalescer: Coalescer[CommitItem, Committed] = Coalescer(self._send, max_in_flight=2)

    def commit(self, item: CommitItem) -> Committed:
        """Make the write true, or raise the directory's refusal.

        PeerUnreachable when the directory gave no answer for 15 s: the write may then be committed or not, and
        beginning it again under the same write id tells.
        """
        return self._coalescer.submit(item)

    def commit_all(self, items: list[CommitItem]) -> list[Committed | LockstepError]:
        """The same for several writes in one call: each one's version, or its refusal."""
        return self._send(items)

    def _send(self, items: list[CommitItem]) -> list[Committed | LockstepError]:
        crash_point("file_server.commit.asking")
        reply = self._ask(CommitRequest(items))
        crash_point("file_server.commit.answered")
        outcomes: list[Committed | LockstepError] = []
        for item, result in zip(items, reply.results, strict=False):
            try:
                committed = result.unwrap()
                outcomes.append(Committed(committed.version, committed.copies, reply.cursor))
                self._on_committed(item.ticket, committed.version)
            except LockstepError as error:
                outcomes.append(error)
        return outcomes

    def _ask(self, request: CommitRequest) -> CommitReply:
        deadline = self._clock.monotonic() + self._give_up_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._peers.call(self._directory_url, COMMIT, request)
            except PeerUnreachable as error:
                if self._clock.monotonic() + pause >= deadline:
                    raise
                log.warning("no answer to a commit of %d writes (%s); asking again", len(request.items), error)
            self._pause(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
