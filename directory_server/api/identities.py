"""Calls of the services `sts` and `iam`: sessions, and the identities below accounts."""

from __future__ import annotations

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.wire.messages import identities as im


class IdentityApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        sessions = components.identities.sessions
        api.serve(im.CALLER, lambda request, _: sessions.caller(request), PROXY)
        api.serve(im.NEW_SESSION, lambda request, _: sessions.create(request), PROXY)
        web = components.identities.web_identities
        api.serve(im.WEB_IDENTITY_SESSION, lambda request, _: web.create(request), PROXY)
        identities = components.identities.identities
        api.serve(im.IDENTITIES, lambda request, _: identities.list(request), PROXY)
        api.serve(im.IDENTITY, lambda request, _: identities.get(request), PROXY)
        api.serve(im.SERVICE_ACCOUNT, lambda request, _: identities.service_account(request), PROXY)
        api.serve(im.CREATE_IDENTITY, lambda request, _: identities.create(request), PROXY)
        api.serve(im.CHANGE_ROLE, lambda request, _: identities.change_role(request), PROXY)
        api.serve(im.DELETE_IDENTITY, lambda request, _: identities.delete(request), PROXY)
        api.serve(im.IDENTITY_POLICIES, lambda request, _: identities.policies(request), PROXY)
        api.serve(im.IDENTITY_POLICY, lambda request, _: identities.policy(request), PROXY)
        api.serve(im.PUT_IDENTITY_POLICY, lambda request, _: identities.put_policy(request), PROXY)
        api.serve(im.DELETE_IDENTITY_POLICY, lambda request, _: identities.delete_policy(request), PROXY)
        api.serve(im.GROUP_MEMBERS, lambda request, _: identities.members(request), PROXY)
        api.serve(im.GROUPS_OF_USER, lambda request, _: identities.groups_of(request), PROXY)
        api.serve(im.ADD_GROUP_MEMBER, lambda request, _: identities.add_member(request), PROXY)
        api.serve(im.REMOVE_GROUP_MEMBER, lambda request, _: identities.remove_member(request), PROXY)
        keys = components.identities.user_keys
        api.serve(im.USER_KEYS, lambda request, _: keys.list(request), PROXY)
        api.serve(im.CREATE_USER_KEY, lambda request, _: keys.create(request), PROXY)
        api.serve(im.CHANGE_USER_KEY, lambda request, _: keys.change(request), PROXY)
        api.serve(im.DELETE_USER_KEY, lambda request, _: keys.delete(request), PROXY)
