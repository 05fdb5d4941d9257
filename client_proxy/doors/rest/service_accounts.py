"""Service accounts over HTTP: what programs sign S3 requests as, with keys and policies, and no password."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import identities as im
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.s3 import S3KeyInfo

_ADDRESS = "/auth/service-accounts"
_ONE = f"{_ADDRESS}/{{service_account}}"
_operation = partial(Operation, tag="People", refusals=(errors.Forbidden, errors.NotFound))


class PolicyBody(JsonBody):
    """A policy document of AWS's policy language, without principals."""

    Statement: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    Version: str = "2012-10-17"
    Id: str = ""

    def text(self) -> str:
        """The document as it is stored."""
        text = msgspec.json.encode(self).decode()
        if len(text) > im.MAX_POLICY_CHARACTERS:
            raise errors.BadRequest(f"a policy may have at most {im.MAX_POLICY_CHARACTERS} characters")
        return text


class NewServiceAccount(JsonBody):
    """A service account to create. Without `policy` it may do nothing."""

    name: im.IdentityName
    policy: PolicyBody | None = None


class NewServiceKey(JsonBody):
    """A key to create. With `valid_seconds` it expires."""

    valid_seconds: Annotated[float, Meta(ge=60, le=im.MAX_KEY_SECONDS)] | None = None


class ServiceKeyState(JsonBody):
    """An inactive key is refused until it is active again."""

    active: bool


class ServiceAccountRoutes:
    """The routes below /auth/service-accounts."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._accounts(), *self._policies(), *self._keys()]

    def _accounts(self) -> list[Operation]:
        return [
            _operation(
                id="list_service_accounts",
                method="GET",
                template=_ADDRESS,
                handler=self.list_accounts,
                summary="List your service accounts",
                description="Those that S3 clients made with IAM (`aws iam create-user`) are listed, too.",
                answers={200: Answer("The service accounts, by name.", Content(im.ServiceAccountsReply))},
                refusals=(),
            ),
            _operation(
                id="create_service_account",
                method="POST",
                template=_ADDRESS,
                handler=self.create,
                summary="Create a service account",
                description="It may do what its policies allow, and never more than you. What it writes is yours.",
                bodies=(Content(NewServiceAccount),),
                answers={201: Answer("The service account.", Content(im.IdentityInfo))},
                refusals=(errors.AlreadyExists, errors.Conflict),
            ),
            _operation(
                id="get_service_account",
                method="GET",
                template=_ONE,
                handler=self.get,
                summary="Show a service account with its policies and keys",
                description="Keys are shown without their secrets.",
                answers={200: Answer("The service account.", Content(im.ServiceAccountInfo))},
            ),
            _operation(
                id="delete_service_account",
                method="DELETE",
                template=_ONE,
                handler=self.delete,
                summary="Delete a service account with its policies and keys",
                description="Its keys are refused from the next request on. Files stay.",
                answers={204: Answer("Deleted.")},
            ),
        ]

    def _policies(self) -> list[Operation]:
        return [
            _operation(
                id="put_service_policy",
                method="PUT",
                template=f"{_ONE}/policies/{{policy}}",
                handler=self.put_policy,
                summary="Create or replace a policy of a service account",
                description="It holds for the next request. An explicit Deny wins over every Allow.",
                bodies=(Content(PolicyBody),),
                answers={204: Answer("Stored.")},
                refusals=(errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
            _operation(
                id="delete_service_policy",
                method="DELETE",
                template=f"{_ONE}/policies/{{policy}}",
                handler=self.delete_policy,
                summary="Delete a policy of a service account",
                description="It holds for the next request.",
                answers={204: Answer("Deleted.")},
            ),
        ]

    def _keys(self) -> list[Operation]:
        return [
            _operation(
                id="create_service_key",
                method="POST",
                template=f"{_ONE}/keys",
                handler=self.create_key,
                summary="Create an S3 access key for a service account",
                description="Only this reply has the secret.",
                bodies=(Content(NewServiceKey),),
                body_optional=True,
                answers={201: Answer("The key with its secret.", Content(S3KeyInfo))},
                refusals=(errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
            _operation(
                id="change_service_key",
                method="PATCH",
                template=f"{_ONE}/keys/{{id}}",
                handler=self.change_key,
                summary="Activate or deactivate a key of a service account",
                description="It holds for the next request, and for the key's sessions.",
                bodies=(Content(ServiceKeyState),),
                answers={204: Answer("Changed.")},
            ),
            _operation(
                id="revoke_service_key",
                method="DELETE",
                template=f"{_ONE}/keys/{{id}}",
                handler=self.revoke_key,
                summary="Revoke a key of a service account",
                description="The key and its sessions are refused from the next request on.",
                answers={204: Answer("Revoked.")},
            ),
        ]

    def list_accounts(self, request: RestRequest) -> RawReply:
        asked = im.IdentitiesRequest(request.credential(), "user", limit=MAX_LISTING)
        return json_reply(im.ServiceAccountsReply(self._directory.call(im.IDENTITIES, asked).identities))

    def create(self, request: RestRequest) -> RawReply:
        credential, body = request.credential(), request.message(NewServiceAccount)
        policies = {} if body.policy is None else {im.FIRST_POLICY: body.policy.text()}
        asked = im.NewIdentityRequest(credential, "user", body.name, policies=policies)
        return json_reply(self._directory.call(im.CREATE_IDENTITY, asked), 201)

    def get(self, request: RestRequest) -> RawReply:
        asked = im.IdentityRequest(request.credential(), "user", request.segment("service_account"))
        return json_reply(self._directory.call(im.SERVICE_ACCOUNT, asked))

    def delete(self, request: RestRequest) -> RawReply:
        asked = im.DeleteIdentityRequest(
            request.credential(), "user", request.segment("service_account"), everything=True
        )
        self._directory.call(im.DELETE_IDENTITY, asked)
        return empty_reply()

    def put_policy(self, request: RestRequest) -> RawReply:
        credential, name, policy = request.credential(), request.segment("service_account"), request.segment("policy")
        document = request.message(PolicyBody).text()
        asked = im.PutIdentityPolicyRequest(credential, "user", name, policy, document)
        self._directory.call(im.PUT_IDENTITY_POLICY, asked)
        return empty_reply()

    def delete_policy(self, request: RestRequest) -> RawReply:
        name, policy = request.segment("service_account"), request.segment("policy")
        asked = im.IdentityPolicyRequest(request.credential(), "user", name, policy)
        self._directory.call(im.DELETE_IDENTITY_POLICY, asked)
        return empty_reply()

    def create_key(self, request: RestRequest) -> RawReply:
        credential, body = request.credential(), request.message(NewServiceKey, optional=True)
        asked = im.NewUserKeyRequest(credential, request.segment("service_account"), body.valid_seconds)
        return json_reply(self._directory.call(im.CREATE_USER_KEY, asked), 201)

    def change_key(self, request: RestRequest) -> RawReply:
        credential, body = request.credential(), request.message(ServiceKeyState)
        asked = im.UserKeyStateRequest(
            credential, request.segment("id"), request.segment("service_account"), body.active
        )
        self._directory.call(im.CHANGE_USER_KEY, asked)
        return empty_reply()

    def revoke_key(self, request: RestRequest) -> RawReply:
        asked = im.UserKeyRequest(request.credential(), request.segment("id"), request.segment("service_account"))
        self._directory.call(im.DELETE_USER_KEY, asked)
        return empty_reply()
