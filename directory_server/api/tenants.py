"""Calls about tenants, for administrators of the cluster."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import tenants as tm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class TenantApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        tenants, administrator = components.organisation.tenants, components.accounts.administrator

        def every(request: CredentialRequest, _: PeerIdentity) -> tm.TenantsReply:
            administrator(request.credential)
            return tenants.all()

        def create(request: tm.CreateTenantRequest, _: PeerIdentity) -> tm.TenantInfo:
            return tenants.create(administrator(request.credential), request)

        def delete(request: tm.TenantRequest, _: PeerIdentity) -> Nothing:
            tenants.delete(administrator(request.credential), request.name)
            return Nothing()

        api.serve(tm.TENANTS, every, PROXY)
        api.serve(tm.CREATE_TENANT, create, PROXY)
        api.serve(tm.DELETE_TENANT, delete, PROXY)
