"""Which writes this file server accepts: the rules of a ticket, with time and keys as arguments.

The directory signs a ticket for one write; a file server learns the key and the directory's time from its
registration and heartbeats (directory_link.py). Fences are checked by the chunk store, because they must be durable.
"""

from __future__ import annotations

import threading

from file_server.store.chunk_store import Fence
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.clock import Clock
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import TicketRefused, Unavailable
from lockstep_store.wire.messages.files import WriteTicket
from lockstep_store.wire.messages.servers import Hop
from lockstep_store.wire.tickets import TicketSigner

MAX_BEGUN_AGAIN = 10_000
"""Writes of which it is remembered that they were begun again. Those are few; and forgetting one early, or in a
restart, lets a late master's bytes in at most: nothing refers to them, and the directory refuses its commit."""


class DirectoryTime:
    """The directory's own count of seconds, carried on here by the monotonic clock between heartbeats."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None

    def learn(self, directory_time: float, asked_at: float) -> None:
        """The directory said `directory_time` in answer to a call made at `asked_at` (monotonic seconds).

        Taken as the time of the question, so that this server is ahead by the length of the call: tickets end here
        a moment before they do at the directory, never after.
        """
        self._offset = directory_time - asked_at

    def now(self) -> float | None:
        """Seconds of directory time, None before the first answer."""
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
        """Accept tickets made with `key` from now on, and no others."""
        self._signer = TicketSigner(key)
        self._refusal = ""

    def distrust(self, reason: str) -> None:
        """Accept no tickets at all until the next `trust`."""
        self._refusal = reason

    @property
    def key_id(self) -> str:
        """Tells the trusted key from others; empty before there is one."""
        return self._signer.key_id if self._signer is not None else ""

    def check(self, text: str, hop: Hop) -> WriteTicket:
        """The ticket in `text` if this server may act on it; TicketRefused otherwise.

        Unavailable before the first registration, when no ticket can be judged.
        """
        if self._refusal:
            raise TicketRefused(f"this file server takes no writes: {self._refusal}")
        now = self._time.now()
        if self._signer is None or now is None:
            raise Unavailable("this file server has not reached the directory server yet; try again in a moment")
        ticket = self._signer.verify(text, now)
        if ticket.lease_until and now > ticket.lease_until:
            raise TicketRefused(
                "the lease of the lock under which this write began is over; begin the write again", expired=True
            )
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
        """TicketRefused for the late push of a master that was given up: its write was begun again since."""
        with self._guard:
            if ticket.attempt < self._begun_again.get(ticket.write_id, 0):
                raise TicketRefused("this write was begun again since, with another master; nothing of this is taken")
            if ticket.attempt:
                self._begun_again[ticket.write_id] = ticket.attempt


def check_content(ticket: WriteTicket, digest: Digest, size: int) -> None:
    """TicketRefused when the ticket was made for other content than what arrived."""
    if ticket.digest is not None and ticket.digest != digest:
        raise TicketRefused(f"the write ticket is for content {ticket.digest}, not {digest}; begin the write again")
    if ticket.size is not None and ticket.size != size:
        raise TicketRefused(f"the write ticket is for {ticket.size} bytes, not {size}; begin the write again")


def fence_of(ticket: WriteTicket) -> Fence:
    """The lock number that holders must not have seen exceeded on the ticket's path.

    A part of an upload changes no path, so no lock on it is in its way: completing the upload will be asked for one.
    """
    if ticket.upload is not None and ticket.upload.part:
        return Fence(f"{ticket.bucket}/{ticket.path}/{ticket.upload.id}", 0)
    return Fence(f"{ticket.bucket}/{ticket.path}", ticket.fence)
