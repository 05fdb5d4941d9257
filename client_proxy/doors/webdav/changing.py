"""PUT, DELETE, MKCOL and PROPPATCH."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Delete, Stat, Write, new_write_id
from client_proxy.doors.webdav.addresses import Address, href
from client_proxy.doors.webdav.held_locks import HeldLocks, at, locked, tag_of
from client_proxy.doors.webdav.properties import MAX_DEAD_CHARACTERS, PropertyChanges, dead_of, response_of, stored_form
from client_proxy.doors.webdav.replies import empty_reply, problems_reply, xml_reply
from client_proxy.doors.webdav.request import DavRequest
from client_proxy.doors.webdav.resources import ONLY_NEW, DavFiles, Resource, Resources
from client_proxy.doors.webdav.xml import document, empty
from lockstep_store.runtime.backoff import JITTER, pause_after
from lockstep_store.runtime.http import conditions
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    Unavailable,
    from_problem,
)
from lockstep_store.wire.messages.buckets import CREATE_BUCKET, CreateBucketRequest
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, FileVersion, Preconditions
from lockstep_store.wire.messages.folders import (
    DELETE_FOLDER,
    FOLDER_CHANGE,
    DeleteFolderRequest,
    FolderChange,
    FolderChangeRequest,
)
from lockstep_store.wire.messages.locks import RELEASE, ReleaseRequest
from lockstep_store.wire.messages.s3 import DEAD_PROPERTIES, PUT_OBJECT_SETTING, PutObjectSettingRequest

LONGEST_CHANGE_SECONDS = 25.0
"""How long a request waits for a large folder's change, which goes on by itself afterwards."""
_STEP_SECONDS = 0.25
PROPERTY_ATTEMPTS = 12
"""How often a PROPPATCH begins again because others have changed the properties."""
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5
SMALL_BYTES = 256 * 1024
"""Content up to this size has arrived before a refusal could spare it."""


class DavChanging:
    """Serves the methods that change one resource. Thread-safe. `sleep` and `monotonic` pace waiting."""

    def __init__(
        self,
        files: DavFiles,
        directory: Directory,
        resources: Resources,
        locks: HeldLocks,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._directory = directory
        self._resources = resources
        self._locks = locks
        self._sleep = sleep
        self._monotonic = monotonic

    # ------------------------------------------------------------ PUT

    def put(self, request: DavRequest) -> RawReply:
        """Store a file."""
        access, address = request.access, request.address
        if address.as_folder:
            raise MethodNotAllowed("a folder has no content: PUT a file, without a slash at the end of its address")
        if "HTTP_CONTENT_RANGE" in request.environ:
            raise BadRequest("a part of a file cannot be written: send the whole file, without Content-Range")
        before = self._file(access, address)
        if before is None:
            self.demand_new(access, address)
        leave, size = self._locks.demand(request, address), request.size
        write = Write(
            access,
            address.bucket,
            address.path,
            size=size,
            lock_number=leave.number,
            preconditions=write_conditions(request, before),
            content_type=_content_type(request),
            ask_first=size is None or size > SMALL_BYTES,
        )
        made = self._files.write(write, request.blocks()).version
        return empty_reply(201 if made.created else 204, [("ETag", tag_of(made))])

    def _file(self, access: str, address: Address) -> FileVersion | None:
        """The file at an address, as far as the person may read it. MethodNotAllowed if there is a folder."""
        with suppress(Forbidden):  # who may write only: whether there is a file is not theirs to know
            with suppress(NotFound):
                return self._files.stat(Stat(access, address.bucket, address.path))
            if self._resources.has_folder(access, address):
                raise MethodNotAllowed(f"there is a folder {address.path!r}: choose another name for the file")
        return None

    def demand_new(self, access: str, address: Address) -> None:
        """Raise Conflict unless the folder exists that the new file or folder is to be in."""
        try:
            there = self._resources.has_folder(access, address.parent)
        except Forbidden:
            return
        if not there:
            raise Conflict(f"there is no folder {address.parent.path!r} in bucket {address.bucket!r}: create it first")

    # ------------------------------------------------------------ DELETE

    def delete(self, request: DavRequest) -> RawReply:
        """Delete a file, or a folder with everything in it."""
        access = request.access
        found = self._resources.find(access, request.address)
        if found.kind in ("root", "bucket"):
            raise Forbidden("a bucket is not deleted from here: use the console, or lockstep buckets delete")
        if found.is_folder and request.depth("infinity") != "infinity":
            raise BadRequest("a folder is deleted with everything in it: leave out the header Depth, or send infinity")
        return self.remove(request, found) or empty_reply(204)

    def remove(self, request: DavRequest, found: Resource) -> RawReply | None:
        """Delete a resource. Returns a reply only if something of it is left, or the deletion is still running."""
        access, address = request.access, at(found)
        leave = self._locks.demand(request, address)
        if found.reserved_by is not None:
            self._directory.call(RELEASE, ReleaseRequest(access, found.reserved_by.id))
            return None
        if found.is_folder:
            self._resources.keep(access, address.parent, leaving=address.folder)
            if leave.lock is not None and leave.number is not None:
                self._remove_locked(request, address)
                return None
            wanted = DeleteFolderRequest(access, new_write_id(), address.bucket, address.folder)
            return self.finish(access, self._directory.call(DELETE_FOLDER, wanted))
        self._resources.keep(access, address.parent, leaving=address.path)
        deleted = self._files.delete(
            Delete(
                access,
                address.bucket,
                address.path,
                lock_number=leave.number,
                release_lock=leave.number is not None and leave.lock is not None and len(leave.lock.paths) == 1,
                preconditions=write_conditions(request, found.version),
            )
        )
        if not deleted.existed:
            raise NotFound(f"there is no {address.path!r} in bucket {address.bucket!r}")
        return None

    def _remove_locked(self, request: DavRequest, address: Address) -> None:
        """Delete a folder that the caller has locked, file by file, under the lock's number."""
        access = request.access
        for page in self._resources.files_below(access, address):
            held = self._locks.on(access, [(file.bucket, file.path) for file in page])
            for file in reversed(page):
                lock = held.get((file.bucket, file.path))
                if lock is not None and lock.number not in request.conditions.numbers:
                    raise locked(lock, Address(file.bucket, file.path, False))
                mine = lock.number if lock is not None else None
                self._files.delete(Delete(access, file.bucket, file.path, lock_number=mine))

    def finish(self, access: str, change: FolderChange) -> RawReply | None:
        """Wait for a folder's change. Returns a reply if it is not done: 202 while it runs, else what is left."""
        until = self._monotonic() + LONGEST_CHANGE_SECONDS
        while change.state == "running":
            if self._monotonic() > until:
                return empty_reply(202)
            self._sleep(_STEP_SECONDS)
            change = self._directory.call(FOLDER_CHANGE, FolderChangeRequest(access, change.id))
        if change.state == "done":
            return None
        if not change.problems:
            raise Conflict(f"change {change.id} of the folder ended before it was complete: {change.reason}")
        return problems_reply((href(change.bucket, one.path), from_problem(one.problem)) for one in change.problems)

    # ------------------------------------------------------------ MKCOL

    def mkcol(self, request: DavRequest) -> RawReply:
        """Create a folder, or a bucket directly below the root."""
        request.refuse_body()
        access, address = request.access, request.address
        if not address.bucket:
            raise MethodNotAllowed("the root exists already")
        if not address.path:
            try:
                self._directory.call(CREATE_BUCKET, CreateBucketRequest(access, address.bucket))
            except AlreadyExists as error:
                raise MethodNotAllowed(str(error)) from error
            return empty_reply(201)
        self._locks.demand(request, address)
        for taken in (Address(address.bucket, address.path, False), Address(address.bucket, address.path)):
            if self._resources.look(access, taken) is not None:
                raise MethodNotAllowed(f"there is {address.path!r} in bucket {address.bucket!r} already")
        self.demand_new(access, address)
        try:
            self._resources.make_folder(access, address)
        except PreconditionFailed as error:  # somebody else has just made it
            raise MethodNotAllowed(f"there is {address.path!r} in bucket {address.bucket!r} already") from error
        return empty_reply(201)

    # ------------------------------------------------------------ PROPPATCH

    def proppatch(self, request: DavRequest) -> RawReply:
        """Change dead properties, all or none of them."""
        changes = PropertyChanges(request.xml())
        for failures in range(1, PROPERTY_ATTEMPTS + 1):
            found = self._resources.find(request.access, request.address, with_settings=True)
            if found.kind in ("root", "bucket"):
                raise Forbidden("a bucket has no properties that can be changed here")
            held_to = write_conditions(request, found.version).if_version
            leave = self._locks.demand(request, at(found))
            if changes.protected:
                return self._refused(found, changes, 403, "cannot-modify-protected-property")
            stored = stored_form(changes.made_to(dead_of(found)))
            if stored is not None and len(stored) > MAX_DEAD_CHARACTERS:
                return self._refused(found, changes, 507, "")
            if self._store_properties(request.access, found, stored, held_to, leave.number):
                names = " ".join(empty(name) for name, _ in changes.items)
                return xml_reply(207, document("multistatus", [response_of(found.href, [(names, 200)])]))
            self._sleep(pause_after(failures, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, JITTER))
        raise Unavailable("other clients keep changing the properties of this file: try again")

    def _store_properties(
        self, access: str, found: Resource, stored: str | None, version: str | None, number: int | None
    ) -> bool:
        """Replace the dead properties that were found, of the file's current version, which must be `version` if given.

        False if others have changed them since, or made or written the file.
        """
        settings = {} if stored is None else {DEAD_PROPERTIES: stored}
        with suppress(PreconditionFailed):
            if found.reserved_by is not None:
                self.write_empty(access, found.address, number, settings, ONLY_NEW)
            elif found.version is None:  # a folder that exists by its files alone
                self._resources.make_folder(access, found.address, settings)
            else:
                before = found.version.settings.get(DEAD_PROPERTIES, "")
                change = PutObjectSettingRequest(
                    access,
                    found.address.bucket,
                    found.path,
                    name=DEAD_PROPERTIES,
                    value=stored,
                    if_value=before,
                    if_version=version,
                )
                self._directory.call(PUT_OBJECT_SETTING, change)
            return True
        return False

    def write_empty(
        self,
        access: str,
        address: Address,
        number: int | None,
        settings: dict[str, str] | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> None:
        """Store a file without content, where until now only a lock was."""
        place = (access, address.bucket, address.path)
        write = Write(*place, size=0, lock_number=number, settings=settings or {}, preconditions=preconditions)
        self._files.write(write, ())

    def _refused(self, found: Resource, changes: PropertyChanges, status: int, condition: str) -> RawReply:
        at_fault = changes.protected or [name for name, _ in changes.items]
        others = [name for name, _ in changes.items if name not in at_fault]
        stats = [("".join(map(empty, at_fault)), status)]
        if others:
            stats.append(("".join(map(empty, others)), 424))
        text = response_of(found.href, stats)
        if condition:
            text = text.replace("</D:propstat>", f"<D:error><D:{condition}/></D:error></D:propstat>", 1)
        return xml_reply(207, document("multistatus", [text]))


def write_conditions(request: DavRequest, before: FileVersion | None) -> Preconditions:
    """The conditions of the commit: If-Match and its like, judged on `before`, which must then still be current.

    PreconditionFailed if they do not hold now.
    """
    environ = request.environ
    if environ.get("HTTP_IF_NONE_MATCH", "").strip() == "*":
        if before is not None:
            raise PreconditionFailed("precondition failed: there is such a file")
        return Preconditions(if_none_match=["*"])
    names = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE")
    given = [name for name in names if name in environ]
    if not given and not request.conditions.given:
        return NO_PRECONDITIONS
    if before is None:
        if "HTTP_IF_MATCH" in environ:
            raise PreconditionFailed("precondition failed: there is no such file")
        return NO_PRECONDITIONS
    if given:
        asked = {name: environ[name] for name in given}
        if conditions.not_modified(asked, before.version, before.created_at):
            raise PreconditionFailed("precondition failed: the file is the one in If-None-Match")
    elif not request.conditions.names_tags:
        return NO_PRECONDITIONS
    return Preconditions(if_version=before.version) if before.version else NO_PRECONDITIONS


def _content_type(request: DavRequest) -> str:
    """The type that the client states, if it knows more than that it is a file."""
    given: str = request.environ.get("CONTENT_TYPE", "").strip()
    kind = given.partition(";")[0].strip().lower()
    if kind in ("application/octet-stream", "application/x-www-form-urlencoded") or len(given) > 256:
        return ""
    return given if "/" in kind and given.isascii() and given.isprintable() else ""
