"""The menu's requests about the cluster: locks and the queue, servers and copies."""

from __future__ import annotations

import time

from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.client.text import cluster, formatting
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.locks import LockInfo


class StateRequests:
    """Requests about locks and the cluster. `account` is the person's own."""

    def __init__(self, api: ApiCalls, terminal: Terminal) -> None:
        self._api = api
        self._terminal = terminal
        self._numbered: list[LockInfo] = []
        self.account = ""

    def locks(self, argument: str) -> None:
        """List the person's own locks, the others and the queue. Remembers numbers for `release N` and `break N`."""
        text, self._numbered = formatting.locks_text(self._api.locks(), self.account, time.time(), self._terminal.width)
        self._terminal.say(text)
        if any(lock.account == self.account for lock in self._numbered):
            self._terminal.say('Type "release 1" to release one of yours.')

    def release(self, number: str) -> bool:
        """Release one of the person's own locks."""
        lock = self._lock(number, "release")
        self._api.release(lock.id)
        self._terminal.say(f"released {formatting.safe(formatting.paths_of(lock.paths))}")
        return True

    def break_lock(self, argument: str) -> bool:
        """Break a lock: its number, and a reason if there is one. Only administrators and the bucket's owner may."""
        number, _, reason = argument.partition(" ")
        lock = self._lock(number, "break")
        self._api.release(lock.id, break_lock=True, reason=reason.strip())
        self._terminal.say(
            f"broke the lock of {formatting.safe(lock.account)} on {formatting.safe(formatting.paths_of(lock.paths))}; "
            f"writes under number {lock.number} are refused"
        )
        return True

    def cluster(self, argument: str) -> None:
        """Show servers, counts and copies."""
        self._terminal.say(cluster.cluster_text(self._api.status(), self._terminal.width))

    def _lock(self, number: str, what: str) -> LockInfo:
        if not number.isdecimal() or not 1 <= int(number) <= len(self._numbered):
            raise BadRequest(f"show the locks first (8), then type {what} and a number from that list")
        return self._numbered[int(number) - 1]
