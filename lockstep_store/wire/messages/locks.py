"""Locks, waiters and leases: what client proxies ask of the directory about them. See wire/messages/files.py."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.files import (
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
MAX_WAIT_SECONDS = 30.0
MAX_LEASE_SECONDS = 3600.0
DEFAULT_LEASE_SECONDS = 60.0


class LockPath(FrozenMessage, frozen=True):
    bucket: Bucket
    path: PathText


class AcquireRequest(Message):
    """Ask for all of `paths`, all or nothing. With `waiter`, keep that place in the queue.

    `client` names the agent that asks (one shell, one script, one menu); it is shown to others and is what the search
    for deadlocks takes as one party. Without it the credential's session is the party.
    """

    credential: Credential
    paths: Annotated[list[LockPath], Meta(min_length=1, max_length=MAX_LOCK_PATHS)]
    request_id: WriteId
    """Makes the call safe to repeat: the same id never takes two locks or two places."""
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0.0
    lease_seconds: Annotated[float, Meta(ge=1, le=MAX_LEASE_SECONDS)] = DEFAULT_LEASE_SECONDS
    queue: bool = False
    """Keep a place in the queue although `wait_seconds` is over. False: a refusal leaves no place behind."""
    client: Text = ""


class LockInfo(Message):
    """A lock. Numbers only ever rise. One lock of several paths has one number."""

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
    """1 is next in line."""
    since_at: float


class AcquireReply(Message):
    """Exactly one of `lock` and `waiter` is set; with `waiter`, `holders` are the locks in the way."""

    lock: LockInfo | None = None
    waiter: WaiterInfo | None = None
    holders: list[LockInfo] = []


class RenewRequest(Message):
    credential: Credential
    lock_id: Text
    lease_seconds: Annotated[float, Meta(ge=1, le=MAX_LEASE_SECONDS)] | None = None


class LocksReply(Message):
    locks: list[LockInfo]
    waiters: list[WaiterInfo]


class ReleaseRequest(Message):
    """Release a lock, or give up a place in the queue (`lock_id` may be a waiter's id or an acquire's request id).

    `break_lock`: an administrator or the owner of its bucket takes it from its holder."""

    credential: Credential
    lock_id: Text
    break_lock: bool = False


ACQUIRE = Call("/v1/locks/acquire", AcquireRequest, AcquireReply)
RENEW = Call("/v1/locks/renew", RenewRequest, LockInfo)
RELEASE = Call("/v1/locks/release", ReleaseRequest, Nothing)
LOCKS = Call("/v1/locks", CredentialRequest, LocksReply)
