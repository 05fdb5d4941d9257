"""Calls about single sign-on: log-ins, and what administrators do with providers and linked identities."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import single_sign_on as sm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class SignOnApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        sign_on, administrator = components.sign_on, components.accounts.administrator
        providers, audit = components.identity_providers, components.audit

        def all_providers(request: CredentialRequest, _: PeerIdentity) -> sm.ProvidersReply:
            administrator(request.credential)
            return providers.infos()

        def put(request: sm.PutProviderRequest, _: PeerIdentity) -> sm.ProviderInfo:
            by = administrator(request.credential)
            made = providers.put(request)
            audit.note("identity provider set", by.account, subject=request.name, detail=made.issuer)
            return made

        def remove(request: sm.ProviderRequest, _: PeerIdentity) -> Nothing:
            by = administrator(request.credential)
            providers.remove(request.name)
            audit.note("identity provider removed", by.account, subject=request.name)
            return Nothing()

        def links(request: CredentialRequest, _: PeerIdentity) -> sm.LinkedIdentitiesReply:
            administrator(request.credential)
            return sign_on.links()

        def link(request: sm.LinkIdentityRequest, _: PeerIdentity) -> sm.LinkedIdentity:
            return sign_on.link(administrator(request.credential), request)

        def unlink(request: sm.UnlinkIdentityRequest, _: PeerIdentity) -> Nothing:
            sign_on.unlink(administrator(request.credential), request)
            return Nothing()

        api.serve(sm.SSO_OFFERS, lambda request, _: sign_on.offers(), PROXY)
        api.serve(sm.START_SIGN_ON, lambda request, _: sign_on.start(request), PROXY)
        api.serve(sm.CONTINUE_SIGN_ON, lambda request, _: sign_on.go_on(request), PROXY)
        api.serve(sm.SSO_PROVIDERS, all_providers, PROXY)
        api.serve(sm.PUT_SSO_PROVIDER, put, PROXY)
        api.serve(sm.REMOVE_SSO_PROVIDER, remove, PROXY)
        api.serve(sm.SSO_LINKS, links, PROXY)
        api.serve(sm.LINK_IDENTITY, link, PROXY)
        api.serve(sm.UNLINK_IDENTITY, unlink, PROXY)
