"""The calls about single sign-on. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.client.api.people import PeopleCalls
from lockstep_store.wire.messages.single_sign_on import (
    LinkedIdentitiesReply,
    LinkedIdentity,
    ProviderInfo,
    ProviderSettings,
    ProvidersReply,
    SignOn,
    SignOnMethod,
    SignOnOffer,
    SignOnOffersReply,
)


class SignOnCalls(PeopleCalls):
    """Log-ins at a provider. `lockstep_store.client.single_sign_on` takes a person through one."""

    def sign_on_offers(self) -> list[SignOnOffer]:
        """Return the providers that people can log in with."""
        return self._ask(SignOnOffersReply, "GET", "/api/v1/auth/sso").providers

    def start_sign_on(self, provider: str = "", method: SignOnMethod = "browser", redirect_uri: str = "") -> SignOn:
        """Begin a log-in; without a name at the only provider."""
        body = {"provider": provider, "method": method, "redirect_uri": redirect_uri}
        return self._ask(SignOn, "POST", "/api/v1/auth/sso", message=body)

    def continue_sign_on(self, id: str, answer: str = "") -> SignOn:
        """Ask how a log-in stands; when it is done, use its token from now on."""
        found = self._ask(SignOn, "POST", "/api/v1/auth/sso/continue", message={"id": id, "answer": answer})
        if found.login is not None:
            self.transport.credential = found.login.token
        return found


class ProviderCalls(ApiCaller):
    """OpenID Connect providers and the identities linked to accounts, for administrators."""

    def sso_providers(self) -> list[ProviderInfo]:
        """Return the providers with their settings, without secrets."""
        return self._ask(ProvidersReply, "GET", "/api/v1/cluster/sso").providers

    def put_sso_provider(
        self, name: str, settings: ProviderSettings, *, client_secret: str = "", ca_pem: str = ""
    ) -> ProviderInfo:
        """Add a provider, or replace all its settings."""
        message = {each: getattr(settings, each) for each in settings.__struct_fields__}
        message |= {"client_secret": client_secret, "ca_pem": ca_pem}
        address = f"/api/v1/cluster/sso/{segment(name)}"
        return self._ask(ProviderInfo, "PUT", address, message=message, repeatable=True)

    def remove_sso_provider(self, name: str) -> None:
        """Remove a provider. Links of its identities stay."""
        self.transport.request("DELETE", f"/api/v1/cluster/sso/{segment(name)}")

    def sso_links(self) -> list[LinkedIdentity]:
        """Return which identities log in to which accounts."""
        return self._ask(LinkedIdentitiesReply, "GET", "/api/v1/cluster/sso-links").identities

    def link_identity(self, provider: str, subject: str, account: str) -> LinkedIdentity:
        """Let a subject at a provider log in to an account."""
        message = {"provider": provider, "subject": subject, "account": account}
        return self._ask(LinkedIdentity, "POST", "/api/v1/cluster/sso-links", message=message, repeatable=True)

    def unlink_identity(self, issuer: str, subject: str) -> None:
        """End a link, and the account's log-ins."""
        params = {"issuer": issuer, "subject": subject}
        self.transport.request("DELETE", "/api/v1/cluster/sso-links", params=params)
