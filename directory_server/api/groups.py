"""Calls about groups of accounts."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import groups as gm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class GroupApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        groups, accounts = components.organisation.groups, components.accounts

        def every(request: CredentialRequest, _: PeerIdentity) -> gm.GroupsReply:
            return groups.all(accounts.authenticate(request.credential))

        def show(request: gm.GroupRequest, _: PeerIdentity) -> gm.AccountGroup:
            return groups.show(accounts.authenticate(request.credential), request.name)

        def create(request: gm.CreateGroupRequest, _: PeerIdentity) -> gm.AccountGroup:
            return groups.create(accounts.administrator(request.credential, of_tenant=True), request)

        def change(request: gm.ChangeGroupRequest, _: PeerIdentity) -> gm.AccountGroup:
            return groups.change(accounts.authenticate(request.credential), request)

        def delete(request: gm.GroupRequest, _: PeerIdentity) -> Nothing:
            groups.delete(accounts.administrator(request.credential, of_tenant=True), request.name)
            return Nothing()

        api.serve(gm.GROUPS, every, PROXY)
        api.serve(gm.GROUP, show, PROXY)
        api.serve(gm.CREATE_GROUP, create, PROXY)
        api.serve(gm.CHANGE_GROUP, change, PROXY)
        api.serve(gm.DELETE_GROUP, delete, PROXY)
