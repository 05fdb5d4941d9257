"""Read leases: answers hot look-ups from memory. The directory announces each change before it takes effect.

A reply may be used again while its lease is neither broken nor run out and the session with the directory lasts. Both
times count from the *sending* of the request, so they end here before they end there, on a clock that goes on while the
machine sleeps. A break is carried out before it is confirmed, and until then nobody sees the change. A reply from here
is therefore the one that the directory would have given at that moment.

A lease covers the identity and the kind of the request, not one request: the doors have checked its signature before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from client_proxy.metrics import LEASE_BREAKS, LEASED_LOOKUPS
from lockstep_store.runtime.bounded import BoundedMap
from lockstep_store.runtime.clock import seconds_since_boot
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.errors import LockstepError, NotFound
from lockstep_store.wire.messages.files import FileVersion, LookupItem
from lockstep_store.wire.messages.read_leases import (
    MAX_DROPPED,
    SHARE_OF_PROXY,
    ReadLease,
    ReadLeasesReply,
    ReadLeasesRequest,
)
from lockstep_store.wire.messages.s3 import S3Proof
from lockstep_store.wire.messages.s3_access import S3Access

MAX_LEASES = 4000
MAX_SEEN = 10_000
HOT_SECONDS = 2.0
"""A path gets a lease when it is looked up twice within this time."""
IDLE_SECONDS = 5.0
"""How long a session is held open although nothing is leased."""
POLL_SECONDS = 0.6
"""A third of a session's term: one poll may be lost without harm."""
POLL_PATIENCE_SECONDS = 2.0
RETRY_SECONDS = 0.2
REFUSED_SECONDS = 60.0
"""The pause after an older directory has refused: it knows no leases."""

LeaseKey = tuple[str | bool, ...]
Ask = Callable[[ReadLeasesRequest, float], ReadLeasesReply]


class Found(NamedTuple):
    """A version, and the journal cursor at which the directory found it. `leased`: an earlier read found it."""

    version: FileVersion
    cursor: int
    leased: bool = False


@dataclass(eq=False)
class HeldSession:
    """One session with the directory. Its leases are valid until `until` at most, on the clock `elapsed`."""

    id: str
    until: float
    done: int = 0


class _Entry(NamedTuple):
    found: Found
    until: float
    session: HeldSession
    lease: int


def lease_key(item: LookupItem) -> LeaseKey | None:
    """Return what all look-ups of one kind by one identity share; None for those that are never leased.

    Address, agent and time are not in it: the directory grants no lease where a policy's condition asks for them.
    """
    if item.version is not None:
        return None
    kind, identity, action, owner = "plain", item.credential, "", ""
    access = S3Access.decode(item.credential)
    if access is not None:
        if access.source_action or access.source_owner:
            return None
        kind, identity, action, owner = "door", access.credential, access.action, access.owner
        proof = S3Proof.decode(identity)
        if proof is not None:
            kind, identity = proof.service, proof.access_key_id
    return (
        item.bucket,
        item.path,
        kind,
        identity,
        action,
        owner,
        item.with_settings,
        item.with_lock,
        item.reads_content,
    )


class ReadLeases:
    """The leases of this run of the proxy. Thread-safe.

    `ask` polls the directory, with a time-out. `step` is a background job, which `wake` starts before its time.
    `elapsed` is a clock that never goes back and never stands still.
    """

    def __init__(self, ask: Ask, *, elapsed: Callable[[], float] = seconds_since_boot) -> None:
        self._ask = ask
        self.elapsed = elapsed
        self.wake: Callable[[], None] = lambda: None
        self._guard = threading.Lock()
        self._session: HeldSession | None = None
        self._entries: dict[LeaseKey, _Entry] = {}
        self._keys: dict[int, LeaseKey] = {}
        self._dropped: list[int] = []
        self._seen: BoundedMap[LeaseKey, float] = BoundedMap(MAX_SEEN)
        self._wanted_at = self._not_before = float("-inf")

    # ------------------------------------------------------------ look-ups

    def find(self, key: LeaseKey) -> Found | None:
        """Return the leased reply to look-ups like this one; None when the directory must be asked."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        # The clock is read last, so that a thread held up between the two lines finds the lease ended.
        now = self.elapsed()
        if now >= entry.until or now >= entry.session.until:
            return None
        LEASED_LOOKUPS.inc()
        return entry.found

    def is_wanted(self, key: LeaseKey) -> bool:
        """Whether to ask for a lease: an equal look-up was made a moment ago, and there is a session."""
        now = self.elapsed()
        last = self._seen.get(key)
        self._seen[key] = now
        if last is None or now - last > HOT_SECONDS:
            return False
        self._wanted_at = now
        if self._session is None:
            if now >= self._not_before:
                self.wake()
            return False
        return True

    @property
    def session(self) -> HeldSession | None:
        """The session to name in a look-up, and to pass to `keep`."""
        return self._session

    def keep(self, session: HeldSession, lease: ReadLease, key: LeaseKey, found: Found, sent: float) -> None:
        """Use a reply again while its lease lasts. `sent` is when the look-up was sent."""
        entry = _Entry(found._replace(leased=True), sent + SHARE_OF_PROXY * lease.seconds, session, lease.id)
        with self._guard:
            if session is not self._session:
                return  # not dropped: after a restart of the directory, the new session may have a lease of this id
            # A break may overtake the reply that grants: one that was confirmed since may be about this lease.
            if lease.as_of < session.done:
                self._dropped.append(lease.id)
                return
            self._remove(key)
            if len(self._entries) >= MAX_LEASES:
                self._remove(next(iter(self._entries)))
            self._entries[key] = entry
            self._keys[lease.id] = key

    def _remove(self, key: LeaseKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._keys.pop(entry.lease, None)
            self._dropped.append(entry.lease)

    # ------------------------------------------------------------ the session

    def step(self) -> float:
        """Hold the session open, and carry out what it brings. Returns the seconds until the next step."""
        with self._guard:
            self._remove_old()
            if not self._entries and not self._dropped and self.elapsed() - self._wanted_at > IDLE_SECONDS:
                self._forget()
                return REFUSED_SECONDS
            session, dropped = self._session, self._dropped[:MAX_DROPPED]
            del self._dropped[:MAX_DROPPED]
        sent = self.elapsed()
        request = ReadLeasesRequest("", 0, [], 0.0)
        if session is not None:
            request = ReadLeasesRequest(session.id, session.done, dropped, POLL_SECONDS)
        try:
            reply = self._ask(request, POLL_SECONDS + POLL_PATIENCE_SECONDS)
        except LockstepError as error:
            log.debug("no read leases for now: %s", error)
            pause = REFUSED_SECONDS if isinstance(error, NotFound) else RETRY_SECONDS
            self._not_before = self.elapsed() + pause
            return pause
        with self._guard:
            return self._take(session, sent, reply)

    def _remove_old(self) -> None:
        now = self.elapsed()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.until > now:
                return
            self._remove(key)

    def _take(self, session: HeldSession | None, sent: float, reply: ReadLeasesReply) -> float:
        until = sent + SHARE_OF_PROXY * reply.term_seconds
        if not reply.session:
            self._forget()
            return RETRY_SECONDS if session is None else 0.0
        if session is None:
            # A new object, so that an entry of an earlier session ends with it, however late a reader looks.
            self._session = HeldSession(reply.session, until)
            return 0.0
        for id in reply.broken:
            if (key := self._keys.get(id)) is not None:
                self._remove(key)
                LEASE_BREAKS.inc()
        session.done = max(session.done, reply.through)
        if reply.extended:
            session.until = max(session.until, until)
        return 0.0 if reply.broken else reply.pause_seconds

    def _forget(self) -> None:
        self._session = None
        self._entries.clear()
        self._keys.clear()
        self._dropped.clear()

    def __len__(self) -> int:
        """How many replies are leased."""
        return len(self._entries)
