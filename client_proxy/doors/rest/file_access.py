"""Access to files and folders over HTTP: who has it and why, and the grants that give it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from client_proxy.doors.rest.schemas import PATH
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import access as am
from lockstep_store.wire.messages.base import CredentialRequest, PathText, Text
from lockstep_store.wire.names import MAX_PATH_BYTES, check_path

_operation = partial(Operation, tag="Sharing", refusals=(errors.BadName, errors.Forbidden, errors.NotFound))
_ONE = "/access/{bucket}"
_ACCOUNT = {"type": "string", "minLength": 1, "maxLength": 256}


class AccessGrantBody(JsonBody):
    """What an account, or a group (`group:NAME`), may do; null ends its grant."""

    account: Text
    level: am.AccessLevel | None


class AccessBody(JsonBody):
    """The grants of a file, or of a folder: a `path` that is empty or ends with a slash. `public` lets everybody read,
    also people without an account."""

    path: PathText = ""
    grants: Annotated[list[AccessGrantBody], Meta(max_length=am.MAX_ENTRIES - 1)] = []
    public: bool | None = None


class AccessRoutes:
    """The routes below /access, and /shared-with-me."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="access",
                method="GET",
                template=_ONE,
                handler=self.show,
                summary="Who may do what with a file or folder, and why",
                description=(
                    "The bucket's owner, administrators and those who manage the path see everybody; others see "
                    "themselves. `:everybody` are people without an account, `:accounts` all that no rule names, "
                    "`group:NAME` the members of a group."
                ),
                parameters=(
                    Parameter(
                        "path", "query", "The file, or the folder with a slash at its end. Without it, all.", PATH
                    ),
                    Parameter("account", "query", "Only this account or group.", _ACCOUNT),
                ),
                answers={200: Answer("The grants, and what each account may do.", Content(am.AccessReply))},
            ),
            self._changing("set_access", "PUT", "Replace the grants of a file or folder", replace=True),
            self._changing("change_access", "PATCH", "Change some of the grants of a file or folder", replace=False),
            _operation(
                id="list_shared_with_me",
                method="GET",
                template="/shared-with-me",
                handler=self.shared_with_me,
                summary="List what others have granted to you",
                description="Files and folders in other people's buckets, by grants to you or to a group of yours.",
                answers={200: Answer("By bucket and path.", Content(am.SharedWithMeReply))},
                refusals=(),
            ),
        ]

    def _changing(self, id: str, method: str, summary: str, *, replace: bool) -> Operation:
        return _operation(
            id=id,
            method=method,
            template=_ONE,
            handler=partial(self.change, replace),
            summary=summary,
            description=(
                "For the bucket's owner, administrators and accounts that manage the path. `read` includes listing, "
                "`write` deleting, `manage` these grants. Grants of folders above stay."
            ),
            bodies=(Content(AccessBody),),
            answers={200: Answer("The grants now, and what each account may do.", Content(am.AccessReply))},
            refusals=(errors.BadName, errors.Conflict, errors.Forbidden, errors.NotFound),
        )

    def show(self, request: RestRequest) -> RawReply:
        path, account = request.argument("path", limit=MAX_PATH_BYTES), request.argument("account", limit=256)
        asked = am.AccessRequest(request.access(), request.bucket(), check_path(path) if path else "", account)
        return json_reply(self._directory.call(am.ACCESS, asked))

    def change(self, replace: bool, request: RestRequest) -> RawReply:
        credential, bucket = request.access(), request.bucket()
        body = request.message(AccessBody)
        grants = [am.GrantEntry(one.account, one.level) for one in body.grants]
        if body.public is not None and not (replace and not body.public):
            grants.append(am.GrantEntry(am.EVERYBODY, "read" if body.public else None))
        path = check_path(body.path) if body.path else ""
        asked = am.SetAccessRequest(credential, bucket, path, grants, replace)
        return json_reply(self._directory.call(am.SET_ACCESS, asked))

    def shared_with_me(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(am.SHARED_WITH_ME, CredentialRequest(request.access())))
