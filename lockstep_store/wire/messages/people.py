"""People: log-ins, accounts and API keys."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Nothing, Text

Password = Annotated[str, Meta(min_length=1, max_length=1024)]
FactorCode = Annotated[str, Meta(max_length=64)]
"""A code of an authenticator app, or a recovery code; empty for none. Spaces and hyphens do not count."""


class PasswordRequest(Message):
    name: Text
    password: Password
    register: Literal["if_new", "must", "never"] = "if_new"
    client: Text = ""
    address: Text = ""
    """Where the request came from, as the proxy sees it."""
    remote: bool = False
    """The proxy listens beyond its own machine."""
    code: FactorCode = ""


class LoginReply(Message):
    token: str = ""
    account: str = ""
    admin: bool = False
    expires_at: float = 0.0
    created: bool = False
    must_enrol: bool = False
    """There is no token: the account must set up a second factor before it can log in."""


class AccountInfo(Message):
    name: str
    admin: bool
    created_at: float
    session: str = ""
    expires_at: float | None = None
    read_only: bool = False
    tenant: str = ""
    tenant_admin: bool = False
    """An administrator of the tenant; `admin` is one of the cluster."""


class ApiKeyInfo(Message):
    id: str
    name: str
    created_at: float
    key: str = ""
    """The secret itself: only in the reply that creates it."""


class ApiKeysReply(Message):
    keys: list[ApiKeyInfo]


class CreateApiKeyRequest(Message):
    credential: Credential
    name: Text


class RevokeApiKeyRequest(Message):
    credential: Credential
    key_id: Text


LOGIN = Call("/v1/login", PasswordRequest, LoginReply)
LOGOUT = Call("/v1/logout", CredentialRequest, Nothing)
WHO_AM_I = Call("/v1/who-am-i", CredentialRequest, AccountInfo)
API_KEYS = Call("/v1/api-keys", CredentialRequest, ApiKeysReply)
CREATE_API_KEY = Call("/v1/api-keys/create", CreateApiKeyRequest, ApiKeyInfo)
REVOKE_API_KEY = Call("/v1/api-keys/revoke", RevokeApiKeyRequest, Nothing)
