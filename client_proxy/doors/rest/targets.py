"""Notification targets over HTTP: list, add, remove, test. Administrators only, which the directory decides."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.targets import (
    ADD_TARGET,
    REMOVE_TARGET,
    TARGET_NAME,
    TARGETS,
    TEST_TARGET,
    AddTargetRequest,
    RemovedTarget,
    TargetInfo,
    TargetRequest,
    TargetsReply,
    TryTargetRequest,
)

_REFUSALS = (errors.Forbidden, errors.NotFound, errors.Unavailable)


class NewTarget(JsonBody):
    """Where messages go: https, http, amqps or amqp. `secret` signs what a webhook is sent, `token` goes along as
    `Authorization: Bearer`; `ca_pem` has further authorities to trust."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    secret: Annotated[str, Meta(max_length=512)] = ""
    token: Annotated[str, Meta(max_length=512)] = ""
    ca_pem: Annotated[str, Meta(max_length=64 * 1024)] = ""


class TargetRoutes:
    """The routes below /cluster/targets."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            Operation(
                id="list_targets",
                method="GET",
                template="/cluster/targets",
                handler=self.list_targets,
                tag="Cluster",
                summary="List the notification targets, and how delivery to them goes (administrators)",
                description="Each with what waits for it, and why the last attempt failed.",
                answers={200: Answer("The targets, without their secrets.", Content(TargetsReply))},
                refusals=(errors.Forbidden, errors.Unavailable),
            ),
            Operation(
                id="add_target",
                method="PUT",
                template="/cluster/targets/{id}",
                handler=self.add,
                tag="Cluster",
                summary="Name a notification target, or give one another address (administrators)",
                description="Secrets are kept sealed, and no answer shows them. What waits for the target stays.",
                bodies=(Content(NewTarget),),
                answers={200: Answer("The target.", Content(TargetInfo))},
                refusals=(errors.BadRequest, errors.Conflict, errors.Forbidden, errors.Unavailable),
            ),
            Operation(
                id="remove_target",
                method="DELETE",
                template="/cluster/targets/{id}",
                handler=self.remove,
                tag="Cluster",
                summary="Forget a notification target that no bucket uses, and what waits for it (administrators)",
                description="Messages that wait for it are dropped.",
                answers={200: Answer("How many messages it did not get.", Content(RemovedTarget))},
                refusals=(*_REFUSALS, errors.Conflict),
            ),
            Operation(
                id="test_target",
                method="POST",
                template="/cluster/targets/{id}/test",
                handler=self.test,
                tag="Cluster",
                summary="Send a test message to a notification target now (administrators)",
                description=(
                    "It goes ahead of the messages that wait. 424 says that the target must be changed first, 503 "
                    "that it may take the message later."
                ),
                answers={204: Answer("It took the message.")},
                refusals=(*_REFUSALS, errors.TargetUnusable),
            ),
        ]

    def list_targets(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(TARGETS, CredentialRequest(request.credential())))

    def add(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(NewTarget)
        asked = AddTargetRequest(
            credential, _target_name(request), body.url, secret=body.secret, token=body.token, ca_pem=body.ca_pem
        )
        return json_reply(self._directory.call(ADD_TARGET, asked))

    def remove(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(REMOVE_TARGET, self._named(request)))

    def test(self, request: RestRequest) -> RawReply:
        self._directory.call(TEST_TARGET, TryTargetRequest(request.credential(), _target_name(request)))
        return empty_reply()

    def _named(self, request: RestRequest) -> TargetRequest:
        return TargetRequest(request.credential(), _target_name(request))


def _target_name(request: RestRequest) -> str:
    name = request.segment("id")
    if not re.fullmatch(TARGET_NAME, name):
        raise errors.BadName(
            f"{name[:80]!r} cannot be a target's name: 1 to 64 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit"
        )
    return name
