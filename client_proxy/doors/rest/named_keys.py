"""The routes for named keys (SSE-KMS), for administrators: list, create, enable, disable, rotate; never delete."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.kms import (
    CREATE_KMS_KEY,
    ENABLE_KMS_KEY,
    KMS_KEYS,
    ROTATE_KMS_KEY,
    EnableKmsKeyRequest,
    KeyName,
    KmsKeyInfo,
    KmsKeyRequest,
    KmsKeysReply,
)

_operation = partial(Operation, tag="Cluster", refusals=(errors.Forbidden, errors.NotFound))


class NewKmsKey(JsonBody):
    """A named key to create."""

    name: KeyName


class KmsRoutes:
    """The routes below /kms/keys. A key in an address is its id, or its name, percent-encoded."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        key = Answer("The changed key.", Content(KmsKeyInfo))
        return [
            _operation(
                id="list_kms_keys",
                method="GET",
                template="/kms/keys",
                handler=self.list_keys,
                summary="List the named keys for encryption (administrators)",
                description="Each with its id, its number of versions, and whether it is enabled.",
                answers={200: Answer("The keys, by name, without their secrets.", Content(KmsKeysReply))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="create_kms_key",
                method="POST",
                template="/kms/keys",
                handler=self.create,
                summary="Create a named key (administrators)",
                description="Back up the directory afterwards: without the key its files cannot be read.",
                bodies=(Content(NewKmsKey),),
                answers={201: Answer("The key.", Content(KmsKeyInfo))},
                refusals=(errors.BadName, errors.Forbidden, errors.AlreadyExists),
            ),
            _operation(
                id="enable_kms_key",
                method="POST",
                template="/kms/keys/{id}/enable",
                handler=self.enable,
                summary="Enable a named key (administrators)",
                description="Its files can be read again at once.",
                answers={200: key},
            ),
            _operation(
                id="disable_kms_key",
                method="POST",
                template="/kms/keys/{id}/disable",
                handler=self.disable,
                summary="Disable a named key (administrators)",
                description="Its files can be neither written nor read until it is enabled again.",
                answers={200: key},
            ),
            _operation(
                id="rotate_kms_key",
                method="POST",
                template="/kms/keys/{id}/rotate",
                handler=self.rotate,
                summary="Make a new version of a named key (administrators)",
                description="New files use it. Older files keep the version they have, and stay readable.",
                answers={200: key},
            ),
        ]

    def list_keys(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(KMS_KEYS, CredentialRequest(request.credential())))

    def create(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        wanted = KmsKeyRequest(credential, request.message(NewKmsKey).name)
        return json_reply(self._directory.call(CREATE_KMS_KEY, wanted), 201)

    def enable(self, request: RestRequest) -> RawReply:
        return self._set_enabled(request, enabled=True)

    def disable(self, request: RestRequest) -> RawReply:
        return self._set_enabled(request, enabled=False)

    def rotate(self, request: RestRequest) -> RawReply:
        wanted = KmsKeyRequest(request.credential(), request.segment("id"))
        return json_reply(self._directory.call(ROTATE_KMS_KEY, wanted))

    def _set_enabled(self, request: RestRequest, *, enabled: bool) -> RawReply:
        wanted = EnableKmsKeyRequest(request.credential(), request.segment("id"), enabled)
        return json_reply(self._directory.call(ENABLE_KMS_KEY, wanted))
