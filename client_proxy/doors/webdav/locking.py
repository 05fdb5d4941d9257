"""LOCK and UNLOCK: the cluster's locks, with its numbers, leases and fences."""

from __future__ import annotations

import secrets
import unicodedata

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import new_write_id
from client_proxy.doors.webdav.changing import DavChanging
from client_proxy.doors.webdav.conditions import has_joined, number_of, token_of
from client_proxy.doors.webdav.held_locks import HeldLocks, at, locked
from client_proxy.doors.webdav.lock_lookup import FILE_CLIENT, FOLDER_CLIENT, SHARED_CLIENT, is_shared
from client_proxy.doors.webdav.reading import lock_shown
from client_proxy.doors.webdav.replies import DavRefusal, empty_reply, xml_reply
from client_proxy.doors.webdav.request import DavRequest
from client_proxy.doors.webdav.resources import Resource, Resources
from client_proxy.doors.webdav.xml import DAV, XmlElement, XmlName, document
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import BadRequest, Forbidden, LockStale, NotFound, PreconditionFailed
from lockstep_store.wire.messages.locks import (
    ACQUIRE,
    DEFAULT_LEASE_SECONDS,
    MAX_LOCK_PATHS,
    RELEASE,
    RENEW,
    AcquireRequest,
    LockInfo,
    LockPath,
    ReleaseRequest,
    RenewRequest,
)

MAX_OWNER = 200


class DavLocking:
    """Serves LOCK and UNLOCK. Thread-safe."""

    def __init__(self, directory: Directory, resources: Resources, locks: HeldLocks, changing: DavChanging) -> None:
        self._directory = directory
        self._resources = resources
        self._locks = locks
        self._changing = changing

    def lock(self, request: DavRequest) -> RawReply:
        """Take a lock, or renew one. A name without a file can be locked, which makes no version."""
        body = request.xml()
        if body is None:
            return self._renew(request)
        shared, owner = _asked(body)
        address = request.address
        if not address.path:
            raise Forbidden("a bucket as a whole cannot be locked: lock the files or folders that you change")
        deep = request.depth("infinity")
        if deep == "1":
            raise BadRequest("a lock is for the resource alone (Depth: 0) or everything in it (infinity)")
        found = self._resources.look(request.access, address)
        if found is None:
            if address.as_folder:
                raise NotFound(f"there is no folder {address.path!r}: create it first")
            self._changing.demand_new(request.access, address)
        resource = found or Resource("file", address)
        self._locks.demand_conditions(request)
        folder = resource.is_folder and deep == "infinity"
        held = self._locks.covering(request.access, at(resource))
        if held is not None:
            if not (shared and is_shared(held) and held.account == request.caller.account):
                raise locked(held, address)
            renewed = self._directory.call(RENEW, RenewRequest(request.access, held.id, request.lease_seconds))
            return _lock_reply(renewed, resource, 200, owner, token_of(held.number, secrets.randbits(48) | 1))
        if shared and folder:
            raise DavRefusal(403, "a folder has no shared locks: ask for an exclusive one")
        wanted = AcquireRequest(
            credential=request.access,
            paths=self._paths_of_folder(request, resource) if folder else [LockPath(address.bucket, resource.path)],
            request_id=new_write_id(),
            lease_seconds=request.lease_seconds or DEFAULT_LEASE_SECONDS,
            client=_plain(owner) + (FOLDER_CLIENT if folder else SHARED_CLIENT if shared else FILE_CLIENT),
        )
        lock = self._directory.call(ACQUIRE, wanted).lock
        assert lock is not None  # without a place in line, a refusal is an error
        return _lock_reply(lock, resource, 200 if found is not None else 201, owner)

    def _paths_of_folder(self, request: DavRequest, resource: Resource) -> list[LockPath]:
        """The folder and every file in it: what one lock of the cluster can name."""
        bucket = resource.address.bucket
        paths = {resource.path: LockPath(bucket, resource.path)}
        for page in self._resources.files_below(request.access, resource.address):
            paths |= {file.path: LockPath(bucket, file.path) for file in page}
            if len(paths) > MAX_LOCK_PATHS:
                raise DavRefusal(
                    403,
                    f"a lock names at most {MAX_LOCK_PATHS} paths, and this folder has more: lock the files that you "
                    "change, or the folder alone with Depth: 0",
                )
        return list(paths.values())

    def _renew(self, request: DavRequest) -> RawReply:
        numbers = request.conditions.numbers
        if len(numbers) != 1:
            raise BadRequest("to renew a lock, name its token in the header If; to take one, send DAV:lockinfo")
        lock = self._locks.covering(request.access, request.address)
        if lock is None or lock.number not in numbers:
            raise PreconditionFailed("the lock with this token has ended, or is not on this resource: take it again")
        try:
            renewed = self._directory.call(RENEW, RenewRequest(request.access, lock.id, request.lease_seconds))
        except LockStale as error:
            raise PreconditionFailed(str(error)) from error
        resource = self._resources.look(request.access, request.address) or Resource("file", request.address)
        return _lock_reply(renewed, resource, 200)

    def unlock(self, request: DavRequest) -> RawReply:
        """Release a lock."""
        given = request.header("Lock-Token").strip()
        if not (given.startswith("<") and given.endswith(">")):
            raise BadRequest("the header Lock-Token must be the lock's token in angle brackets")
        token = given[1:-1]
        lock = self._locks.covering(request.access, request.address)
        if lock is None or lock.number != number_of(token):
            raise DavRefusal(
                409, "the resource has no lock with this token: it has ended already", "lock-token-matches-request-uri"
            )
        if has_joined(token):  # the lock is that of who took it first
            return empty_reply(204)
        try:
            self._directory.call(RELEASE, ReleaseRequest(request.access, lock.id))
        except NotFound as error:
            raise DavRefusal(409, str(error), "lock-token-matches-request-uri") from error
        return empty_reply(204)


def _asked(body: XmlElement) -> tuple[bool, XmlElement | None]:
    """Whether a shared lock is asked for, and what the client calls itself. BadRequest if it asks for no lock."""
    if body.name != XmlName(DAV, "lockinfo"):
        raise BadRequest("the body of LOCK must be DAV:lockinfo")
    scope, kind = body.find("lockscope"), body.find("locktype")
    if scope is None or kind is None or kind.find("write") is None:
        raise BadRequest("DAV:lockinfo must contain DAV:lockscope, and DAV:locktype with DAV:write")
    shared = scope.find("shared") is not None
    if not shared and scope.find("exclusive") is None:
        raise BadRequest("DAV:lockscope must contain DAV:exclusive or DAV:shared")
    return shared, body.find("owner")


def _plain(owner: XmlElement | None) -> str:
    """What a client calls itself, for other people's terminals: one line without control characters."""
    text = owner.text if owner is not None else ""
    words = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text)
    return " ".join(words.split())[:MAX_OWNER]


def _lock_reply(
    lock: LockInfo, resource: Resource, status: int, owner: XmlElement | None = None, token: str = ""
) -> RawReply:
    token = token or token_of(lock.number)
    written = "" if owner is None else owner.inner()
    shown = f"<D:lockdiscovery>{lock_shown(lock, resource, written, token)}</D:lockdiscovery>"
    return xml_reply(status, document("prop", [shown]), [("Lock-Token", f"<{token}>")])
