"""Named keys (SSE-KMS) over HTTP, for administrators: list, make, enable, disable, rotate. None is ever deleted."""

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

_operation = partial(Operation, tag="Cluster", refusals=(errors.Forbidden, errors.NotFound, errors.Unavailable))


class NewKmsKey(JsonBody):
    """A named key to make."""

    name: KeyName


class KmsRoutes:
    """The routes below /kms/keys. A key in an address is its id, or its name, percent-encoded."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        key = Answer("The key as it is now.", Content(KmsKeyInfo))
        return [
            _operation(
                id="list_kms_keys",
                method="GET",
                template="/kms/keys",
                handler=self.list_keys,
                summary="List the named keys that contents can be under (administrators)",
                description="Each with its id, its version, and whether it may be used.",
                answers={200: Answer("The keys, by name; their material is never told.", Content(KmsKeysReply))},
                refusals=(errors.Forbidden, errors.Unavailable),
            ),
            _operation(
                id="create_kms_key",
                method="POST",
                template="/kms/keys",
                handler=self.create,
                summary="Make a named key (administrators)",
                description="Make a backup of the directory afterwards: without the key nothing under it can be read.",
                bodies=(Content(NewKmsKey),),
                answers={201: Answer("The key.", Content(KmsKeyInfo))},
                refusals=(errors.BadName, errors.Forbidden, errors.AlreadyExists, errors.Unavailable),
            ),
            _operation(
                id="enable_kms_key",
                method="POST",
                template="/kms/keys/{id}/enable",
                handler=self.enable,
                summary="Let a named key be used again (administrators)",
                description="Contents under it can be read again at once.",
                answers={200: key},
            ),
            _operation(
                id="disable_kms_key",
                method="POST",
                template="/kms/keys/{id}/disable",
                handler=self.disable,
                summary="Stop a named key from being used: nothing is written or read under it (administrators)",
                description="Nothing is deleted; enabling the key makes everything readable again.",
                answers={200: key},
            ),
            _operation(
                id="rotate_kms_key",
                method="POST",
                template="/kms/keys/{id}/rotate",
                handler=self.rotate,
                summary="Make a new version of a named key (administrators)",
                description="Contents written from now on are under it; older ones stay under theirs, and are read.",
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
