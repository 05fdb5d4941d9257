"""A directory that knows one provider, which is a function, and people who log in with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from lockstep_store.wire.messages import single_sign_on as sm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from lockstep_store.wire.messages.people import LoginReply
from tests.fakes.identity_provider import CLIENT, ISSUER, FakeProvider
from tests.fakes.whole_cluster import WholeCluster

CALLBACK = "http://127.0.0.1:4711/callback"


def at_once(_: str, work: Callable[[], None]) -> None:
    """In place of a thread."""
    work()


class SignOnRig:
    """`cluster` with the provider `lab`."""

    def __init__(self, cluster: WholeCluster, name: str = "lab", issuer: str = ISSUER) -> None:
        self.cluster = cluster
        self.name = name
        self.provider = FakeProvider(issuer)
        providers = cluster.directory.identity_providers
        providers.ask, providers.spawn = self.provider.ask, at_once
        self.providers = providers

    @property
    def wall(self) -> float:
        return self.cluster.clock.wall()

    def call(self, call: Any, request: Any) -> Any:
        return self.cluster.proxies["1"].directory.call(call, request)

    def put(self, *, secret: str = "", ca_pem: str = "", **settings: Any) -> sm.ProviderInfo:
        """Set the provider's settings, and let the directory fetch its keys."""
        settings = {"issuer": self.provider.issuer, "client_id": CLIENT, "create_accounts": True, **settings}
        request = sm.PutProviderRequest(
            self.cluster.admin_key, self.name, sm.ProviderSettings(**settings), client_secret=secret, ca_pem=ca_pem
        )
        made: sm.ProviderInfo = self.call(sm.PUT_SSO_PROVIDER, request)
        self.providers.step()
        return made

    def info(self) -> sm.ProviderInfo:
        reply = self.call(sm.SSO_PROVIDERS, CredentialRequest(self.cluster.admin_key))
        return next(one for one in reply.providers if one.name == self.name)

    def offers(self) -> list[sm.SignOnOffer]:
        reply: sm.SignOnOffersReply = self.call(sm.SSO_OFFERS, Nothing())
        return reply.providers

    def start(self, method: sm.SignOnMethod = "browser", provider: str = "") -> sm.SignOn:
        redirect = CALLBACK if method == "browser" else ""
        started: sm.SignOn = self.call(sm.START_SIGN_ON, sm.StartSignOnRequest(provider, method, redirect, "test"))
        return started

    def go_on(self, started: sm.SignOn, **answer: str) -> sm.SignOn:
        request = sm.ContinueSignOnRequest(started.id, urlencode(answer))
        found: sm.SignOn = self.call(sm.CONTINUE_SIGN_ON, request)
        return found

    def answer(self, started: sm.SignOn, **claims: Any) -> sm.SignOn:
        """Let the provider vouch for a person with these claims, and the browser come back."""
        asked = asked_of(started)
        claims = {"nonce": asked["nonce"], **claims}
        reply = {"id_token": self.provider.token(self.wall, **claims), "access_token": "opaque"}
        self.provider.token_replies.append((200, reply))
        return self.go_on(started, code="code-1", state=asked["state"])

    def log_in(self, name: str | None = "ann", subject: str = "subject-1", **claims: Any) -> LoginReply:
        """A whole log-in."""
        started = self.start()
        self.answer(started, sub=subject, preferred_username=name, **claims)
        done = self.go_on(started)
        assert done.state == "done"
        assert done.login is not None
        return done.login


def asked_of(started: sm.SignOn) -> dict[str, str]:
    """What the provider is asked in the address that the person opens."""
    return dict(parse_qsl(urlsplit(started.authorization_url).query))
