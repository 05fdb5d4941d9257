"""The routes that maintain the directory: check, backup, recovery.

The directory admits only administrators. A backup is streamed in blocks, and never whole in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Literal

from client_proxy.core.directory_calls import Directory, DirectoryStream
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import NUMBER, Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.recovery import (
    BACKUP_PATH,
    FSCK,
    FSCK_REPORT,
    RECOVER,
    RECOVERY,
    FsckReport,
    FsckRequest,
    RecoverRequest,
    RecoveryReply,
)
from lockstep_store.wire.messages.redo import FOLLOW_REDO, FollowRequest, RedoPlace, RedoReply

BACKUP_TYPE = "application/vnd.lockstep.backup"
BLOCK_BYTES = 1024 * 1024
_CHAIN_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{1,64}$"}
_CHAIN = re.compile("[0-9a-f]{0,64}")
_REFUSALS = (errors.Forbidden, errors.Conflict)
_operation = partial(Operation, tag="Cluster", refusals=_REFUSALS)


class FsckBody(JsonBody):
    """`deep`: also read every byte on every file server."""

    deep: bool = False


class RecoverBody(JsonBody):
    """`finish`: stop waiting for file servers. `unnamed`: what to do with blobs that have no name."""

    finish: bool = False
    unnamed: Literal["keep", "name", "drop"] = "keep"


class MaintenanceRoutes:
    """The routes /cluster/fsck, /cluster/backup and /cluster/recovery."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._checks(), *self._recovery()]

    def _checks(self) -> list[Operation]:
        return [
            _operation(
                id="start_fsck",
                method="POST",
                template="/cluster/fsck",
                handler=self.start_fsck,
                summary="Start a check that the metadata and the file servers' disks agree (administrators)",
                description="Returns at once; GET the report until `state` is `done`. One check runs at a time.",
                bodies=(Content(FsckBody),),
                body_optional=True,
                answers={202: Answer("The running check.", Content(FsckReport))},
            ),
            _operation(
                id="fsck_report",
                method="GET",
                template="/cluster/fsck",
                handler=self.fsck_report,
                summary="Get the report of the running or last check (administrators)",
                description="`state` is `never` before the first check, and `running` while one runs.",
                answers={200: Answer("The report.", Content(FsckReport))},
            ),
            _operation(
                id="backup",
                method="GET",
                template="/cluster/backup",
                handler=self.backup,
                summary="Make a backup of the directory (administrators)",
                description="It contains secrets. It does not contain file contents or the CA in certs/.",
                answers={200: Answer("The backup.", Content(media=BACKUP_TYPE))},
                refusals=(*_REFUSALS, errors.StorageFull, errors.Damaged),
            ),
            _operation(
                id="follow_backup",
                method="GET",
                template="/cluster/backup/records",
                handler=self.follow,
                summary="What the directory changed after a backup, or after earlier records (administrators)",
                description=(
                    "Records hold secrets. Without arguments the reply says how far the directory is; `known` is false "
                    "when the records behind that place are not there any more, and a new backup is needed."
                ),
                parameters=(
                    Parameter("after", "query", "Only records behind this one.", NUMBER),
                    Parameter("chain", "query", "The chain up to it, in hexadecimal.", _CHAIN_SCHEMA),
                ),
                answers={200: Answer("The records that are there, at most a mebibyte or one.", Content(RedoReply))},
            ),
        ]

    def _recovery(self) -> list[Operation]:
        return [
            _operation(
                id="recovery",
                method="GET",
                template="/cluster/recovery",
                handler=self.recovery,
                summary="Get the progress of recovery after a restored backup (administrators)",
                description="A file server is in recovery until it has reported everything that it holds.",
                answers={200: Answer("The progress; `recovery` is null without a restore.", Content(RecoveryReply))},
            ),
            _operation(
                id="recover",
                method="POST",
                template="/cluster/recovery",
                handler=self.recover,
                summary="Settle what a recovery cannot decide by itself (administrators)",
                description=(
                    "`finish` stops waiting for file servers that do not return; `unnamed` keeps, names or drops "
                    "blobs without a name."
                ),
                bodies=(Content(RecoverBody),),
                answers={200: Answer("The progress.", Content(RecoveryReply))},
            ),
        ]

    def start_fsck(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(FsckBody, optional=True)
        self._directory.call(FSCK, FsckRequest(credential, body.deep))
        return json_reply(self._directory.call(FSCK_REPORT, CredentialRequest(credential)), 202)

    def fsck_report(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(FSCK_REPORT, CredentialRequest(request.credential())))

    def backup(self, request: RestRequest) -> RawReply:
        stream = self._directory.stream(BACKUP_PATH, CredentialRequest(request.credential()))
        headers = [
            ("Content-Type", BACKUP_TYPE),
            ("Content-Length", str(stream.length or 0)),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return RawReply(200, headers, _blocks(stream))

    def follow(self, request: RestRequest) -> RawReply:
        chain = request.argument("chain")
        if not _CHAIN.fullmatch(chain):
            raise errors.BadRequest(f"chain={chain[:80]!r} is no chain: give the one that came with the last records")
        after = RedoPlace(request.number_argument("after", 0, 0, 10**18 - 1), chain)
        return json_reply(self._directory.call(FOLLOW_REDO, FollowRequest(request.credential(), after)))

    def recovery(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(RECOVERY, CredentialRequest(request.credential())))

    def recover(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(RecoverBody)
        return json_reply(self._directory.call(RECOVER, RecoverRequest(credential, body.finish, body.unnamed)))


def _blocks(stream: DirectoryStream) -> Iterator[bytes]:
    try:
        while block := stream.read(BLOCK_BYTES):
            yield block
    finally:
        stream.close()
