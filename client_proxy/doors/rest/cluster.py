"""The cluster as people see it: this proxy's health, the state of all programs, and how new ones join."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
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
    JoinSecretReply,
    JoinSecretRequest,
)


class JoinSecretBody(JsonBody):
    """How long the secret may be used, in seconds."""

    valid_seconds: Annotated[float, Meta(ge=60, le=7 * 86400)] = 3600.0


class ClusterRoutes:
    """The routes /health, /cluster and /enrol."""

    def __init__(self, directory: Directory, health: Callable[[], Health]) -> None:
        self._directory = directory
        self._health = health

    def operations(self) -> list[Operation]:
        return [
            Operation(
                id="health",
                method="GET",
                template="/health",
                handler=self.health,
                tag="Cluster",
                summary="How this proxy is",
                description="200 whenever it answers; `healthy` and `problems` say the rest. For load balancers, "
                "/health answers 503 when it is not well.",
                answers={200: Answer("Its health.", Content(Health))},
                login=False,
            ),
            Operation(
                id="cluster",
                method="GET",
                template="/cluster",
                handler=self.cluster,
                tag="Cluster",
                summary="How the cluster is: servers, copies, repair",
                description="The figures are at most a few seconds old.",
                answers={200: Answer("Its state.", Content(ClusterReply))},
                refusals=(errors.Unavailable,),
            ),
            Operation(
                id="join_secret",
                method="POST",
                template="/cluster/join-secret",
                handler=self.join_secret,
                tag="Cluster",
                summary="Make a one-time secret with which a program may join (administrators)",
                description="It works once, and only until `valid_seconds` have passed.",
                bodies=(Content(JoinSecretBody),),
                body_optional=True,
                answers={201: Answer("The secret.", Content(JoinSecretReply))},
                refusals=(errors.Forbidden, errors.Unavailable),
            ),
            Operation(
                id="enrol",
                method="POST",
                template="/enrol",
                handler=self.enrol,
                tag="Cluster",
                summary="Get a new program's certificate signed; the join secret vouches for it",
                description="The program makes its key itself and sends a signing request; the key never leaves it.",
                bodies=(Content(EnrolRequest),),
                answers={200: Answer("Certificate and cluster trust.", Content(EnrolReply))},
                refusals=(errors.Forbidden, errors.TooManyRequests, errors.Unavailable),
                login=False,
            ),
        ]

    def health(self, request: RestRequest) -> RawReply:
        return json_reply(self._health())

    def cluster(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(CLUSTER, CredentialRequest(request.credential())))

    def join_secret(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(JoinSecretBody, optional=True)
        return json_reply(self._directory.call(JOIN_SECRET, JoinSecretRequest(credential, body.valid_seconds)), 201)

    def enrol(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(ENROL, request.message(EnrolRequest)))
