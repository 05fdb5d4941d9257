"""The routes for the storage keys, for administrators: list, rotate, retire."""

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
from lockstep_store.wire.messages.storage_keys import (
    RETIRE_STORAGE_KEY,
    ROTATE_STORAGE_KEYS,
    STORAGE_KEYS,
    RetireStorageKeyRequest,
    StorageKeysReply,
)

_operation = partial(Operation, tag="Cluster", refusals=(errors.Forbidden, errors.Conflict))
_keys = Content(StorageKeysReply)


class Retirement(JsonBody):
    """How to retire a storage key."""

    forget_backups: bool = False
    """Retire it although backups made before `backups_before` have secrets that only it opens."""


class StorageKeyRoutes:
    """The routes below /cluster/storage-keys."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="list_storage_keys",
                method="GET",
                template="/cluster/storage-keys",
                handler=self.list_keys,
                summary="List the storage keys (administrators)",
                description="The keys that encrypt content on disk, without their secrets, and what still needs each.",
                answers={200: Answer("The keys, the current one first.", _keys)},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="rotate_storage_keys",
                method="POST",
                template="/cluster/storage-keys/rotate",
                handler=self.rotate,
                summary="Rotate the storage keys (administrators)",
                description="A new key encrypts everything new: at the directory at once, at file servers within a "
                "heartbeat. In the background they encrypt what older keys encrypted again.",
                answers={200: Answer("The keys, the new one first.", _keys)},
            ),
            _operation(
                id="retire_storage_key",
                method="POST",
                template="/cluster/storage-keys/{id}/retire",
                handler=self.retire,
                summary="Retire an old storage key (administrators)",
                description="Deletes the key everywhere. Refused while anything needs it, and without "
                "`forget_backups` because of the secrets in older backups.",
                bodies=(Content(Retirement),),
                answers={200: Answer("The remaining keys.", _keys)},
                refusals=(errors.BadRequest, errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
        ]

    def list_keys(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(STORAGE_KEYS, CredentialRequest(request.credential())))

    def rotate(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(ROTATE_STORAGE_KEYS, CredentialRequest(request.credential())))

    def retire(self, request: RestRequest) -> RawReply:
        credential, id = request.credential(), request.segment("id")
        forget = request.message(Retirement).forget_backups
        return json_reply(self._directory.call(RETIRE_STORAGE_KEY, RetireStorageKeyRequest(credential, id, forget)))
