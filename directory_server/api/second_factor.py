"""Calls about second factors: one's own one, which its password changes, and the reset by administrators."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import second_factor as fm
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.users import UserInfo, UserRequest


class SecondFactorApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        own, accounts, users = components.second_factor, components.accounts, components.users

        def disable(request: fm.SecondFactorRequest, _: PeerIdentity) -> Nothing:
            own.disable(request)
            return Nothing()

        def reset(request: UserRequest, _: PeerIdentity) -> UserInfo:
            return users.reset_second_factor(accounts.administrator(request.credential, of_tenant=True), request.name)

        who = accounts.authenticate
        api.serve(fm.SECOND_FACTOR, lambda request, _: own.state(who(request.credential)), PROXY)
        api.serve(fm.BEGIN_SECOND_FACTOR, lambda request, _: own.begin(request), PROXY)
        api.serve(fm.CONFIRM_SECOND_FACTOR, lambda request, _: own.confirm(request), PROXY)
        api.serve(fm.DISABLE_SECOND_FACTOR, disable, PROXY)
        api.serve(fm.NEW_RECOVERY_CODES, lambda request, _: own.new_recovery_codes(request), PROXY)
        api.serve(fm.RESET_SECOND_FACTOR, reset, PROXY)
