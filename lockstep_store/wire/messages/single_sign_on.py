"""OpenID Connect providers, the accounts linked to identities at them, and log-ins by single sign-on."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Nothing, Text
from lockstep_store.wire.messages.people import LoginReply

PROVIDER_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
REDIRECT_URI = r"^$|^http://(127\.0\.0\.1|\[::1\]):[0-9]{1,5}/callback$"
"""On the machine of the person's browser (RFC 8252, 7.3)."""
RedirectUri = Annotated[str, Meta(max_length=256, pattern=REDIRECT_URI)]
ProviderName = Annotated[str, Meta(pattern=PROVIDER_NAME)]
Issuer = Annotated[str, Meta(min_length=1, max_length=512)]
Subject = Annotated[str, Meta(min_length=1, max_length=255)]
Texts = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=32)]
SignOnMethod = Literal["browser", "device"]


class ProviderSettings(Message):
    """A provider's settings. Rules are texts `CLAIM=VALUE`.

    People log in with `client_id`; programs present tokens for it or for `audiences`. Without `create_accounts` an
    administrator links each identity to an account. Of every claim in `require`, one of the values must be there.
    If there are `administrators` or `read_only`, these rules decide about the account's role at each log-in.
    """

    issuer: Issuer
    client_id: Text = ""
    audiences: Texts = []
    scopes: Texts = []
    """In addition to openid, profile and email."""
    username_claim: Annotated[str, Meta(min_length=1, max_length=256)] = "preferred_username"
    create_accounts: bool = False
    require: Texts = []
    administrators: Texts = []
    read_only: Texts = []


class ProviderInfo(ProviderSettings):
    """A provider and its state, without its client secret."""

    name: str = ""
    created_at: float = 0.0
    confidential: bool = False
    """It has a client secret."""
    has_ca: bool = False
    keys: int = 0
    """Its signing keys that are known."""
    device: bool = False
    """It offers log-ins on devices without a browser."""
    problem: str = ""
    """Why it could not be asked the last time; empty if it could."""


class ProvidersReply(Message):
    providers: list[ProviderInfo]


class PutProviderRequest(Message):
    """Administrator: add a provider, or replace its settings, client secret and CA file."""

    credential: Credential
    name: ProviderName
    settings: ProviderSettings
    client_secret: Text = ""
    ca_pem: Annotated[str, Meta(max_length=64 * 1024)] = ""


class ProviderRequest(Message):
    """Administrator: the provider `name`."""

    credential: Credential
    name: ProviderName


class LinkedIdentity(Message):
    """A subject at an issuer, and the account that it logs in to."""

    issuer: str
    subject: str
    account: str
    linked_at: float = 0.0


class LinkedIdentitiesReply(Message):
    identities: list[LinkedIdentity]


class LinkIdentityRequest(Message):
    """Administrator: let the subject at a provider log in to an account. Conflict if it has another one."""

    credential: Credential
    provider: ProviderName
    subject: Subject
    account: Text


class UnlinkIdentityRequest(Message):
    """Administrator: end a link, and the account's log-ins."""

    credential: Credential
    issuer: Issuer
    subject: Subject


class SignOnOffer(Message):
    """A provider that people can log in with."""

    name: str
    issuer: str
    device: bool = False


class SignOnOffersReply(Message):
    providers: list[SignOnOffer]


class StartSignOnRequest(Message):
    """Begin a log-in at a provider; without its name at the only one. `redirect_uri` is for the method `browser`."""

    provider: Annotated[str, Meta(max_length=64)] = ""
    method: SignOnMethod = "browser"
    redirect_uri: RedirectUri = ""
    client: Text = ""
    address: Text = ""


class ContinueSignOnRequest(Message):
    """Ask how a log-in stands. `answer` is the query of the address that the browser was sent back to."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    answer: Annotated[str, Meta(max_length=16 * 1024)] = ""
    address: Text = ""


class SignOn(Message):
    """A log-in in progress: `waiting` for the person, `asking` the provider, or `done` with `login`.

    Ask again after `poll_seconds`.
    """

    id: str
    state: Literal["waiting", "asking", "done"] = "waiting"
    provider: str = ""
    authorization_url: str = ""
    verification_uri: str = ""
    verification_uri_complete: str = ""
    user_code: str = ""
    poll_seconds: float = 1.0
    seconds_left: float = 0.0
    login: LoginReply | None = None


SSO_PROVIDERS = Call("/v1/sso/providers", CredentialRequest, ProvidersReply)
PUT_SSO_PROVIDER = Call("/v1/sso/providers/put", PutProviderRequest, ProviderInfo)
REMOVE_SSO_PROVIDER = Call("/v1/sso/providers/remove", ProviderRequest, Nothing)
SSO_LINKS = Call("/v1/sso/links", CredentialRequest, LinkedIdentitiesReply)
LINK_IDENTITY = Call("/v1/sso/links/add", LinkIdentityRequest, LinkedIdentity)
UNLINK_IDENTITY = Call("/v1/sso/links/remove", UnlinkIdentityRequest, Nothing)
SSO_OFFERS = Call("/v1/sso/offers", Nothing, SignOnOffersReply)
START_SIGN_ON = Call("/v1/sso/start", StartSignOnRequest, SignOn)
CONTINUE_SIGN_ON = Call("/v1/sso/continue", ContinueSignOnRequest, SignOn)
