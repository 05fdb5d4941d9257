"""The routes for a file's versions: list and restore."""

from __future__ import annotations

from functools import partial

from client_proxy.core.requests import Copy
from client_proxy.doors.rest.file_operations import IF_MATCH, LOCK, RELEASE, WRITE_RECEIPT, WRITE_REFUSALS
from client_proxy.doors.rest.files import Files
from client_proxy.doors.rest.json_body import JsonBody, LockNumber
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import committed_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.conditions import write_preconditions
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import MAX_LISTING, Text
from lockstep_store.wire.messages.files import CommittedReply, VersionsReply, VersionsRequest

_operation = partial(Operation, tag="Versions")


class RestoreBody(JsonBody):
    """The version to restore. The lock number may also be sent as X-Lockstep-Lock."""

    version: Text
    lock_number: LockNumber | None = None
    release_lock: bool = False


class VersionRoutes:
    """The routes below /versions."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="list_versions",
                method="GET",
                template="/versions/{bucket}/{path}",
                handler=self.list_versions,
                summary="List a file's versions, newest first",
                description=(
                    "Delete markers are versions, too. For the next page, send the version in `next_after` as `cursor`."
                ),
                parameters=(
                    Parameter("limit", "query", "Maximum number of versions in a page.", between(1, MAX_LISTING)),
                    Parameter("cursor", "query", "The version in `next_after` of the previous page (its second part)."),
                ),
                answers={200: Answer("One page, delete markers included.", Content(VersionsReply))},
                refusals=(errors.BadName, errors.Forbidden, errors.NotFound),
            ),
            _operation(
                id="restore_version",
                method="POST",
                template="/versions/{bucket}/{path}/restore",
                handler=self.restore,
                summary="Restore an old version, as a new version",
                description=(
                    "The old version stays, and its content becomes the current one. No content is transferred."
                ),
                parameters=(LOCK, RELEASE, IF_MATCH),
                bodies=(Content(RestoreBody),),
                answers={
                    200: Answer("The new version.", Content(CommittedReply), WRITE_RECEIPT),
                    201: Answer("The new version of a file that was deleted.", Content(CommittedReply), WRITE_RECEIPT),
                },
                refusals=WRITE_REFUSALS,
            ),
        ]

    def list_versions(self, request: RestRequest) -> RawReply:
        """One page of a path's versions."""
        path = request.file_path()
        after = request.argument("cursor", limit=256)
        reply = self._files.versions(
            VersionsRequest(
                request.access(),
                request.bucket(),
                path,
                limit=request.number_argument("limit", MAX_LISTING, 1, MAX_LISTING),
                after=(path, after) if after else None,
            )
        )
        return json_reply(reply)

    def restore(self, request: RestRequest) -> RawReply:
        """Restore a version, by copying it onto its own path."""
        credential, bucket, path = request.access(), request.bucket(), request.file_path()
        body = request.message(RestoreBody)
        number = request.number_header("X-Lockstep-Lock")
        committed = self._files.copy(
            Copy(
                credential,
                bucket,
                path,
                source_bucket=bucket,
                source_path=path,
                source_version=body.version,
                lock_number=body.lock_number if number is None else number,
                release_lock=body.release_lock or request.flag_header("X-Lockstep-Release-Lock"),
                preconditions=write_preconditions(request.environ),
            )
        )
        return committed_reply(committed)
