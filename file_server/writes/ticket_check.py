"""Decides which writes this file server accepts: the rules for tickets, with time and keys as arguments.

The directory signs a ticket for one write. A file server gets the key and the directory's time with its registration
and heartbeats (directory_link.py). The chunk store checks fences, because they must be durable.
"""

from __future__ import annotations

import threading

from file_server.store.chunk_store import Fence
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import TicketRefused, Unavailable
from lockstep_store.wire.messages.servers import Hop
from lockstep_store.wire.messages.writes import WriteTicket
from lockstep_store.wire.tickets import TicketSigner

MAX_BEGUN_AGAIN = 10_000
"""How many writes that were begun again are remembered. They are rare. Forgetting one, by number or by a restart, at
most admits bytes from an abandoned master: nothing refers to them, and the directory refuses their commit."""


class DirectoryTime:
    """The directory's count of seconds, continued by the monotonic clock between heartbeats."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None

    def learn(self, directory_time: float, asked_at: float) -> None:
        """Set the time from a reply to a call made at `asked_at` (monotonic seconds).

        It counts as the time of the request, so this server is ahead by the length of the call: tickets expire here a
        moment before they do at the directory, never after.
        """
        self._offset = directory_time - asked_at

    def now(self) -> float | None:
        """Return seconds of directory time, None before the first reply."""
        return None if self._offset is None else self._clock.monotonic() + self._offset


class TicketCheck:
    """Checks tickets for the file server `own_id`."""

    def __init__(self, own_id: str, time: DirectoryTime) -> None:
        self._own_id = own_id
        self._time = time
        self._signer: TicketSigner | None = None
        self._refusal = ""
        self._begun_again: BoundedMap[str, int] = BoundedMap(MAX_BEGUN_AGAIN)
        self._guard = threading.Lock()

    def trust(self, key: bytes) -> None:
        """Accept only tickets signed with `key` from now on."""
        self._signer = TicketSigner(key)
        self._refusal = ""

    def distrust(self, reason: str) -> None:
        """Accept no tickets until the next `trust`."""
        self._refusal = reason

    @property
    def key_id(self) -> str:
        """Return the id of the trusted key; empty before there is one."""
        return self._signer.key_id if self._signer is not None else ""

    def check(self, text: str, hop: Hop) -> WriteTicket:
        """Return the ticket in `text` if this server may act on it; TicketRefused otherwise.

        Unavailable before the first registration, when no ticket can be verified.
        """
        if self._refusal:
            raise TicketRefused(f"this file server accepts no writes: {self._refusal}")
        now = self._time.now()
        if self._signer is None or now is None:
            raise Unavailable("this file server has not reached the directory server yet; try again in a moment")
        ticket = self._signer.verify(text, now)
        if ticket.lease_until and now > ticket.lease_until:
            raise TicketRefused("the lease of this write's lock has expired; begin the write again", expired=True)
        if hop == "master":
            allowed = [ticket.master]
        else:
            allowed = [*ticket.replicas, *ticket.spares]
        if all(holder.id != self._own_id for holder in allowed):
            raise TicketRefused(
                f"the write ticket does not name file server {self._own_id} as a {hop}; begin the write again"
            )
        self._check_attempt(ticket)
        return ticket

    def _check_attempt(self, ticket: WriteTicket) -> None:
        """Raise TicketRefused if the write was begun again with another master: this one was abandoned."""
        with self._guard:
            if ticket.attempt < self._begun_again.get(ticket.write_id, 0):
                raise TicketRefused("this write was begun again with another master; this attempt is refused")
            if ticket.attempt:
                self._begun_again[ticket.write_id] = ticket.attempt


def check_content(ticket: WriteTicket, digest: Digest, size: int) -> None:
    """Raise TicketRefused if the ticket is for other content."""
    if ticket.digest is not None and ticket.digest != digest:
        raise TicketRefused(f"the write ticket is for content {ticket.digest}, not {digest}; begin the write again")
    if ticket.size is not None and ticket.size != size:
        raise TicketRefused(f"the write ticket is for {ticket.size} bytes, not {size}; begin the write again")


def fence_of(ticket: WriteTicket) -> Fence:
    """Return the fence that a ticket's write must pass on its path.

    A part of an upload changes no path, so a lock does not stop it: completing the upload needs one.
    """
    if ticket.upload is not None and ticket.upload.part:
        return Fence(f"{ticket.bucket}/{ticket.path}/{ticket.upload.id}", 0)
    return Fence(f"{ticket.bucket}/{ticket.path}", ticket.fence)
