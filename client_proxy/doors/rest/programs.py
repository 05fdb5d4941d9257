"""The routes for member programs: list and remove proxies, revoke certificates. For administrators."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.programs import (
    PROXIES,
    REVOKE_PROGRAM,
    ProxiesReply,
    RevocableRole,
    RevokeProgramRequest,
)

_operation = partial(Operation, tag="Cluster", refusals=(errors.BadRequest, errors.Forbidden, errors.NotFound))


def _role(text: str) -> RevocableRole:
    if text == "file_server":
        return "file_server"
    if text == "client_proxy":
        return "client_proxy"
    raise BadRequest(f"{text[:40]!r} is not a role that can be revoked: use file_server or client_proxy")


class ProgramRoutes:
    """The routes below /cluster/proxies and /cluster/programs."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="list_proxies",
                method="GET",
                template="/cluster/proxies",
                handler=self.list_proxies,
                summary="List the proxies (administrators)",
                description="All present and former proxies, with their states and the names from their invitations.",
                answers={200: Answer("The proxies, by id.", Content(ProxiesReply))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="remove_proxy",
                method="DELETE",
                template="/cluster/proxies/{id}",
                handler=self.remove_proxy,
                summary="Remove a proxy from the cluster (administrators)",
                description="Its token and certificates are void at the directory at once, and at file servers within "
                "a heartbeat.",
                answers={204: Answer("Removed.")},
            ),
            _operation(
                id="revoke_program",
                method="POST",
                template="/cluster/programs/{role}/{id}/revoke",
                handler=self.revoke,
                summary="Revoke a program's token and certificates (administrators)",
                description="For a stolen key. A file server keeps its data and its place, and can be invited again.",
                answers={204: Answer("Revoked.")},
            ),
        ]

    def list_proxies(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(PROXIES, CredentialRequest(request.credential())))

    def remove_proxy(self, request: RestRequest) -> RawReply:
        wanted = RevokeProgramRequest(request.credential(), "client_proxy", request.segment("id"))
        self._directory.call(REVOKE_PROGRAM, wanted)
        return empty_reply()

    def revoke(self, request: RestRequest) -> RawReply:
        credential, id = request.credential(), request.segment("id")
        self._directory.call(REVOKE_PROGRAM, RevokeProgramRequest(credential, _role(request.segment("role")), id))
        return empty_reply()
