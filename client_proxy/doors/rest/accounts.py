"""The routes for log-ins and API keys. Passes passwords and tokens to the directory without storing them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import CredentialRequest, Text
from lockstep_store.wire.messages.people import (
    API_KEYS,
    CREATE_API_KEY,
    LOGIN,
    LOGOUT,
    REVOKE_API_KEY,
    WHO_AM_I,
    AccountInfo,
    ApiKeyInfo,
    ApiKeysReply,
    CreateApiKeyRequest,
    FactorCode,
    LoginReply,
    PasswordRequest,
    RevokeApiKeyRequest,
)
from lockstep_store.wire.names import check_account

_operation = partial(Operation, tag="People")


class PasswordBody(JsonBody):
    """A user name and password. `client` is the name of the client program; by default its User-Agent."""

    username: Text
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    client: Text = ""

    def __repr__(self) -> str:
        return f"PasswordBody(username={self.username!r})"


class LoginBody(PasswordBody):
    """A log-in. A new name creates an account, unless `create` is false: then it is refused, with `no_account` where
    people register themselves.

    `code` is needed with a second factor: a code of the authenticator app, or a recovery code.
    """

    create: bool = True
    code: FactorCode = ""


class NewKey(JsonBody):
    """An API key to create. `name` identifies it in lists."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]


class AccountRoutes:
    """The routes below /auth."""

    def __init__(self, directory: Directory, *, remote: bool = False) -> None:
        """`remote`: this proxy listens beyond its own machine."""
        self._directory = directory
        self._remote = remote

    def operations(self) -> list[Operation]:
        return [*self._people(), *self._keys()]

    def _people(self) -> list[Operation]:
        return [
            _operation(
                id="login",
                method="POST",
                template="/auth/login",
                handler=self.login,
                summary="Log in; a new name creates an account",
                description=(
                    "Send the token with every request as `Authorization: Bearer <token>`. An account with a second "
                    "factor is refused with `second_factor_needed`: repeat the log-in with a `code`. With `reason` "
                    "`enrol`, or `must_enrol` in a reply without a token, set up a second factor first (`/auth/mfa`)."
                ),
                bodies=(Content(LoginBody),),
                answers={200: Answer("A token; `created` is true if the account is new.", Content(LoginReply))},
                refusals=(
                    errors.BadName,
                    errors.NotLoggedIn,
                    errors.SecondFactorNeeded,
                    errors.Forbidden,
                    errors.AlreadyExists,
                    errors.TooManyRequests,
                ),
                login=False,
            ),
            _operation(
                id="register",
                method="POST",
                template="/auth/register",
                handler=self.register,
                summary="Create an account",
                description=(
                    "Unlike a log-in, it fails if the name exists. Names are compared as in RFC 8265: `Ann` and `ann` "
                    "are the same account."
                ),
                bodies=(Content(PasswordBody),),
                answers={201: Answer("The new account, logged in.", Content(LoginReply))},
                refusals=(errors.BadName, errors.Forbidden, errors.AlreadyExists, errors.TooManyRequests),
                login=False,
            ),
            _operation(
                id="logout",
                method="POST",
                template="/auth/logout",
                handler=self.logout,
                summary="Log out: end this log-in and its token",
                description="Other log-ins and keys of the account stay valid.",
                answers={204: Answer("Logged out.")},
            ),
            _operation(
                id="who_am_i",
                method="GET",
                template="/auth/me",
                handler=self.who_am_i,
                summary="Get the account of this credential",
                description="The account, and whether it is an administrator.",
                answers={200: Answer("The account.", Content(AccountInfo))},
            ),
        ]

    def _keys(self) -> list[Operation]:
        return [
            _operation(
                id="list_keys",
                method="GET",
                template="/auth/keys",
                handler=self.list_keys,
                summary="List your API keys, without their secrets",
                description="Each with its name, its id and its creation time.",
                answers={200: Answer("The keys.", Content(ApiKeysReply))},
            ),
            _operation(
                id="create_key",
                method="POST",
                template="/auth/keys",
                handler=self.create_key,
                summary="Create an API key",
                description="Only this reply has the secret: keep it.",
                bodies=(Content(NewKey),),
                answers={201: Answer("The key with its secret.", Content(ApiKeyInfo))},
                refusals=(errors.Forbidden, errors.Conflict, errors.QuotaExceeded),
            ),
            _operation(
                id="revoke_key",
                method="DELETE",
                template="/auth/keys/{id}",
                handler=self.revoke_key,
                summary="Revoke an API key",
                description="It stops working at once.",
                answers={204: Answer("Revoked.")},
                refusals=(errors.NotFound,),
            ),
        ]

    def login(self, request: RestRequest) -> RawReply:
        body = request.message(LoginBody)
        return json_reply(self._with_password(request, body, "if_new" if body.create else "never", body.code))

    def register(self, request: RestRequest) -> RawReply:
        return json_reply(self._with_password(request, request.message(PasswordBody), "must"), 201)

    def logout(self, request: RestRequest) -> RawReply:
        self._directory.call(LOGOUT, CredentialRequest(request.credential()))
        return empty_reply()

    def who_am_i(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(WHO_AM_I, CredentialRequest(request.credential())))

    def list_keys(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(API_KEYS, CredentialRequest(request.credential())))

    def create_key(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        name = request.message(NewKey).name
        return json_reply(self._directory.call(CREATE_API_KEY, CreateApiKeyRequest(credential, name)), 201)

    def revoke_key(self, request: RestRequest) -> RawReply:
        self._directory.call(REVOKE_API_KEY, RevokeApiKeyRequest(request.credential(), request.segment("id")))
        return empty_reply()

    def _with_password(
        self, request: RestRequest, body: PasswordBody, register: Literal["if_new", "must", "never"], code: str = ""
    ) -> Any:
        client = body.client or request.header("User-Agent")[:256]
        return self._directory.call(
            LOGIN,
            PasswordRequest(
                check_account(body.username, in_tenant=True),
                body.password,
                register,
                client,
                request.client_address,
                self._remote,
                code,
            ),
        )
