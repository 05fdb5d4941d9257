"""The routes for single sign-on: log-ins, and for administrators providers and linked identities.

The directory speaks with the provider; a log-in's secrets, but for its id, stay there.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation, Parameter
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import single_sign_on as sm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing, Text

_people = partial(Operation, tag="People")
_cluster = partial(Operation, tag="Cluster", refusals=(errors.Forbidden,))
_Rules = sm.Texts


class SignOnBody(JsonBody):
    """A log-in to begin. `redirect_uri` is where the method `browser` sends the person's browser back to: an address
    of that machine itself, `http://127.0.0.1:PORT/callback`. `client` is the name of the client program."""

    provider: Annotated[str, Meta(max_length=64)] = ""
    method: sm.SignOnMethod = "browser"
    redirect_uri: sm.RedirectUri = ""
    client: Text = ""


class SignOnAnswer(JsonBody):
    """A log-in under way. `answer` is the query of the address that the browser was sent back to, once it was."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    answer: Annotated[str, Meta(max_length=16 * 1024)] = ""

    def __repr__(self) -> str:
        return "SignOnAnswer()"


class ProviderBody(JsonBody):
    """A provider. Rules are texts `CLAIM=VALUE`; of every claim in `require`, one of the values must be there.

    `client_id` is for people's log-ins, `audiences` are those of programs' tokens. `ca_pem` has further CAs to trust.
    """

    issuer: sm.Issuer
    client_id: Text = ""
    client_secret: Text = ""
    ca_pem: Annotated[str, Meta(max_length=64 * 1024)] = ""
    audiences: _Rules = []
    scopes: _Rules = []
    username_claim: Annotated[str, Meta(min_length=1, max_length=256)] = "preferred_username"
    create_accounts: bool = False
    require: _Rules = []
    administrators: _Rules = []
    read_only: _Rules = []

    def __repr__(self) -> str:
        return f"ProviderBody(issuer={self.issuer!r})"


class LinkBody(JsonBody):
    """A subject at a provider, and the account that it shall log in to."""

    provider: sm.ProviderName
    subject: sm.Subject
    account: Annotated[str, Meta(min_length=1, max_length=256)]


class SignOnRoutes:
    """The routes below /auth/sso, /cluster/sso and /cluster/sso-links."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._log_ins(), *self._providers(), *self._links()]

    def _log_ins(self) -> list[Operation]:
        return [
            _people(
                id="sign_on_offers",
                method="GET",
                template="/auth/sso",
                handler=self.offers,
                summary="List the providers that people can log in with",
                description="None if single sign-on is not set up.",
                answers={200: Answer("The providers.", Content(sm.SignOnOffersReply))},
                login=False,
            ),
            _people(
                id="start_sign_on",
                method="POST",
                template="/auth/sso",
                handler=self.start,
                summary="Begin a log-in by single sign-on",
                description=(
                    "Open `authorization_url` in a browser, or with the method `device` show the person "
                    "`verification_uri` and `user_code`, as soon as they are there; then poll the log-in. "
                    "The reply's `id` is a secret of the log-in."
                ),
                bodies=(Content(SignOnBody),),
                answers={200: Answer("The log-in.", Content(sm.SignOn))},
                refusals=(errors.NotFound, errors.Conflict, errors.TooManyRequests),
                login=False,
            ),
            _people(
                id="continue_sign_on",
                method="POST",
                template="/auth/sso/continue",
                handler=self.go_on,
                summary="Poll a log-in by single sign-on",
                description=(
                    "Poll again after `poll_seconds` until `state` is `done`; then `login` has a token, once. The "
                    "first log-in of a person may make an account; an existing account is never taken over."
                ),
                bodies=(Content(SignOnAnswer),),
                answers={200: Answer("The log-in; when it is done, with a token.", Content(sm.SignOn))},
                refusals=(errors.NotLoggedIn, errors.Forbidden, errors.Conflict, errors.TooManyRequests),
                login=False,
            ),
        ]

    def _providers(self) -> list[Operation]:
        return [
            _cluster(
                id="list_sso_providers",
                method="GET",
                template="/cluster/sso",
                handler=self.list_providers,
                summary="List the OpenID Connect providers (administrators)",
                description="Each with its settings and its last problem.",
                answers={200: Answer("The providers, without their secrets.", Content(sm.ProvidersReply))},
            ),
            _cluster(
                id="put_sso_provider",
                method="PUT",
                template="/cluster/sso/{provider}",
                handler=self.put,
                summary="Add an OpenID Connect provider, or replace its settings (administrators)",
                description="Secrets are stored encrypted and never returned; one that is left out is removed.",
                bodies=(Content(ProviderBody),),
                answers={200: Answer("The provider.", Content(sm.ProviderInfo))},
                refusals=(errors.Forbidden, errors.Conflict),
            ),
            _cluster(
                id="remove_sso_provider",
                method="DELETE",
                template="/cluster/sso/{provider}",
                handler=self.remove,
                summary="Remove an OpenID Connect provider (administrators)",
                description="Nobody can log in with it any more. Existing log-ins and links stay.",
                answers={204: Answer("Removed.")},
                refusals=(errors.Forbidden, errors.NotFound),
            ),
        ]

    def _links(self) -> list[Operation]:
        return [
            _cluster(
                id="list_sso_links",
                method="GET",
                template="/cluster/sso-links",
                handler=self.list_links,
                summary="List which identities log in to which accounts (administrators)",
                description="By account.",
                answers={200: Answer("The links.", Content(sm.LinkedIdentitiesReply))},
            ),
            _cluster(
                id="link_identity",
                method="POST",
                template="/cluster/sso-links",
                handler=self.link,
                summary="Let a subject at a provider log in to an account (administrators)",
                description="The account keeps its password, if it has one.",
                bodies=(Content(LinkBody),),
                answers={200: Answer("The link.", Content(sm.LinkedIdentity))},
                refusals=(errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
            _cluster(
                id="unlink_identity",
                method="DELETE",
                template="/cluster/sso-links",
                handler=self.unlink,
                summary="End a link, and the account's log-ins (administrators)",
                description="Its keys stay.",
                parameters=(
                    Parameter("issuer", "query", "The provider's issuer."),
                    Parameter("subject", "query", "The subject at that issuer."),
                ),
                answers={204: Answer("Unlinked.")},
                refusals=(errors.Forbidden, errors.NotFound),
            ),
        ]

    def offers(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(sm.SSO_OFFERS, Nothing()))

    def start(self, request: RestRequest) -> RawReply:
        body = request.message(SignOnBody)
        client = body.client or request.header("User-Agent")[:256]
        asked = sm.StartSignOnRequest(body.provider, body.method, body.redirect_uri, client, request.client_address)
        return json_reply(self._directory.call(sm.START_SIGN_ON, asked))

    def go_on(self, request: RestRequest) -> RawReply:
        body = request.message(SignOnAnswer)
        asked = sm.ContinueSignOnRequest(body.id, body.answer, request.client_address)
        return json_reply(self._directory.call(sm.CONTINUE_SIGN_ON, asked))

    def list_providers(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(sm.SSO_PROVIDERS, CredentialRequest(request.credential())))

    def put(self, request: RestRequest) -> RawReply:
        credential, name = request.credential(), _provider_name(request)
        body = request.message(ProviderBody)
        settings = sm.ProviderSettings(
            body.issuer,
            body.client_id,
            body.audiences,
            body.scopes,
            body.username_claim,
            body.create_accounts,
            body.require,
            body.administrators,
            body.read_only,
        )
        asked = sm.PutProviderRequest(credential, name, settings, body.client_secret, body.ca_pem)
        return json_reply(self._directory.call(sm.PUT_SSO_PROVIDER, asked))

    def remove(self, request: RestRequest) -> RawReply:
        asked = sm.ProviderRequest(request.credential(), _provider_name(request))
        self._directory.call(sm.REMOVE_SSO_PROVIDER, asked)
        return empty_reply()

    def list_links(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(sm.SSO_LINKS, CredentialRequest(request.credential())))

    def link(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        body = request.message(LinkBody)
        asked = sm.LinkIdentityRequest(credential, body.provider, body.subject, body.account)
        return json_reply(self._directory.call(sm.LINK_IDENTITY, asked))

    def unlink(self, request: RestRequest) -> RawReply:
        credential = request.credential()
        issuer, subject = request.argument("issuer"), request.argument("subject")
        if not issuer or not subject:
            raise errors.BadRequest("name the identity with the arguments issuer and subject")
        self._directory.call(sm.UNLINK_IDENTITY, sm.UnlinkIdentityRequest(credential, issuer, subject))
        return empty_reply()


def _provider_name(request: RestRequest) -> str:
    name = request.segment("provider")
    if not re.fullmatch(sm.PROVIDER_NAME, name):
        raise errors.BadName(
            f"{name[:80]!r} is not a valid provider name: use 1 to 64 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit"
        )
    return name
