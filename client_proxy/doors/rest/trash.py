"""The routes for the trash: deleted files of a bucket that keeps versions."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import new_write_id
from client_proxy.doors.rest.bucket_settings import BucketSetting
from client_proxy.doors.rest.file_operations import WRITE_REFUSALS
from client_proxy.doors.rest.json_body import JsonBody, LockNumber
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import PathText, Text
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.trash import (
    EMPTY_TRASH,
    MAX_TRASH_PAGE,
    RESTORE_TRASH,
    TRASH,
    TRASH_SETTING,
    TRASH_TOTALS,
    EmptyTrashReply,
    EmptyTrashRequest,
    RestoreTrashRequest,
    TrashDays,
    TrashReply,
    TrashRequest,
    TrashTotals,
)
from lockstep_store.wire.names import MAX_PATH_BYTES, check_path

_operation = partial(Operation, tag="Versions")
_USUAL = (errors.BadName, errors.Forbidden, errors.NotFound)


class TrashDaysBody(JsonBody):
    """How many days the trash keeps deleted files; null: until they are removed by hand."""

    days: TrashDays | None


class RestoreTrashBody(JsonBody):
    """The deleted file, as the list names it. With `to_path` its last version gets another name."""

    path: PathText
    marker: Text
    to_path: PathText | None = None
    lock_number: LockNumber | None = None


class EmptyTrashBody(JsonBody):
    """One deleted file (`path` and `marker`); or, without, a page of all of them, or of those below `prefix`.

    `after` is `next_after` of the reply before.
    """

    path: PathText | None = None
    marker: Text = ""
    prefix: Text = ""
    after: Text = ""


class TrashRoutes:
    """The routes below /trash."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._setting = BucketSetting(directory, TRASH_SETTING)

    def operations(self) -> list[Operation]:
        return [*self._looking(), *self._changing()]

    def _looking(self) -> list[Operation]:
        prefix = Parameter("prefix", "query", "Only paths with this prefix.")
        return [
            _operation(
                id="list_trash",
                method="GET",
                template="/trash/{bucket}",
                handler=self.list,
                summary="List a bucket's deleted files, the last deleted first",
                description="Of buckets with versioning. A page may be short, or empty, and have a `next_after`.",
                parameters=(
                    prefix,
                    Parameter("limit", "query", "Maximum number of entries.", between(1, MAX_TRASH_PAGE)),
                    Parameter("cursor", "query", "`next_after` of the previous page."),
                ),
                answers={200: Answer("A page, and how many days the bucket keeps deleted files.", Content(TrashReply))},
                refusals=_USUAL,
            ),
            _operation(
                id="trash_totals",
                method="GET",
                template="/trash/{bucket}/totals",
                handler=self.totals,
                summary="Get how much is in the trash of a bucket",
                description="The bytes count in quotas until the files are removed for good.",
                answers={200: Answer("Files, their versions, and bytes.", Content(TrashTotals))},
                refusals=_USUAL,
            ),
        ]

    def _changing(self) -> list[Operation]:
        return [
            _operation(
                id="set_trash",
                method="PUT",
                template="/trash/{bucket}",
                handler=self.set,
                summary="Set how many days a bucket keeps deleted files",
                description="For its owner and administrators. The bucket must keep versions.",
                bodies=(Content(TrashDaysBody),),
                answers={204: Answer("Done.")},
                refusals=(*_USUAL, errors.Conflict),
            ),
            _operation(
                id="restore_trash",
                method="POST",
                template="/trash/{bucket}/restore",
                handler=self.restore,
                summary="Restore a deleted file",
                description=(
                    "As it was, with its tags and versions. Under another name (`to_path`), its last version is copied "
                    "and the deleted file stays in the trash."
                ),
                bodies=(Content(RestoreTrashBody),),
                answers={200: Answer("The current version.", Content(FileVersion))},
                refusals=(*WRITE_REFUSALS, errors.AlreadyExists, errors.TooFewHolders),
            ),
            _operation(
                id="empty_trash",
                method="POST",
                template="/trash/{bucket}/empty",
                handler=self.empty,
                summary="Remove deleted files for good",
                description=(
                    "A few in each call: repeat it with `next_after` until there is none. What cannot be removed is "
                    "named in `kept`."
                ),
                bodies=(Content(EmptyTrashBody),),
                body_optional=True,
                answers={200: Answer("What was removed.", Content(EmptyTrashReply))},
                refusals=WRITE_REFUSALS,
            ),
        ]

    # ------------------------------------------------------------ handlers

    def _wanted(self, request: RestRequest) -> TrashRequest:
        return TrashRequest(
            request.access(),
            request.bucket(),
            request.argument("prefix", limit=MAX_PATH_BYTES),
            request.argument("cursor", limit=256),
            request.number_argument("limit", MAX_TRASH_PAGE, 1, MAX_TRASH_PAGE),
        )

    def list(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(TRASH, self._wanted(request)))

    def totals(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(TRASH_TOTALS, self._wanted(request)))

    def set(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        days = request.message(TrashDaysBody).days
        self._setting.put(credential, bucket, None if days is None else {"days": days})
        return empty_reply()

    def restore(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        body = request.message(RestoreTrashBody)
        wanted = RestoreTrashRequest(
            credential,
            new_write_id(),
            bucket,
            check_path(body.path),
            body.marker,
            "" if body.to_path is None else check_path(body.to_path),
            body.lock_number,
        )
        return json_reply(self._directory.call(RESTORE_TRASH, wanted))

    def empty(self, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        body = request.message(EmptyTrashBody, optional=True)
        path = "" if body.path is None else check_path(body.path)
        wanted = EmptyTrashRequest(credential, bucket, path, body.marker, body.prefix, body.after)
        return json_reply(self._directory.call(EMPTY_TRASH, wanted))
