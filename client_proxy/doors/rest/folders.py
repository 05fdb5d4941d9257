"""The routes for folders: create, move, delete, and look after the changes that take longer.

A folder is the common beginning of its files' paths. One that was created is also an object of no bytes whose path ends
with a slash, as S3 clients make it, so it stays when it is empty.
"""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Write, new_write_id
from client_proxy.doors.rest.file_operations import WRITE_REFUSALS
from client_proxy.doors.rest.files import Files
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.errors import AlreadyExists, PreconditionFailed
from lockstep_store.wire.messages.base import Bucket, PathText
from lockstep_store.wire.messages.files import LIST, ListRequest, Preconditions
from lockstep_store.wire.messages.folders import (
    DELETE_FOLDER,
    FOLDER_CHANGE,
    FOLDER_CHANGES,
    FOLDER_TYPE,
    MAX_FOLDER_CHANGES,
    MAX_PROBLEMS,
    MOVE_FOLDER,
    STEER_FOLDER_CHANGE,
    DeleteFolderRequest,
    FolderChange,
    FolderChangeRequest,
    FolderChangesReply,
    FolderChangesRequest,
    FolderReply,
    MoveFolderRequest,
    SteerFolderChangeRequest,
)
from lockstep_store.wire.names import MAX_PATH_BYTES, check_bucket, check_path

_operation = partial(Operation, tag="Folders")
_USUAL = (errors.BadName, errors.Forbidden, errors.NotFound)
_ONLY_IF_ABSENT = Preconditions(if_none_match=["*"])


class NewFolder(JsonBody):
    """A folder to create. With `exist_ok`, one that exists is fine."""

    bucket: Bucket
    path: PathText
    exist_ok: bool = False


class FolderMove(JsonBody):
    """Move a folder to `to_path`, in the same bucket unless `to_bucket` names another.

    With `merge`, the target may have files already, but none of the same name.
    """

    bucket: Bucket
    path: PathText
    to_path: PathText
    to_bucket: Bucket | None = None
    merge: bool = False


class FolderRoutes:
    """The routes below /folders and /folder-changes."""

    def __init__(self, files: Files, directory: Directory) -> None:
        self._files = files
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._changing(), *self._looking()]

    def _changing(self) -> list[Operation]:
        at_once = Answer("Everything is done, in one transaction.", Content(FolderChange))
        as_job = Answer("The folder is large: the change goes on, and `id` is its address.", Content(FolderChange))
        refusals = (*WRITE_REFUSALS, errors.AlreadyExists, errors.Overloaded, errors.TooFewHolders)
        return [
            _operation(
                id="create_folder",
                method="POST",
                template="/folders",
                handler=self.create,
                summary="Create an empty folder",
                description=(
                    "The folder stays when it is empty. Folders that files are written into need not be created."
                ),
                bodies=(Content(NewFolder),),
                answers={
                    200: Answer("With `exist_ok`: the folder existed.", Content(FolderReply)),
                    201: Answer("A new folder.", Content(FolderReply)),
                },
                refusals=(*WRITE_REFUSALS, errors.AlreadyExists),
            ),
            _operation(
                id="move_folder",
                method="POST",
                template="/folders/move",
                handler=self.move,
                summary="Rename or move a folder with everything in it",
                description=(
                    "A folder of up to 500 files moves in one transaction, or not at all. A larger one moves file by "
                    "file; what cannot be moved stays, and is named among the change's problems."
                ),
                bodies=(Content(FolderMove),),
                answers={200: at_once, 202: as_job},
                refusals=refusals,
            ),
            _operation(
                id="delete_folder",
                method="DELETE",
                template="/folders/{bucket}/{path}",
                handler=self.delete,
                summary="Delete a folder with everything in it",
                description=(
                    "In one transaction for up to 500 files, like `POST /folders/move`. In a bucket with versioning "
                    "the files' versions are kept."
                ),
                answers={200: at_once, 202: as_job},
                refusals=refusals,
            ),
        ]

    def _looking(self) -> list[Operation]:
        one, change = "/folder-changes/{id}", Content(FolderChange)
        return [
            _operation(
                id="list_folder_changes",
                method="GET",
                template="/folder-changes",
                handler=self.all,
                summary="List the folders that you moved or deleted",
                description="The newest first. A change is kept for a week after its end.",
                parameters=(Parameter("limit", "query", "Maximum number of changes.", between(1, MAX_FOLDER_CHANGES)),),
                answers={200: Answer("The changes, without their problems.", Content(FolderChangesReply))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="get_folder_change",
                method="GET",
                template=one,
                handler=self.get,
                summary="Get how far a folder's change is, and what it could not do",
                description="For the person who began it and administrators.",
                parameters=(
                    Parameter("limit", "query", "Maximum number of problems.", between(1, MAX_PROBLEMS)),
                    Parameter("cursor", "query", "`next_after` of the previous page of problems."),
                ),
                answers={200: Answer("The change, with a page of its problems.", change)},
                refusals=(errors.Forbidden, errors.NotFound),
            ),
            *(
                _operation(
                    id=f"{action}_folder_change",
                    method="POST",
                    template=f"{one}/{action}",
                    handler=partial(self.steer, action),
                    summary=summary,
                    description="For the person who began it and administrators.",
                    answers={200: Answer("The change as it is now.", change)},
                    refusals=(errors.Forbidden, errors.NotFound, errors.Conflict, errors.Overloaded),
                )
                for action, summary in (
                    ("retry", "Try again what a folder's change could not do"),
                    ("stop", "Stop a folder's change; what is done stays done"),
                )
            ),
        ]

    # ------------------------------------------------------------ handlers

    def create(self, request: RestRequest) -> RawReply:
        """Write the folder's own object, unless there is one."""
        credential = request.access()
        body = request.message(NewFolder)
        bucket, path = check_bucket(body.bucket), _folder(body.path)
        found = self._directory.call(LIST, ListRequest(credential, bucket, prefix=path[:-1], limit=1, delimiter="/"))
        if any(file.path == path[:-1] for file in found.files):
            raise AlreadyExists(f"there is a file {path[:-1]!r} in bucket {bucket!r}: choose another name", path=path)
        first = self._directory.call(LIST, ListRequest(credential, bucket, prefix=path, limit=1)).files
        if first and not body.exist_ok:
            raise AlreadyExists(f"there is a folder {path!r} in bucket {bucket!r} already", path=path)
        if first and first[0].path == path:
            return json_reply(FolderReply(bucket, path, False, first[0].version))
        try:
            write = Write(credential, bucket, path, size=0, content_type=FOLDER_TYPE, preconditions=_ONLY_IF_ABSENT)
            made = self._files.write(write, ())
        except PreconditionFailed:  # somebody else has just made it
            if not body.exist_ok:
                raise AlreadyExists(f"there is a folder {path!r} in bucket {bucket!r} already", path=path) from None
            return json_reply(FolderReply(bucket, path, False))
        return json_reply(FolderReply(bucket, path, not first, made.version.version), 200 if first else 201)

    def move(self, request: RestRequest) -> RawReply:
        credential = request.access()
        body = request.message(FolderMove)
        wanted = MoveFolderRequest(
            credential,
            new_write_id(),
            check_bucket(body.bucket),
            _folder(body.path),
            check_bucket(body.bucket if body.to_bucket is None else body.to_bucket),
            _folder(body.to_path),
            body.merge,
        )
        return _change_reply(self._directory.call(MOVE_FOLDER, wanted))

    def delete(self, request: RestRequest) -> RawReply:
        wanted = DeleteFolderRequest(
            request.access(), new_write_id(), request.bucket(), _folder(request.params["path"])
        )
        return _change_reply(self._directory.call(DELETE_FOLDER, wanted))

    def all(self, request: RestRequest) -> RawReply:
        limit = request.number_argument("limit", MAX_FOLDER_CHANGES, 1, MAX_FOLDER_CHANGES)
        return json_reply(self._directory.call(FOLDER_CHANGES, FolderChangesRequest(request.credential(), limit)))

    def get(self, request: RestRequest) -> RawReply:
        wanted = FolderChangeRequest(
            request.credential(),
            request.segment("id"),
            request.argument("cursor", limit=MAX_PATH_BYTES),
            request.number_argument("limit", MAX_PROBLEMS, 1, MAX_PROBLEMS),
        )
        return json_reply(self._directory.call(FOLDER_CHANGE, wanted))

    def steer(self, action: str, request: RestRequest) -> RawReply:
        wanted = SteerFolderChangeRequest(
            request.credential(), request.segment("id"), "retry" if action == "retry" else "stop"
        )
        return json_reply(self._directory.call(STEER_FOLDER_CHANGE, wanted))


def _folder(path: str) -> str:
    """Return the folder's path, checked, with the slash at its end."""
    return check_path(path if path.endswith("/") else f"{path}/")


def _change_reply(change: FolderChange) -> RawReply:
    return json_reply(change, 202 if change.state == "running" else 200)
