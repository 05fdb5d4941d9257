"""The routes for locks: acquire (and wait in line), list, renew, release, break.

The directory grants locks and keeps the queue. A long wait takes several calls to the directory, which keep the place
in line; for the client it is one request.
"""

from __future__ import annotations

import secrets
import time
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.long_polls import STEP_SECONDS, LongPolls
from client_proxy.doors.rest.operation import FLAG, Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.header_text import header_text
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadRequest, Overloaded
from lockstep_store.wire.messages.base import MAX_TEXT_CHARACTERS, Bucket, PathText, Text, WriteId
from lockstep_store.wire.messages.locks import (
    ACQUIRE,
    DEFAULT_LEASE_SECONDS,
    LOCKS,
    MAX_LEASE_SECONDS,
    MAX_LISTED_LOCKS,
    MAX_LOCK_PATHS,
    RELEASE,
    RENEW,
    AcquireReply,
    AcquireRequest,
    LockInfo,
    LockPath,
    LocksReply,
    LocksRequest,
    ReleaseRequest,
    RenewRequest,
)
from lockstep_store.wire.names import MAX_PATH_BYTES, check_bucket, check_path

_operation = partial(Operation, tag="Locks")
REASON = {"type": "string", "maxLength": MAX_TEXT_CHARACTERS, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"}
PAGE_END = {"type": "string", "pattern": "^[LW][0-9]{1,18}$"}
LONGEST_WAIT_SECONDS = 300.0

Lease = Annotated[float, Meta(ge=1, le=MAX_LEASE_SECONDS)]
PathName = Annotated[str, Meta(max_length=MAX_PATH_BYTES + 64)]


class NamedPath(JsonBody):
    """A path to lock, and its bucket."""

    bucket: Bucket
    path: PathText


class AcquireBody(JsonBody):
    """A request to lock all of `paths` or none. A path is "bucket/path", a path in `bucket`, or an object.

    With `queue`, a wait that ends without the lock keeps its place in line (202); to continue it, repeat the request
    with the reply's `waiter.id` as `request_id`. Without `queue`, it ends with 423 and keeps no place.
    """

    paths: Annotated[list[PathName | NamedPath], Meta(min_length=1, max_length=MAX_LOCK_PATHS)]
    bucket: Bucket = ""
    wait_seconds: Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS)] = 0.0
    lease_seconds: Lease = DEFAULT_LEASE_SECONDS
    queue: bool = True
    client: Text = ""
    """The name of the client program or shell; shown to others."""
    request_id: WriteId | None = None


class RenewBody(JsonBody):
    """The new lease, counted from now; by default as long as before."""

    lease_seconds: Lease | None = None


class QueuedReply(AcquireReply, omit_defaults=False):
    """A place in line: `waiter` and `holders` in full, and a summary for scripts."""

    place: int = 0
    holder: str = ""
    """The account that holds the lock."""
    until: float = 0.0
    """When the last lock in the way ends, unless renewed: wall clock, seconds since 1970."""
    seconds_left: float = 0.0


class LockRoutes:
    """The routes below /locks. `max_waiting` bounds the waiting requests, because each occupies a thread."""

    def __init__(
        self, directory: Directory, *, max_waiting: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._polls = LongPolls(max_waiting)
        self._monotonic = monotonic

    def stop_waiting(self) -> None:
        """Answer all waiting requests within one step. They keep their places in line."""
        self._polls.stop()

    def operations(self) -> list[Operation]:
        return [*self._of_all(), *self._of_one()]

    def _of_all(self) -> list[Operation]:
        return [
            _operation(
                id="acquire_lock",
                method="POST",
                template="/locks",
                handler=self.acquire,
                summary="Acquire a lock on one or several paths, waiting in line for it",
                description=(
                    "Send the lock's `number` with writes as X-Lockstep-Lock, and renew the lock within its lease. A "
                    "wait that would close a cycle is refused with 409, and the error names the cycle."
                ),
                bodies=(Content(AcquireBody),),
                answers={
                    200: Answer("`lock` is yours.", Content(AcquireReply)),
                    202: Answer("In line: `place`, `holder`, `seconds_left`.", Content(QueuedReply)),
                },
                refusals=(
                    errors.BadName,
                    errors.Forbidden,
                    errors.NotFound,
                    errors.Deadlock,
                    errors.Locked,
                    errors.QuotaExceeded,
                ),
                thin=True,
            ),
            _operation(
                id="list_locks",
                method="GET",
                template="/locks",
                handler=self.list_locks,
                summary="List locks and who waits for them",
                description="Holders, expiry, and the queue: first the locks, then the places in line, oldest first.",
                parameters=(
                    Parameter("limit", "query", "Maximum number of both in a page.", between(1, MAX_LISTED_LOCKS)),
                    Parameter("after", "query", "`next_after` of the previous page.", PAGE_END),
                ),
                answers={200: Answer("One page; `next_after` is empty on the last.", Content(LocksReply))},
            ),
        ]

    def _of_one(self) -> list[Operation]:
        one = "/locks/{id}"
        usual = (errors.Forbidden, errors.NotFound)
        return [
            _operation(
                id="renew_lock",
                method="PUT",
                template=one,
                handler=self.renew,
                summary="Renew a lock's lease",
                description=(
                    "The lease starts again now. A lock whose lease has ended cannot be renewed: acquire it again."
                ),
                bodies=(Content(RenewBody),),
                body_optional=True,
                answers={200: Answer("The lock with its new expiry.", Content(LockInfo))},
                refusals=(*usual, errors.LockStale),
                thin=True,
            ),
            _operation(
                id="release_lock",
                method="DELETE",
                template=one,
                handler=self.release,
                summary="Release a lock, or give up a place in line",
                description="The next one in line gets the lock at once.",
                parameters=(
                    Parameter("break", "query", "`true`: break a lock (administrators and the bucket's owner).", FLAG),
                    Parameter("reason", "query", "With `break`: a reason for the holder and the audit.", REASON),
                ),
                answers={204: Answer("Released.")},
                refusals=usual,
                thin=True,
            ),
        ]

    def acquire(self, request: RestRequest) -> RawReply:
        """POST /locks."""
        credential = request.access()
        body = request.message(AcquireBody)
        reply = self._acquire(
            AcquireRequest(
                credential=credential,
                paths=_lock_paths(body),
                request_id=body.request_id or secrets.token_hex(16),
                wait_seconds=0.0,
                lease_seconds=body.lease_seconds,
                queue=body.queue,
                client=_shown(body.client, "the client's name"),
            ),
            body.wait_seconds,
        )
        if reply.waiter is None:
            return json_reply(reply)
        queued = _queued(reply)
        return json_reply(
            queued, 202, [("X-Lockstep-Lock-Holder", header_text(queued.holder))] if queued.holder else []
        )

    def list_locks(self, request: RestRequest) -> RawReply:
        limit = request.number_argument("limit", MAX_LISTED_LOCKS, 1, MAX_LISTED_LOCKS)
        wanted = LocksRequest(request.access(), request.argument("after", limit=256), limit)
        return json_reply(self._directory.call(LOCKS, wanted))

    def renew(self, request: RestRequest) -> RawReply:
        credential, id = request.access(), request.segment("id")
        body = request.message(RenewBody, optional=True)
        return json_reply(self._directory.call(RENEW, RenewRequest(credential, id, body.lease_seconds)))

    def release(self, request: RestRequest) -> RawReply:
        breaks, reason = request.flag_argument("break"), request.argument("reason", limit=MAX_TEXT_CHARACTERS)
        if reason and not breaks:
            raise BadRequest("a reason is for breaking a lock: send break=true, too, or leave it out")
        reason = _shown(reason, "the reason")
        self._directory.call(RELEASE, ReleaseRequest(request.access(), request.segment("id"), breaks, reason))
        return empty_reply()

    def _acquire(self, request: AcquireRequest, wait_seconds: float) -> AcquireReply:
        if not wait_seconds:
            return self._ask(request)
        with self._polls.place() as found:
            if found:
                return self._wait(request, wait_seconds)
        if request.queue:
            return self._ask(request)
        raise Overloaded("too many requests are waiting for locks at this proxy; send queue: true, or try again soon")

    def _wait(self, request: AcquireRequest, wait_seconds: float) -> AcquireReply:
        until = self._monotonic() + wait_seconds
        keep_place = request.queue
        left = wait_seconds
        while True:
            seconds = self._polls.step(left)
            last = left <= STEP_SECONDS or self._polls.stopping
            # Between two calls of one wait the place must stay, whatever is to happen to it after the last.
            step = msgspec.structs.replace(request, wait_seconds=seconds, queue=keep_place or not last)
            reply = self._ask(step)
            left = until - self._monotonic()
            if reply.waiter is None or last:
                return reply

    def _ask(self, request: AcquireRequest) -> AcquireReply:
        reply: AcquireReply = self._directory.call(ACQUIRE, request)
        return reply


def _lock_paths(body: AcquireBody) -> list[LockPath]:
    paths: list[LockPath] = []
    for given in body.paths:
        if isinstance(given, NamedPath):
            bucket, path = given.bucket, given.path
        elif body.bucket:
            bucket, path = body.bucket, given
        else:
            bucket, slash, path = given.partition("/")
            if not slash:
                raise BadRequest(f"{given[:80]!r} has no bucket: write 'bucket/path', or add `bucket` to the request")
        paths.append(LockPath(check_bucket(bucket), check_path(path)))
    return paths


def _shown(text: str, what: str) -> str:
    """The text. Others see it in their terminals, so it must not contain control characters."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise BadRequest(f"{what} contains the control character U+{ord(character):04X}")
    return text


def _queued(reply: AcquireReply) -> QueuedReply:
    assert reply.waiter is not None
    holders = reply.holders
    return QueuedReply(
        waiter=reply.waiter,
        holders=holders,
        place=reply.waiter.place,
        holder=", ".join(dict.fromkeys(lock.account for lock in holders)),
        until=max((lock.until_at for lock in holders), default=0.0),
        seconds_left=max((lock.seconds_left for lock in holders), default=0.0),
    )
