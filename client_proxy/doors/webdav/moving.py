"""COPY and MOVE, of files and of folders with everything in them."""

from __future__ import annotations

from contextlib import suppress

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Copy, new_write_id
from client_proxy.doors.webdav.addresses import Address, href
from client_proxy.doors.webdav.changing import DavChanging, write_conditions
from client_proxy.doors.webdav.held_locks import HeldLocks, Leave, at
from client_proxy.doors.webdav.replies import DavRefusal, empty_reply, problems_reply
from client_proxy.doors.webdav.request import DavRequest
from client_proxy.doors.webdav.resources import ONLY_NEW, DavFiles, Resource, Resources, kept_settings
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Forbidden, LockstepError, NotFound, PreconditionFailed
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, FileVersion
from lockstep_store.wire.messages.folders import MOVE_FOLDER, FolderChange, MoveFolderRequest
from lockstep_store.wire.messages.locks import RELEASE, ReleaseRequest

MAX_COPIED = 10_000
"""Files of a folder that one request copies; each of them is a change of its own."""
MAX_PROBLEMS = 100
"""After so many files that cannot be copied, the others are not tried."""


class DavMoving:
    """Serves COPY and MOVE. Thread-safe."""

    def __init__(
        self, files: DavFiles, directory: Directory, resources: Resources, locks: HeldLocks, changing: DavChanging
    ) -> None:
        self._files = files
        self._directory = directory
        self._resources = resources
        self._locks = locks
        self._changing = changing

    def copy(self, request: DavRequest) -> RawReply:
        depth = request.depth("infinity")
        if depth == "1":
            raise BadRequest("a folder is copied alone (Depth: 0) or with everything in it (infinity)")
        source, target, replaced = self._prepared(request, with_settings=True)
        leave = self._locks.demand(request, target)
        if source.is_folder:
            problems = self._copy_folder(request, source, target, replaced, alone=depth == "0")
            if problems:
                return problems_reply(problems)
        else:
            self._copy_file(request, source, target, leave)
            self._clear_folder(request, replaced)
        return empty_reply(201 if replaced is None else 204)

    def move(self, request: DavRequest) -> RawReply:
        if request.depth("infinity") != "infinity":
            raise BadRequest("MOVE takes everything with it: leave out the header Depth, or send infinity")
        source, target, replaced = self._prepared(request)
        of_source = self._locks.demand(request, at(source))
        leave = self._locks.demand(request, target)
        access, address = request.access, at(source)
        self._resources.keep(access, address.parent, leaving=source.path)
        if source.is_folder:
            reply = self._move_folder(request, address, target, replaced, of_source)
            if reply is not None:
                return reply
        else:
            self._copy_file(request, source, target, leave, moved=of_source)
            self._release(request, of_source)
            self._clear_folder(request, replaced)
        return empty_reply(201 if replaced is None else 204)

    def _prepared(
        self, request: DavRequest, *, with_settings: bool = False
    ) -> tuple[Resource, Address, Resource | None]:
        """The source, the target's address, and what is there already."""
        access = request.access
        source = self._resources.find(access, request.address, with_settings=with_settings)
        write_conditions(request, source.version)
        target = Address(request.destination.bucket, request.destination.path, source.is_folder)
        if source.kind in ("root", "bucket") or not target.path:
            raise Forbidden("a bucket is neither copied nor moved: copy or move what is in it")
        if (source.address.bucket, source.address.path) == (target.bucket, target.path):
            raise Forbidden("source and destination are the same")
        if source.is_folder and source.address.contains(target):
            raise Forbidden("a folder cannot be copied or moved into itself")
        replaced = self._resources.look(access, Address(target.bucket, target.path, False))
        if replaced is None:
            self._changing.demand_new(access, target)
        elif not request.overwrites:
            raise PreconditionFailed(f"there is {target.path!r} in bucket {target.bucket!r} already")
        elif replaced.is_folder and at(replaced).contains(source.address):
            raise Forbidden("the destination contains the source")
        return source, target, replaced

    # ------------------------------------------------------------ files

    def _copy_file(
        self, request: DavRequest, source: Resource, target: Address, leave: Leave, moved: Leave | None = None
    ) -> None:
        """Copy a file, or move it by the leave `moved`."""
        preconditions = NO_PRECONDITIONS if request.overwrites else ONLY_NEW
        if source.reserved_by is not None:
            self._changing.write_empty(request.access, target, leave.number, preconditions=preconditions)
            return
        self._files.copy(
            Copy(
                request.access,
                target.bucket,
                target.path,
                source_bucket=source.address.bucket,
                source_path=source.address.path,
                move=moved is not None,
                source_lock_number=moved.number if moved is not None else None,
                lock_number=leave.number,
                preconditions=preconditions,
                settings=kept_settings(source.version),
            )
        )

    def _release(self, request: DavRequest, leave: Leave) -> None:
        """A lock does not move with its file: it ends, if it was on nothing else."""
        if leave.number is not None and leave.lock is not None and len(leave.lock.paths) == 1:
            with suppress(LockstepError):
                self._directory.call(RELEASE, ReleaseRequest(request.access, leave.lock.id))

    # ------------------------------------------------------------ folders

    def _copy_folder(
        self, request: DavRequest, source: Resource, target: Address, replaced: Resource | None, *, alone: bool
    ) -> list[tuple[str, LockstepError]]:
        """Copy file by file. Returns what could not be copied, by its new address."""
        access = request.access
        files = [] if alone else self._files_to_copy(access, source)
        if replaced is not None:
            unreadable = next((file.path for file in files if not file.readable), None)
            if unreadable is not None:
                raise Forbidden(
                    f"you may not read {unreadable!r}, so the folder cannot replace another: nothing was copied"
                )
            self._clear(request, replaced)
        if alone or not any(file.path == source.path for file in files):
            with suppress(PreconditionFailed):
                self._resources.make_folder(access, target, kept_settings(source.version))
        problems: list[tuple[str, LockstepError]] = []
        for file in files:
            path = target.folder + file.path[len(source.path) :]
            copy = Copy(
                access,
                target.bucket,
                path,
                source_bucket=file.bucket,
                source_path=file.path,
                settings=kept_settings(file),
            )
            try:
                self._files.copy(copy)
            except NotFound:
                continue  # it was deleted meanwhile
            except LockstepError as error:
                problems.append((href(target.bucket, path), error))
                if len(problems) == MAX_PROBLEMS:
                    break
        return problems

    def _files_to_copy(self, access: str, source: Resource) -> list[FileVersion]:
        """Every file of the folder, with its settings."""
        files: list[FileVersion] = []
        for page in self._resources.files_below(access, source.address):
            found = [Resource("file", Address(file.bucket, file.path, False), file) for file in page]
            files += [one.version for one in self._resources.with_settings(access, found) if one.version is not None]
            if len(files) > MAX_COPIED:
                raise DavRefusal(
                    507,
                    f"the folder has more than {MAX_COPIED} files, and one request copies no more; nothing was copied: "
                    "copy its parts, or use lockstep cp --recursive",
                )
        return files

    def _move_folder(
        self, request: DavRequest, source: Address, target: Address, replaced: Resource | None, of_source: Leave
    ) -> RawReply | None:
        if of_source.number is not None:
            raise DavRefusal(
                423, "a folder cannot be moved while it is locked, not even by who locked it: unlock it first"
            )
        try:
            change = self._begin_move(request, source, target)
        except AlreadyExists as error:
            if replaced is None:
                raise PreconditionFailed(str(error)) from error
            self._clear(request, replaced)  # only now: nothing else is in the way of the move
            change = self._begin_move(request, source, target)
        return self._changing.finish(request.access, change)

    def _begin_move(self, request: DavRequest, source: Address, target: Address) -> FolderChange:
        places = source.bucket, source.folder, target.bucket, target.folder
        return self._directory.call(MOVE_FOLDER, MoveFolderRequest(request.access, new_write_id(), *places))

    def _clear_folder(self, request: DavRequest, replaced: Resource | None) -> None:
        """Delete the folder that a file has replaced. It is lost only once that is done."""
        if replaced is not None and replaced.is_folder:
            self._clear(request, replaced)

    def _clear(self, request: DavRequest, replaced: Resource) -> None:
        """Delete what a copy or move replaces. If the change itself fails afterwards, that is gone."""
        if self._changing.remove(request, replaced) is not None:
            raise DavRefusal(409, "the destination could not be deleted completely: see what is left, and try again")
