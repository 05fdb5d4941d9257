"""The routes for the person's S3 access keys: list, create, rotate, revoke."""

from __future__ import annotations

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
from lockstep_store.wire.messages.s3 import (
    CREATE_S3_KEY,
    REVOKE_S3_KEY,
    ROTATE_S3_KEY,
    S3_KEYS,
    CreateS3KeyRequest,
    S3KeyInfo,
    S3KeyRequest,
    S3KeysReply,
)

_operation = partial(Operation, tag="People")


class NewS3Key(JsonBody):
    """An S3 key to create. `name` identifies it in lists; with `valid_seconds` it is temporary."""

    name: Annotated[str, Meta(max_length=256)] = ""
    valid_seconds: Annotated[float, Meta(ge=60, le=7 * 86400)] | None = None


class S3KeyRoutes:
    """The routes below /auth/s3-keys."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="list_s3_keys",
                method="GET",
                template="/auth/s3-keys",
                handler=self.list_keys,
                summary="List your S3 access keys, without their secrets",
                description="Temporary keys have an expiry time.",
                answers={200: Answer("The keys.", Content(S3KeysReply))},
            ),
            _operation(
                id="create_s3_key",
                method="POST",
                template="/auth/s3-keys",
                handler=self.create,
                summary="Create an S3 access key",
                description="Only this reply has the secret, and a temporary key's session token.",
                bodies=(Content(NewS3Key),),
                body_optional=True,
                answers={201: Answer("The key with its secret.", Content(S3KeyInfo))},
                refusals=(errors.Conflict, errors.QuotaExceeded),
            ),
            _operation(
                id="rotate_s3_key",
                method="POST",
                template="/auth/s3-keys/{id}/rotate",
                handler=self.rotate,
                summary="Replace one of your S3 access keys; the old one stops working at once",
                description="The new key has the old one's name.",
                answers={201: Answer("The new key with its secret.", Content(S3KeyInfo))},
                refusals=(errors.NotFound,),
            ),
            _operation(
                id="revoke_s3_key",
                method="DELETE",
                template="/auth/s3-keys/{id}",
                handler=self.revoke,
                summary="Revoke an S3 access key",
                description="Presigned addresses and temporary keys made with it also stop working at once.",
                answers={204: Answer("Revoked.")},
                refusals=(errors.NotFound,),
            ),
        ]

    def list_keys(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(S3_KEYS, CredentialRequest(request.credential())))

    def create(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        wanted = request.message(NewS3Key, optional=True)
        asked = CreateS3KeyRequest(credential, wanted.name, wanted.valid_seconds)
        return json_reply(self._directory.call(CREATE_S3_KEY, asked), 201)

    def rotate(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(ROTATE_S3_KEY, self._own(request)), 201)

    def revoke(self, request: RestRequest) -> RawReply:
        self._directory.call(REVOKE_S3_KEY, self._own(request))
        return empty_reply()

    def _own(self, request: RestRequest) -> S3KeyRequest:
        return S3KeyRequest(request.credential(), request.segment("id"))
