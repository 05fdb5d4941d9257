"""Tenants over HTTP, for administrators of the cluster."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import empty_reply, json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages import tenants as tm
from lockstep_store.wire.messages.base import CredentialRequest, Description

_operation = partial(Operation, tag="People", refusals=(errors.Forbidden,))


class NewTenantBody(JsonBody):
    """A tenant to create. Its accounts are created like others, with names such as `acme\\ann`."""

    name: Annotated[str, Meta(max_length=32)]
    description: Description = ""


class TenantRoutes:
    """The routes below /tenants."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [
            _operation(
                id="list_tenants",
                method="GET",
                template="/tenants",
                handler=self.list,
                summary="List the tenants (administrators of the cluster)",
                description="With their administrators, and how many accounts and buckets each has.",
                answers={200: Answer("The tenants, by name.", Content(tm.TenantsReply))},
            ),
            _operation(
                id="create_tenant",
                method="POST",
                template="/tenants",
                handler=self.create,
                summary="Create a tenant (administrators of the cluster)",
                description="Then create its first administrator: an account such as `acme\\ann` with that role.",
                bodies=(Content(NewTenantBody),),
                answers={201: Answer("The tenant.", Content(tm.TenantInfo))},
                refusals=(errors.BadName, errors.Forbidden, errors.AlreadyExists, errors.Conflict),
            ),
            _operation(
                id="delete_tenant",
                method="DELETE",
                template="/tenants/{tenant}",
                handler=self.delete,
                summary="Delete a tenant (administrators of the cluster)",
                description="With its groups and quota. Refused while it has accounts or buckets.",
                answers={204: Answer("Deleted.")},
                refusals=(errors.Forbidden, errors.NotFound, errors.Conflict),
            ),
        ]

    def list(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(tm.TENANTS, CredentialRequest(request.credential())))

    def create(self, request: RestRequest) -> RawReply:
        credential, body = request.credential(), request.message(NewTenantBody)
        wanted = tm.CreateTenantRequest(credential, body.name, body.description)
        return json_reply(self._directory.call(tm.CREATE_TENANT, wanted), status=201)

    def delete(self, request: RestRequest) -> RawReply:
        wanted = tm.TenantRequest(request.credential(), request.segment("tenant"))
        self._directory.call(tm.DELETE_TENANT, wanted)
        return empty_reply()
