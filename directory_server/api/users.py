"""Calls about accounts: one's own password, and what administrators do with accounts and the audit journal."""

from __future__ import annotations

from functools import partial

from directory_server.components import PROXY, Components
from lockstep_store.runtime.http.api import Api
from lockstep_store.runtime.tls.certificate_authority import PeerIdentity
from lockstep_store.wire.messages import users as um
from lockstep_store.wire.messages.base import CredentialRequest, Nothing


class UserApi:
    """Wires `components` to `api`."""

    def __init__(self, api: Api, components: Components) -> None:
        users, administrator = components.users, partial(components.accounts.administrator, of_tenant=True)

        def all_users(request: CredentialRequest, _: PeerIdentity) -> um.UsersReply:
            return users.all(administrator(request.credential))

        def create(request: um.CreateUserRequest, _: PeerIdentity) -> um.CreatedUser:
            return users.create(administrator(request.credential), request)

        def change(request: um.ChangeUserRequest, _: PeerIdentity) -> um.UserInfo:
            return users.change(administrator(request.credential), request)

        def delete(request: um.DeleteUserRequest, _: PeerIdentity) -> Nothing:
            users.delete(administrator(request.credential), request)
            return Nothing()

        def reset(request: um.UserRequest, _: PeerIdentity) -> um.CreatedUser:
            return users.reset(administrator(request.credential), request.name)

        def access(request: um.UserRequest, _: PeerIdentity) -> um.UserAccessReply:
            return users.access(administrator(request.credential), request.name)

        def revoke(request: um.RevokeAccessRequest, _: PeerIdentity) -> um.RevokedAccess:
            return users.revoke(administrator(request.credential), request)

        def audit(request: um.AuditRequest, _: PeerIdentity) -> um.AuditReply:
            return components.audit.read(request, administrator(request.credential).tenant)

        api.serve(um.CHANGE_PASSWORD, lambda request, _: components.log_ins.change_password(request), PROXY)
        api.serve(um.USERS, all_users, PROXY)
        api.serve(um.CREATE_USER, create, PROXY)
        api.serve(um.CHANGE_USER, change, PROXY)
        api.serve(um.DELETE_USER, delete, PROXY)
        api.serve(um.RESET_PASSWORD, reset, PROXY)
        api.serve(um.USER_ACCESS, access, PROXY)
        api.serve(um.REVOKE_ACCESS, revoke, PROXY)
        api.serve(um.AUDIT, audit, PROXY)
