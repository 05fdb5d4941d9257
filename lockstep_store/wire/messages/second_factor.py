"""Second factors: an account's own one, which its password changes, and the reset by administrators."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import CredentialRequest, Message, Nothing, Text
from lockstep_store.wire.messages.people import FactorCode, LoginReply, Password
from lockstep_store.wire.messages.users import UserInfo, UserRequest

RECOVERY_CODES = 10


class SecondFactorState(Message):
    """One's own second factor."""

    enabled: bool
    enabled_at: float | None = None
    recovery_codes_left: int = 0
    """How many are left."""
    required: bool = False
    """The account cannot log in without one."""


class SecondFactorRequest(Message):
    """Change one's own second factor: the password is asked for again, and a code if there is a second factor."""

    name: Text
    password: Password
    code: FactorCode = ""
    client: Text = ""
    address: Text = ""


class NewSecondFactor(Message):
    """A secret for an authenticator app. It counts once a first code is confirmed."""

    secret: str
    """Base32."""
    uri: str
    """The same as an otpauth:// address, for a QR code."""


class RecoveryCodes(Message):
    """Each replaces a code once. They are shown only now."""

    recovery_codes: Annotated[list[str], Meta(max_length=RECOVERY_CODES)]


class EnabledSecondFactor(Message):
    """Recovery codes, which are shown only now, and a new log-in: the earlier ones have ended."""

    recovery_codes: Annotated[list[str], Meta(max_length=RECOVERY_CODES)]
    login: LoginReply


SECOND_FACTOR = Call("/v1/second-factor", CredentialRequest, SecondFactorState)
BEGIN_SECOND_FACTOR = Call("/v1/second-factor/begin", SecondFactorRequest, NewSecondFactor)
CONFIRM_SECOND_FACTOR = Call("/v1/second-factor/confirm", SecondFactorRequest, EnabledSecondFactor)
DISABLE_SECOND_FACTOR = Call("/v1/second-factor/disable", SecondFactorRequest, Nothing)
NEW_RECOVERY_CODES = Call("/v1/second-factor/recovery-codes", SecondFactorRequest, RecoveryCodes)
RESET_SECOND_FACTOR = Call("/v1/users/second-factor/reset", UserRequest, UserInfo)
