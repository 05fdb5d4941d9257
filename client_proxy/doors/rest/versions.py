"""A file's versions: list them, and make an old one current again."""

from __future__ import annotations

from client_proxy.core.requests import Copy
from client_proxy.doors.rest.file_operations import IF_MATCH, LOCK, RELEASE, WRITE_RECEIPT, WRITE_REFUSALS
from client_proxy.doors.rest.files import Files
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import committed_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.conditions import write_preconditions
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import MAX_LISTING, Text
from lockstep_store.wire.messages.files import CommittedReply, VersionsReply, VersionsRequest


class RestoreBody(JsonBody):
    """Which version to make current again. The lock's number may also come as X-Lockstep-Lock."""

    version: Text
    lock_number: int | None = None
    release_lock: bool = False


class VersionRoutes:
    """The routes below /versions."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def operations(self) -> list[Operation]:
        return [
            Operation(
                id="list_versions",
                method="GET",
                template="/versions/{bucket}/{path}",
                handler=self.list_versions,
                tag="Versions",
                summary="List a file's versions, newest first",
                description=(
                    "Delete markers are versions too. Give the version of `next_after` as `cursor` for the next page."
                ),
                parameters=(
                    Parameter("limit", "query", "Versions in one page.", between(1, MAX_LISTING)),
                    Parameter("cursor", "query", "The version in the page before's `next_after` (its second part)."),
                ),
                answers={200: Answer("One page, delete markers included.", Content(VersionsReply))},
                refusals=(errors.BadName, errors.Forbidden, errors.NotFound, errors.Unavailable),
            ),
            Operation(
                id="restore_version",
                method="POST",
                template="/versions/{bucket}/{path}/restore",
                handler=self.restore,
                tag="Versions",
                summary="Make an old version current again, as a new version",
                description=(
                    "The old version stays where it is, and its content becomes the current one. No bytes travel."
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
                request.credential(),
                request.bucket(),
                path,
                limit=request.number_argument("limit", MAX_LISTING, 1, MAX_LISTING),
                after=(path, after) if after else None,
            )
        )
        return json_reply(reply)

    def restore(self, request: RestRequest) -> RawReply:
        """Restoring is copying the old version onto its own path."""
        credential, bucket, path = request.credential(), request.bucket(), request.file_path()
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
