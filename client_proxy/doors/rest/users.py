"""Accounts over HTTP: one's own password; for administrators all accounts, their log-ins and keys, and the audit."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter, between
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import users as um
from lockstep_store.wire.messages.base import MAX_LISTING, CredentialRequest, Text
from lockstep_store.wire.messages.people import FactorCode, LoginReply, Password
from lockstep_store.wire.names import check_account

_operation = partial(Operation, tag="People", refusals=(errors.Forbidden, errors.NotFound, errors.Conflict))


class NewPasswordBody(JsonBody):
    """A user name, its current password (or a one-time password), and the new one; a `code` with a second factor."""

    username: Text
    password: Password
    new_password: Password
    code: FactorCode = ""


class NewUserBody(JsonBody):
    """An account to create. Without a password it gets a one-time password, which is in the reply."""

    name: Text
    role: um.AccountRole = "member"
    password: Annotated[str, Meta(max_length=1024)] = ""


class UserChangeBody(JsonBody):
    """What to change; the rest stays."""

    role: um.AccountRole | None = None
    disabled: bool | None = None
    second_factor_required: bool | None = None


class UserRoutes:
    """The routes /auth/password, /users and /audit."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._accounts(), *self._one_account(), *self._credentials()]

    def _accounts(self) -> list[Operation]:
        return [
            _operation(
                id="change_password",
                method="POST",
                template="/auth/password",
                handler=self.change_password,
                summary="Change a password",
                description="Needs the current password, or a one-time password. Every log-in of the account ends, and "
                "the reply is a new one. Keys stay valid.",
                bodies=(Content(NewPasswordBody),),
                answers={200: Answer("A new log-in.", Content(LoginReply))},
                refusals=(errors.BadName, errors.NotLoggedIn, errors.SecondFactorNeeded, errors.TooManyRequests),
                login=False,
            ),
            _operation(
                id="list_users",
                method="GET",
                template="/users",
                handler=self.list_users,
                summary="List the accounts (administrators)",
                description="With their role and state, and the number of their log-ins and keys.",
                answers={200: Answer("The accounts, by name.", Content(um.UsersReply))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="create_user",
                method="POST",
                template="/users",
                handler=self.create_user,
                summary="Create an account (administrators)",
                description="Also when registration is closed. In a tenant its name is one such as `acme\\ann`.",
                bodies=(Content(NewUserBody),),
                answers={201: Answer("The account; its one-time password, if it has one.", Content(um.CreatedUser))},
                refusals=(
                    errors.BadName,
                    errors.Forbidden,
                    errors.NotFound,
                    errors.AlreadyExists,
                    errors.QuotaExceeded,
                ),
            ),
            _operation(
                id="audit",
                method="GET",
                template="/audit",
                handler=self.audit,
                summary="Read the journal of security events (administrators)",
                description=f"The newest {um.MAX_EVENTS} events: log-ins, keys, accounts, policies, programs.",
                parameters=(
                    Parameter("after", "query", "Only events after this id.", between(0, 10**18 - 1)),
                    Parameter("limit", "query", "Events in one page.", between(1, MAX_LISTING)),
                ),
                answers={200: Answer("The events, the oldest first.", Content(um.AuditReply))},
                refusals=(errors.Forbidden,),
            ),
        ]

    def _one_account(self) -> list[Operation]:
        return [
            _operation(
                id="change_user",
                method="PATCH",
                template="/users/{user}",
                handler=self.change_user,
                summary="Change an account's role, disable or enable it, require a second factor (administrators)",
                description="A disabled account cannot log in, its log-ins end, and its keys are refused. With "
                "`second_factor_required`, an account without one can only set one up, and its log-ins end.",
                bodies=(Content(UserChangeBody),),
                answers={200: Answer("The account.", Content(um.UserInfo))},
            ),
            _operation(
                id="delete_user",
                method="DELETE",
                template="/users/{user}",
                handler=self.delete_user,
                summary="Delete an account with its log-ins and keys (administrators)",
                description="Refused while it owns buckets, unless `buckets_to` names the account that gets them.",
                parameters=(Parameter("buckets_to", "query", "The account that gets its buckets."),),
                answers={204: Answer("Deleted.")},
            ),
            _operation(
                id="reset_password",
                method="POST",
                template="/users/{user}/reset",
                handler=self.reset_password,
                summary="Replace a password by a one-time password (administrators)",
                description="Every log-in of the account ends; its keys stay.",
                answers={200: Answer("The account and its one-time password.", Content(um.CreatedUser))},
            ),
        ]

    def _credentials(self) -> list[Operation]:
        return [
            _operation(
                id="user_access",
                method="GET",
                template="/users/{user}/access",
                handler=self.access,
                summary="List an account's log-ins and keys (administrators)",
                description="Without secrets.",
                answers={200: Answer("The log-ins and keys.", Content(um.UserAccessReply))},
            ),
            _operation(
                id="revoke_user_access",
                method="DELETE",
                template="/users/{user}/access",
                handler=self.revoke_all,
                summary="End all log-ins and keys of an account (administrators)",
                description="They are refused from the next request on.",
                answers={200: Answer("How many ended.", Content(um.RevokedAccess))},
            ),
            _operation(
                id="revoke_one_access",
                method="DELETE",
                template="/users/{user}/access/{id}",
                handler=self.revoke_one,
                summary="End one log-in or key of an account (administrators)",
                description="It is refused from the next request on.",
                answers={200: Answer("How many ended.", Content(um.RevokedAccess))},
            ),
        ]

    def change_password(self, request: RestRequest) -> RawReply:
        body = request.message(NewPasswordBody)
        wanted = um.ChangePasswordRequest(
            check_account(body.username, in_tenant=True),
            body.password,
            body.new_password,
            request.header("User-Agent")[:256],
            request.client_address,
            body.code,
        )
        return json_reply(self._directory.call(um.CHANGE_PASSWORD, wanted))

    def list_users(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(um.USERS, CredentialRequest(request.credential())))

    def create_user(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(NewUserBody)
        wanted = um.CreateUserRequest(credential, check_account(body.name, in_tenant=True), body.role, body.password)
        return json_reply(self._directory.call(um.CREATE_USER, wanted), 201)

    def audit(self, request: RestRequest) -> RawReply:
        after = request.number_argument("after", 0, 0, 10**18 - 1)
        limit = request.number_argument("limit", MAX_LISTING, 1, MAX_LISTING)
        return json_reply(self._directory.call(um.AUDIT, um.AuditRequest(request.credential(), after, limit)))

    def change_user(self, request: RestRequest) -> RawReply:
        credential, name = request.credential(), request.segment("user")
        body = request.message(UserChangeBody)
        wanted = um.ChangeUserRequest(credential, name, body.role, body.disabled, body.second_factor_required)
        return json_reply(self._directory.call(um.CHANGE_USER, wanted))

    def delete_user(self, request: RestRequest) -> RawReply:
        wanted = um.DeleteUserRequest(request.credential(), request.segment("user"), request.argument("buckets_to"))
        self._directory.call(um.DELETE_USER, wanted)
        return empty_reply()

    def reset_password(self, request: RestRequest) -> RawReply:
        wanted = um.UserRequest(request.credential(), request.segment("user"))
        return json_reply(self._directory.call(um.RESET_PASSWORD, wanted))

    def access(self, request: RestRequest) -> RawReply:
        wanted = um.UserRequest(request.credential(), request.segment("user"))
        return json_reply(self._directory.call(um.USER_ACCESS, wanted))

    def revoke_all(self, request: RestRequest) -> RawReply:
        wanted = um.RevokeAccessRequest(request.credential(), request.segment("user"))
        return json_reply(self._directory.call(um.REVOKE_ACCESS, wanted))

    def revoke_one(self, request: RestRequest) -> RawReply:
        wanted = um.RevokeAccessRequest(request.credential(), request.segment("user"), request.segment("id"))
        return json_reply(self._directory.call(um.REVOKE_ACCESS, wanted))
