"""The routes for notification targets: list, add, remove, test. The directory admits only administrators."""

from __future__ import annotations

import re
from functools import partial
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

_operation = partial(Operation, tag="Cluster")
_REFUSALS = (errors.Forbidden, errors.NotFound)


class NewTarget(JsonBody):
    """A target at an https, http, amqps or amqp URL. `ca_pem` has further CAs to trust.

    `secret` signs a webhook's messages, `token` is sent to it as `Authorization: Bearer`.
    """

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
            _operation(
                id="list_targets",
                method="GET",
                template="/cluster/targets",
                handler=self.list_targets,
                summary="List the notification targets (administrators)",
                description="Each with its waiting messages and last error.",
                answers={200: Answer("The targets, without their secrets.", Content(TargetsReply))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="add_target",
                method="PUT",
                template="/cluster/targets/{id}",
                handler=self.add,
                summary="Add a notification target, or change its address (administrators)",
                description="Secrets are stored encrypted and never returned. Waiting messages stay.",
                bodies=(Content(NewTarget),),
                answers={200: Answer("The target.", Content(TargetInfo))},
                refusals=(errors.BadRequest, errors.Conflict, errors.Forbidden),
            ),
            _operation(
                id="remove_target",
                method="DELETE",
                template="/cluster/targets/{id}",
                handler=self.remove,
                summary="Remove a notification target that no bucket uses (administrators)",
                description="Its waiting messages are dropped.",
                answers={200: Answer("The number of dropped messages.", Content(RemovedTarget))},
                refusals=(*_REFUSALS, errors.Conflict),
            ),
            _operation(
                id="test_target",
                method="POST",
                template="/cluster/targets/{id}/test",
                handler=self.test,
                summary="Send a test message to a notification target now (administrators)",
                description=(
                    "It is sent before all waiting messages. 424: change the target first; 503: the target may accept "
                    "the message later."
                ),
                answers={204: Answer("The target accepted the message.")},
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
            f"{name[:80]!r} is not a valid target name: use 1 to 64 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit"
        )
    return name
