"""The routes for this proxy's health, the cluster's state, and programs that join."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.operators import Operators
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.cluster import (
    CLUSTER,
    ENROL,
    JOIN_SECRET,
    ClusterReply,
    EnrolReply,
    EnrolRequest,
    Health,
    HostNames,
    InvitedRole,
    JoinSecretReply,
    JoinSecretRequest,
)

_operation = partial(Operation, tag="Cluster")


class JoinSecretBody(JsonBody):
    """The program to invite, and for how many seconds. Without an `id`, a file server chooses a free one; `hosts` are
    the names that the program's certificates will have in addition to localhost."""

    valid_seconds: Annotated[float, Meta(ge=60, le=7 * 86400)] = 3600.0
    role: InvitedRole = "file_server"
    id: Annotated[str, Meta(max_length=32)] = ""
    hosts: HostNames = []


class ClusterRoutes:
    """The routes /health, /cluster and /enrol."""

    def __init__(self, directory: Directory, operators: Operators) -> None:
        self._directory = directory
        self._operators = operators

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="health",
                method="GET",
                template="/health",
                handler=self.health,
                summary="Get this proxy's health",
                description="200 even if it is not healthy: see `healthy`. The other members need a credential, "
                "except on the proxy's own machine. Load balancers use /health, which then returns 503.",
                answers={200: Answer("Its health.", Content(Health))},
                login=False,
            ),
            _operation(
                id="cluster",
                method="GET",
                template="/cluster",
                handler=self.cluster,
                summary="Get the state of the cluster: servers, copies, repair",
                description="The numbers are at most a few seconds old.",
                answers={200: Answer("Its state.", Content(ClusterReply))},
            ),
            _operation(
                id="join_secret",
                method="POST",
                template="/cluster/join-secret",
                handler=self.join_secret,
                summary="Create a one-time secret for a program that joins (administrators)",
                description="It works once, for the invited role and id, within `valid_seconds`. Refused with a "
                "conflict when a member has that id.",
                bodies=(Content(JoinSecretBody),),
                body_optional=True,
                answers={201: Answer("The secret.", Content(JoinSecretReply))},
                refusals=(errors.Forbidden, errors.Conflict),
            ),
            _operation(
                id="enrol",
                method="POST",
                template="/enrol",
                handler=self.enrol,
                summary="Sign the certificate of a program that joins with a secret",
                description="The program makes its own key, which never leaves it, and sends a signing request.",
                bodies=(Content(EnrolRequest),),
                answers={200: Answer("The certificate and the cluster's CA.", Content(EnrolReply))},
                refusals=(errors.Forbidden, errors.Conflict, errors.TooManyRequests),
                login=False,
            ),
        ]

    def health(self, request: RestRequest) -> RawReply:
        return json_reply(self._operators.health(request))

    def cluster(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(CLUSTER, CredentialRequest(request.credential())))

    def join_secret(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(JoinSecretBody, optional=True)
        wanted = JoinSecretRequest(credential, body.valid_seconds, body.role, body.id, body.hosts)
        return json_reply(self._directory.call(JOIN_SECRET, wanted), 201)

    def enrol(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(ENROL, request.message(EnrolRequest)))
