"""Second factors over HTTP: one's own one, and the reset by administrators.

Changes take user name and password in the body, like a log-in, because who must have a second factor has no token yet.
"""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import second_factor as fm
from lockstep_store.wire.messages.base import CredentialRequest, Text
from lockstep_store.wire.messages.people import FactorCode, Password
from lockstep_store.wire.messages.users import UserInfo, UserRequest
from lockstep_store.wire.names import check_account

_operation = partial(Operation, tag="People")
_REFUSALS = (
    errors.BadName,
    errors.NotLoggedIn,
    errors.SecondFactorNeeded,
    errors.Conflict,
    errors.TooManyRequests,
)
_change = partial(_operation, method="POST", refusals=_REFUSALS, login=False)


class SecondFactorBody(JsonBody):
    """A user name and password."""

    username: Text
    password: Password

    def __repr__(self) -> str:
        return f"{type(self).__name__}(username={self.username!r})"


class CodeBody(SecondFactorBody):
    """A user name, password, and a code of the authenticator app, or a recovery code where one is taken."""

    code: FactorCode


class SecondFactorRoutes:
    """The routes below /auth/mfa, and /users/{user}/mfa."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._state_and_reset(), *self._changes()]

    def _state_and_reset(self) -> list[Operation]:
        return [
            _operation(
                id="second_factor",
                method="GET",
                template="/auth/mfa",
                handler=self.state,
                summary="Get the state of your second factor",
                description="Whether there is one, how many recovery codes are left, and whether you must have one.",
                answers={200: Answer("The state.", Content(fm.SecondFactorState))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="reset_second_factor",
                method="DELETE",
                template="/users/{user}/mfa",
                handler=self.reset,
                summary="Delete an account's lost second factor (administrators)",
                description="Every log-in of the account ends; its password and keys stay.",
                answers={200: Answer("The account.", Content(UserInfo))},
                refusals=(errors.Forbidden, errors.NotFound),
            ),
        ]

    def _changes(self) -> list[Operation]:
        return [
            _change(
                id="begin_second_factor",
                template="/auth/mfa",
                handler=self.begin,
                summary="Begin to set up a second factor: get a secret for an authenticator app",
                description="It takes effect once `/auth/mfa/confirm` has received a first code. The secret is shown "
                "only here. Beginning again replaces it.",
                bodies=(Content(SecondFactorBody),),
                answers={200: Answer("The secret, as base32 and as an otpauth address.", Content(fm.NewSecondFactor))},
            ),
            _change(
                id="confirm_second_factor",
                template="/auth/mfa/confirm",
                handler=self.confirm,
                summary="Enable the second factor with a first code",
                description="From now on every log-in needs a code. Earlier log-ins of the account end; keys stay.",
                bodies=(Content(CodeBody),),
                answers={
                    200: Answer("Recovery codes, shown only here, and a new log-in.", Content(fm.EnabledSecondFactor))
                },
            ),
            _change(
                id="disable_second_factor",
                template="/auth/mfa/disable",
                handler=self.disable,
                summary="Disable your second factor",
                description="Refused for accounts that must have one.",
                bodies=(Content(CodeBody),),
                answers={204: Answer("Disabled.")},
            ),
            _change(
                id="new_recovery_codes",
                template="/auth/mfa/recovery-codes",
                handler=self.new_recovery_codes,
                summary="Get new recovery codes",
                description="They replace the earlier ones, and are shown only here. Each replaces a code once.",
                bodies=(Content(CodeBody),),
                answers={200: Answer("The recovery codes.", Content(fm.RecoveryCodes))},
            ),
        ]

    def state(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(fm.SECOND_FACTOR, CredentialRequest(request.credential())))

    def begin(self, request: RestRequest) -> RawReply:
        wanted = _wanted(request, request.message(SecondFactorBody))
        return json_reply(self._directory.call(fm.BEGIN_SECOND_FACTOR, wanted))

    def confirm(self, request: RestRequest) -> RawReply:
        wanted = _wanted_with_code(request)
        return json_reply(self._directory.call(fm.CONFIRM_SECOND_FACTOR, wanted))

    def disable(self, request: RestRequest) -> RawReply:
        self._directory.call(fm.DISABLE_SECOND_FACTOR, _wanted_with_code(request))
        return empty_reply()

    def new_recovery_codes(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(fm.NEW_RECOVERY_CODES, _wanted_with_code(request)))

    def reset(self, request: RestRequest) -> RawReply:
        wanted = UserRequest(request.credential(), request.segment("user"))
        return json_reply(self._directory.call(fm.RESET_SECOND_FACTOR, wanted))


def _wanted(request: RestRequest, body: SecondFactorBody, code: str = "") -> fm.SecondFactorRequest:
    client = request.header("User-Agent")[:256]
    return fm.SecondFactorRequest(
        check_account(body.username, in_tenant=True), body.password, code, client, request.client_address
    )


def _wanted_with_code(request: RestRequest) -> fm.SecondFactorRequest:
    body = request.message(CodeBody)
    return _wanted(request, body, body.code)
