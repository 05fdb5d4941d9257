"""Administration of people: accounts, their log-ins and keys, and the journal of security events."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import MAX_LISTING, Credential, CredentialRequest, Message, Nothing, Text
from lockstep_store.wire.messages.people import ApiKeyInfo, FactorCode, LoginReply, Password

AccountRole = Literal["administrator", "member", "read-only"]
MAX_EVENTS = 100_000
"""Events that the journal keeps; the oldest are dropped first."""


class UserInfo(Message):
    name: str
    role: AccountRole
    created_at: float
    disabled: bool = False
    must_change: bool = False
    """Its password is valid once, to set another one."""
    sessions: int = 0
    api_keys: int = 0
    s3_keys: int = 0
    buckets: list[str] = []
    """The buckets that it owns."""
    second_factor: bool = False
    second_factor_required: bool = False
    """By name; the directory's settings can require one of more accounts."""
    identities: int = 0
    """Identities at single sign-on providers that log in to it."""
    has_password: bool = True


class UsersReply(Message):
    users: list[UserInfo]


class SessionInfo(Message):
    id: str
    client: str
    created_at: float
    expires_at: float


class UserAccessReply(Message):
    """What gives access in an account's name, without secrets."""

    sessions: list[SessionInfo]
    api_keys: list[ApiKeyInfo]
    s3_keys: list[str]
    """Access key ids."""


class ChangePasswordRequest(Message):
    """One's own password; `password` is the current one, or a one-time password. All log-ins of the account end, and
    the reply is a new one. Its keys stay."""

    name: Text
    password: Password
    new_password: Password
    client: Text = ""
    address: Text = ""
    code: FactorCode = ""


class UserRequest(Message):
    """Administrator: the account `name`."""

    credential: Credential
    name: Text


class CreateUserRequest(Message):
    """Administrator: make an account. Without a password it gets a one-time password."""

    credential: Credential
    name: Text
    role: AccountRole = "member"
    password: Annotated[str, Meta(max_length=1024)] = ""


class CreatedUser(Message):
    user: UserInfo
    password: str = ""
    """A one-time password: valid for one log-in, which must set another."""


class ChangeUserRequest(Message):
    """Administrator: change what is given. Disabling ends the account's log-ins and refuses its keys; requiring a
    second factor ends them if it has none."""

    credential: Credential
    name: Text
    role: AccountRole | None = None
    disabled: bool | None = None
    second_factor_required: bool | None = None


class DeleteUserRequest(Message):
    """Administrator: delete an account with its log-ins and keys. Its buckets go to `buckets_to`.

    Conflict when it owns buckets and `buckets_to` is empty.
    """

    credential: Credential
    name: Text
    buckets_to: Text = ""


class RevokeAccessRequest(Message):
    """Administrator: end one log-in or key of an account by its id; with an empty id all of them."""

    credential: Credential
    name: Text
    id: Text = ""


class RevokedAccess(Message):
    ended: int


class AuditRequest(Message):
    """Administrator: security events after `after`, the oldest first."""

    credential: Credential
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING


class AuditEvent(Message):
    id: int
    at: float
    kind: str
    account: str
    """Who did it, or tried to; empty for somebody unknown."""
    subject: str = ""
    address: str = ""
    detail: str = ""


class AuditReply(Message):
    events: list[AuditEvent]


CHANGE_PASSWORD = Call("/v1/password", ChangePasswordRequest, LoginReply)
USERS = Call("/v1/users", CredentialRequest, UsersReply)
CREATE_USER = Call("/v1/users/create", CreateUserRequest, CreatedUser)
CHANGE_USER = Call("/v1/users/change", ChangeUserRequest, UserInfo)
DELETE_USER = Call("/v1/users/delete", DeleteUserRequest, Nothing)
RESET_PASSWORD = Call("/v1/users/reset", UserRequest, CreatedUser)
USER_ACCESS = Call("/v1/users/access", UserRequest, UserAccessReply)
REVOKE_ACCESS = Call("/v1/users/revoke", RevokeAccessRequest, RevokedAccess)
AUDIT = Call("/v1/audit", AuditRequest, AuditReply)
