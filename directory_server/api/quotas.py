"""Calls about quotas."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import quotas as qm
from lockstep_store.wire.messages.base import CredentialRequest


class QuotaApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        quotas, accounts = components.quotas, components.accounts

        def show(request: qm.QuotaRequest, _: PeerIdentity) -> qm.QuotaReply:
            return quotas.show(accounts.authenticate(request.credential), request.scope, request.name)

        def set_quota(request: qm.SetQuotaRequest, _: PeerIdentity) -> qm.QuotaReply:
            by = accounts.administrator(request.credential, of_tenant=True)
            return quotas.set(by, request.scope, request.name, request.values)

        def every(request: CredentialRequest, _: PeerIdentity) -> qm.QuotasReply:
            return quotas.all(accounts.administrator(request.credential, of_tenant=True))

        api.serve(qm.QUOTA, show, PROXY)
        api.serve(qm.SET_QUOTA, set_quota, PROXY)
        api.serve(qm.QUOTAS, every, PROXY)
