"""Read leases: the directory's promise to a proxy to announce a change to a reply before the change takes effect.

A proxy asks for leases with its look-ups (`LookupItem.wants_lease`), and holds a session open with READ_LEASES: a long
poll whose reply names the leases that are broken, and whose next request confirms that they are no longer used. A
session's leases are valid for `term_seconds` after the proxy *sent* the last poll that extended it, less an allowance
for clocks of different speed.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Message, Text

TERM_SECONDS = 2.0
"""How long the directory waits, at most, for a proxy that does not confirm a break."""
LEASE_SECONDS = 10.0
"""How old the reply behind a lease may become before it is looked up again."""
SHARE_OF_PROXY = 0.9
"""The part of each of these times for which a proxy trusts a lease: clocks may differ in speed by a tenth."""
MAX_DROPPED = 1000
MAX_POLL_SECONDS = 1.0
LeaseId = Annotated[int, Meta(ge=1)]


class ReadLease(Message):
    """A lease on the reply to one item of a look-up. `as_of` is the session's newest break when it was granted."""

    item: Annotated[int, Meta(ge=0)]
    id: LeaseId
    seconds: float
    as_of: int = 0


class ReadLeasesRequest(Message):
    """Hold a session open; without `session`, begin one. `done` is the newest break that has been carried out."""

    session: Text = ""
    done: Annotated[int, Meta(ge=0)] = 0
    dropped: Annotated[list[LeaseId], Meta(max_length=MAX_DROPPED)] = []
    """Leases that the proxy has given up of its own accord."""
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_POLL_SECONDS)] = 0.0
    """How long the reply may wait for a break."""


class ReadLeasesReply(Message):
    """`broken` are the leases of every break up to number `through` that was not confirmed.

    An empty `session`: the session has ended, and none of its leases is valid. `extended`: the session's leases are
    valid for `term_seconds` from the sending of the request.
    """

    session: Text = ""
    extended: bool = False
    term_seconds: float = 0.0
    broken: list[LeaseId] = []
    through: int = 0
    pause_seconds: float = 0.0
    """Too many polls wait at the directory: send the next one after this time."""


READ_LEASES = Call("/v1/read-leases", ReadLeasesRequest, ReadLeasesReply)
