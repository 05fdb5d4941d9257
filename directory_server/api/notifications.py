"""Calls about notifications: targets, and which bucket's changes go to which."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import targets as tm
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class NotificationApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        self._components = components
        api.serve(tm.TARGETS, self._list, PROXY)
        api.serve(tm.ADD_TARGET, self._add, PROXY)
        api.serve(tm.REMOVE_TARGET, self._remove, PROXY)
        api.serve(tm.TEST_TARGET, self._test, PROXY)
        api.serve(tm.PUT_NOTIFICATION, lambda request, _: components.outbox.put_configuration(request), PROXY)

    def _list(self, request: CredentialRequest, _: PeerIdentity) -> tm.TargetsReply:
        self._components.accounts.administrator(request.credential)
        return self._components.targets.list()

    def _add(self, request: tm.AddTargetRequest, _: PeerIdentity) -> tm.TargetInfo:
        self._components.accounts.administrator(request.credential)
        return self._components.targets.add(request)

    def _remove(self, request: tm.TargetRequest, _: PeerIdentity) -> tm.RemovedTarget:
        self._components.accounts.administrator(request.credential)
        return self._components.targets.remove(request.name)

    def _test(self, request: tm.TryTargetRequest, _: PeerIdentity) -> Nothing:
        self._components.accounts.administrator(request.credential)
        return self._components.targets.test(request.name)
