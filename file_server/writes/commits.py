"""Commits a master's writes at the directory, many in one call.

A commit names the servers that have the blob. If the directory's reply is lost, the commit is sent again with the same
ticket; the directory commits each write once and returns the same version.
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
from lockstep_store.wire.errors import LockstepError, PeerUnreachable, Starting
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.servers import COMMIT, CommitItem, CommitReply, CommitRequest

GIVE_UP_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 1.0


class Committed(NamedTuple):
    """A committed write: its version, its number of copies, and its cursor in the journal."""

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
        """Commit the write, or raise the directory's refusal.

        PeerUnreachable after 15 s without a reply: the write may be committed or not. Beginning it again under the same
        write id shows which.
        """
        return self._coalescer.submit(item)

    def commit_all(self, items: list[CommitItem]) -> list[Committed | LockstepError]:
        """Commit several writes in one call; return each one's commit or refusal."""
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
            except (PeerUnreachable, Starting) as error:
                if self._clock.monotonic() + pause >= deadline:
                    raise
                log.warning("no reply to a commit of %d writes (%s); retrying", len(request.items), error)
            self._pause(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
