"""The File Locking API: the locks of a repository's files are the cluster's.

A person keeps such a lock until they release it, so its lease is long. `git push` asks who has locked what, which
renews the pusher's locks; one that nobody uses for 30 days ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import new_write_id
from client_proxy.doors.lfs.request import LfsRequest
from lockstep_store.wire.errors import BadRequest, Locked, LockstepError, NotFound
from lockstep_store.wire.messages.locks import (
    ACQUIRE,
    LOCKS,
    LONGEST_LEASE_SECONDS,
    RELEASE,
    RENEW,
    AcquireRequest,
    LockInfo,
    LockPath,
    LocksRequest,
    ReleaseRequest,
    RenewRequest,
)
from lockstep_store.wire.names import MAX_PATH_BYTES

CLIENT = "Git LFS"
RENEWED_BELOW = LONGEST_LEASE_SECONDS * 0.9
DEFAULT_LISTED = 100
MAX_LISTED = 1000

FilePath = Annotated[str, Meta(min_length=1, max_length=MAX_PATH_BYTES)]


class LockBody(msgspec.Struct):
    path: FilePath


class VerifyBody(msgspec.Struct):
    cursor: str = ""
    limit: int = 0


class UnlockBody(msgspec.Struct):
    force: bool = False


class LfsOwner(msgspec.Struct):
    name: str


class LfsLock(msgspec.Struct):
    """A lock as Git LFS shows it. `path` is the file's path in the repository."""

    id: str
    path: str
    locked_at: str
    owner: LfsOwner


class LfsLockReply(msgspec.Struct, omit_defaults=True):
    lock: LfsLock
    message: str = ""


class LfsLocksReply(msgspec.Struct, omit_defaults=True):
    locks: list[LfsLock]
    next_cursor: str = ""


class LfsVerifyReply(msgspec.Struct, omit_defaults=True):
    ours: list[LfsLock]
    theirs: list[LfsLock]
    next_cursor: str = ""


class LfsLocks:
    """Serves locks. Thread-safe."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def create(self, request: LfsRequest) -> tuple[LfsLockReply, int]:
        """Take a lock (201), or say who has it (409)."""
        path = request.path_of(request.message(LockBody).path)
        wanted = AcquireRequest(
            request.access,
            [LockPath(request.bucket, path)],
            new_write_id(),
            lease_seconds=LONGEST_LEASE_SECONDS,
            client=CLIENT,
        )
        try:
            lock = self._directory.call(ACQUIRE, wanted).lock
        except Locked as error:
            return LfsLockReply(self._held(request, path, error), str(error)), 409
        assert lock is not None  # without a place in line, a refusal is an error
        return LfsLockReply(_shown(request, lock, path)), 201

    def _held(self, request: LfsRequest, path: str, error: Locked) -> LfsLock:
        asked = LocksRequest(request.access, on=[LockPath(request.bucket, path)])
        for lock in self._directory.call(LOCKS, asked).locks:
            if LockPath(request.bucket, path) in lock.paths:
                return _shown(request, lock, path)
        raise error  # it has just ended, or somebody who waits is next

    def listed(self, request: LfsRequest) -> LfsLocksReply:
        """A page of the locks on files of the repository, whichever door they came from."""
        try:
            given = parse_qs(request.query, max_num_fields=20)
        except ValueError as error:
            raise BadRequest(f"the query cannot be read: {error}") from error
        arguments = {name: values[0] for name, values in given.items()}
        found, after = self._page(request, arguments.get("cursor", ""), _limit(arguments.get("limit", "")))
        path, id = arguments.get("path"), arguments.get("id")
        shown = [one for one in (_shown(request, *each) for each in found) if path in (None, one.path)]
        return LfsLocksReply([one for one in shown if id in (None, one.id)], after)

    def verify(self, request: LfsRequest) -> LfsVerifyReply:
        """The caller's locks, and others'. git-lfs asks before a push, and refuses to push over the others'."""
        body = request.message(VerifyBody)
        found, after = self._page(request, body.cursor, _limit(str(body.limit or "")))
        reply = LfsVerifyReply([], [], after)
        for lock, path in found:
            mine = lock.account == request.caller.account
            (reply.ours if mine else reply.theirs).append(_shown(request, lock, path))
            if mine and lock.client == CLIENT and lock.seconds_left < RENEWED_BELOW:
                with suppress(LockstepError):  # the push itself may still be in order
                    renewal = RenewRequest(request.access, lock.id, LONGEST_LEASE_SECONDS)
                    self._directory.call(RENEW, renewal)
        return reply

    def unlock(self, request: LfsRequest) -> LfsLockReply:
        """Release a lock; with `force` break another person's, which its bucket's owner and administrators may."""
        id = request.what.split("/")[1]
        force = request.message(UnlockBody).force
        for lock, path in self._all(request):
            if lock.id == id:
                breaks = force and lock.account != request.caller.account
                self._directory.call(RELEASE, ReleaseRequest(request.access, id, breaks))
                return LfsLockReply(_shown(request, lock, path))
        raise NotFound(f"the repository has no lock {id[:40]!r}: it may have ended already")

    def _all(self, request: LfsRequest) -> Iterator[tuple[LockInfo, str]]:
        after = ""
        while True:
            found, after = self._page(request, after, MAX_LISTED)
            yield from found
            if not after:
                return

    def _page(self, request: LfsRequest, after: str, limit: int) -> tuple[list[tuple[LockInfo, str]], str]:
        """Locks on files of the repository with the path that is locked, and where the next page begins.

        The cluster lists all locks, so pages are skipped in which the repository has none. After the first one they are
        as long as can be, so a page may have more than `limit` locks.
        """
        below = f"{request.repo}/"
        while True:
            reply = self._directory.call(LOCKS, LocksRequest(request.access, after, limit))
            found = [
                (lock, path.path)
                for lock in reply.locks
                for path in lock.paths
                if path.bucket == request.bucket and path.path.startswith(below)
            ]
            after = reply.next_after if reply.locks else ""  # behind the locks are the places in line
            if found or not after:
                return found, after
            limit = MAX_LISTED


def _shown(request: LfsRequest, lock: LockInfo, path: str) -> LfsLock:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(lock.since_at))
    return LfsLock(lock.id, path.removeprefix(f"{request.repo}/"), at, LfsOwner(lock.account))


def _limit(given: str) -> int:
    if not given:
        return DEFAULT_LISTED
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and int(given)):
        raise BadRequest(f"limit is a number of locks, not {given[:40]!r}")
    return min(int(given), MAX_LISTED)
