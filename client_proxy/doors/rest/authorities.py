"""The routes for the certificate authorities: which to trust, and, for administrators, their rotation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.authorities import (
    AUTHORITIES,
    RETIRE_AUTHORITY,
    ROTATE_AUTHORITY,
    AuthoritiesReply,
    ProgramName,
    RetireAuthorityRequest,
    TrustNews,
)
from lockstep_store.wire.messages.base import CredentialRequest, Text
from lockstep_store.wire.messages.programs import RevocableRole

_operation = partial(Operation, tag="Cluster", refusals=(errors.Forbidden, errors.Conflict))
_authorities = Content(AuthoritiesReply)


class ProgramLeftBehind(JsonBody):
    """A program that is left behind."""

    role: RevocableRole
    id: Text


class AuthorityRetirement(JsonBody):
    """Which programs are left behind, although they need the old authority: they are revoked."""

    without: list[ProgramLeftBehind] = []


class AuthorityRoutes:
    """The routes /authorities and below /cluster/authorities. `trust` returns what this proxy trusts itself."""

    def __init__(self, directory: Directory, trust: Callable[[], TrustNews]) -> None:
        self._directory = directory
        self._trust = trust

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="trusted_authorities",
                method="GET",
                template="/authorities",
                handler=self.trusted,
                summary="Get the certificate authorities to trust",
                description="The content of `ca.pem`; every reply's `X-Lockstep-Authorities` has their ids. During a "
                "rotation there are two. Accept a new one only if a certificate in `links_pem`, signed by one that you "
                "already trust, certifies its key: the sender may be an impostor.",
                answers={200: Answer("The authorities.", Content(TrustNews))},
                refusals=(),
                login=False,
            ),
            _operation(
                id="list_authorities",
                method="GET",
                template="/cluster/authorities",
                handler=self.list_authorities,
                summary="List the certificate authorities (administrators)",
                description="Which one issues certificates, what the next one waits for, and what needs an old one.",
                answers={200: Answer("The authorities, the one that issues certificates first.", _authorities)},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="rotate_authority",
                method="POST",
                template="/cluster/authorities/rotate",
                handler=self.rotate,
                summary="Rotate the certificate authority (administrators)",
                description="Makes a new authority. All programs receive it with their heartbeats, and then get new "
                "certificates from it. The old one is trusted until it is retired.",
                answers={200: Answer("The authorities.", _authorities)},
            ),
            _operation(
                id="retire_authority",
                method="POST",
                template="/cluster/authorities/{id}/retire",
                handler=self.retire,
                summary="Retire an old certificate authority (administrators)",
                description="Deletes its key; no program accepts its certificates any more. Refused while a program "
                "that is not in `without` needs it.",
                bodies=(Content(AuthorityRetirement),),
                answers={200: Answer("The remaining authorities.", _authorities)},
                refusals=(errors.BadRequest, errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
        ]

    def trusted(self, _: RestRequest) -> RawReply:
        return json_reply(self._trust())

    def list_authorities(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(AUTHORITIES, CredentialRequest(request.credential())))

    def rotate(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(ROTATE_AUTHORITY, CredentialRequest(request.credential())))

    def retire(self, request: RestRequest) -> RawReply:
        credential, id = request.credential(), request.segment("id")
        without = [ProgramName(one.role, one.id) for one in request.message(AuthorityRetirement).without]
        return json_reply(self._directory.call(RETIRE_AUTHORITY, RetireAuthorityRequest(credential, id, without)))
