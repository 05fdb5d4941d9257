"""Locks, waiters and leases: the calls from client proxies to the directory."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import (
    Bucket,
    Credential,
    CredentialRequest,
    FrozenMessage,
    Message,
    Nothing,
    PathText,
    Text,
    WriteId,
)

MAX_LOCK_PATHS = 100
MAX_LISTED_LOCKS = 1000
MAX_WAIT_SECONDS = 30.0
MAX_LEASE_SECONDS = 3600.0
"""For programs, which renew their locks."""
LONGEST_LEASE_SECONDS = 30 * 86400.0
"""For people, who keep a lock until they release it, as those of Git LFS do."""
DEFAULT_LEASE_SECONDS = 60.0


class LockPath(FrozenMessage, frozen=True):
    bucket: Bucket
    path: PathText


class AcquireRequest(Message):
    """Acquire a lock on all of `paths`, or on none of them.

    `client` names the agent (one shell, one script, one menu). It is shown to others, and the deadlock search treats it
    as one party; without it, the credential's session is the party.
    """

    credential: Credential
    paths: Annotated[list[LockPath], Meta(min_length=1, max_length=MAX_LOCK_PATHS)]
    request_id: WriteId
    """Makes the call safe to repeat: one id never gets two locks or two places in the queue."""
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0.0
    lease_seconds: Annotated[float, Meta(ge=1, le=LONGEST_LEASE_SECONDS)] = DEFAULT_LEASE_SECONDS
    queue: bool = False
    """Keep the place in the queue after `wait_seconds`. False: the place is lost when the call fails."""
    client: Text = ""


class LockInfo(Message):
    """A lock. Lock numbers only rise; a lock on several paths has one number."""

    id: str
    number: int
    paths: list[LockPath]
    account: str
    client: str
    since_at: float
    until_at: float
    seconds_left: float
    lease_seconds: float
    waiters: int = 0


class WaiterInfo(Message):
    id: str
    paths: list[LockPath]
    account: str
    client: str
    place: int
    """1 is the next to get the lock."""
    since_at: float


class AcquireReply(Message):
    """The lock, or a place in the queue: `lock` or `waiter` is set. `holders` are the locks in the waiter's way."""

    lock: LockInfo | None = None
    waiter: WaiterInfo | None = None
    holders: list[LockInfo] = []


class RenewRequest(Message):
    credential: Credential
    lock_id: Text
    lease_seconds: Annotated[float, Meta(ge=1, le=LONGEST_LEASE_SECONDS)] | None = None


class LocksRequest(CredentialRequest):
    """A page of the locks and then of the places in line, the oldest first.

    With `on`, only the locks on these paths, all at once. An older directory answers with the page.
    """

    after: Text = ""
    """`next_after` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED_LOCKS)] = MAX_LISTED_LOCKS
    on: Annotated[list[LockPath], Meta(max_length=MAX_LISTED_LOCKS)] = []


class LocksReply(Message):
    locks: list[LockInfo]
    waiters: list[WaiterInfo]
    next_after: str = ""
    """Ask with it for the next page; empty on the last."""


class ReleaseRequest(Message):
    """Release a lock, or leave the queue: `lock_id` can also be the id of a waiter or of an acquire request.

    `break_lock`: an administrator or the bucket's owner takes the lock from its holder, who gets to know the `reason`.
    """

    credential: Credential
    lock_id: Text
    break_lock: bool = False
    reason: Text = ""


class LockChangesRequest(Message):
    """Wait up to `wait_seconds` until the locks and the queue have another revision than `seen`.

    It is a proxy's own call, and the reply names nothing: the proxy then lists the locks of each person who listens.
    """

    seen: int | None = None
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0.0


class LockChangesReply(Message):
    """Equal revisions mean that no lock and no place in the queue came or went, also over a restart."""

    revision: int


ACQUIRE = Call("/v1/locks/acquire", AcquireRequest, AcquireReply)
RENEW = Call("/v1/locks/renew", RenewRequest, LockInfo)
RELEASE = Call("/v1/locks/release", ReleaseRequest, Nothing)
LOCKS = Call("/v1/locks", LocksRequest, LocksReply)
LOCK_CHANGES = Call("/v1/locks/changes", LockChangesRequest, LockChangesReply)
