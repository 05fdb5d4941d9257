"""The routes for quotas of accounts, buckets and tenants."""

from __future__ import annotations

from functools import partial

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.rest.json_body import JsonBody
from client_proxy.doors.rest.operation import Answer, Content, Operation
from client_proxy.doors.rest.reply import json_reply
from client_proxy.doors.rest.request import RestRequest
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.wire import errors
from lockstep_store.wire.messages.base import CredentialRequest
from lockstep_store.wire.messages.quotas import (
    QUOTA,
    QUOTAS,
    SET_QUOTA,
    AccountResource,
    BucketResource,
    QuotaReply,
    QuotaRequest,
    QuotaScope,
    QuotasReply,
    QuotaValue,
    SetQuotaRequest,
    TenantResource,
)

_operation = partial(Operation, tag="Cluster", refusals=(errors.BadName, errors.Forbidden, errors.NotFound))


class QuotaBody(JsonBody):
    """The quotas of an account to set, by resource; null removes one, and the others stay."""

    quotas: dict[AccountResource, QuotaValue | None]


class BucketQuotaBody(JsonBody):
    """The quotas of a bucket to set, by resource; null removes one, and the others stay."""

    quotas: dict[BucketResource, QuotaValue | None]


class TenantQuotaBody(JsonBody):
    """The quotas of a tenant to set, by resource; null removes one, and the others stay."""

    quotas: dict[TenantResource, QuotaValue | None]


class QuotaRoutes:
    """The routes below /quotas."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        return [*self._of_accounts(), *self._of_buckets_and_tenants()]

    def _of_accounts(self) -> list[Operation]:
        return [
            _operation(
                id="list_quotas",
                method="GET",
                template="/quotas",
                handler=self.list_quotas,
                summary="List the accounts, buckets and tenants with quotas (administrators)",
                description="Each with what it may have and what it has.",
                answers={200: Answer("Accounts, then buckets, then tenants, by name.", Content(QuotasReply))},
                refusals=(errors.Forbidden,),
            ),
            _operation(
                id="account_quota",
                method="GET",
                template="/quotas/accounts/{user}",
                handler=partial(self.show, "account"),
                summary="Get the quotas of an account",
                description="For the account itself and administrators. `built_in` bounds hold without a quota.",
                answers={200: Answer("What it may have, and has.", Content(QuotaReply))},
            ),
            _operation(
                id="set_account_quota",
                method="PATCH",
                template="/quotas/accounts/{user}",
                handler=partial(self.set, "account", QuotaBody),
                summary="Set quotas of an account (administrators)",
                description=(
                    "Bytes, files and versions are those that the account wrote, wherever they are. A quota below what "
                    "is there removes nothing."
                ),
                bodies=(Content(QuotaBody),),
                answers={200: Answer("What it may have now, and has.", Content(QuotaReply))},
            ),
        ]

    def _of_buckets_and_tenants(self) -> list[Operation]:
        return [
            _operation(
                id="bucket_quota",
                method="GET",
                template="/quotas/buckets/{bucket}",
                handler=partial(self.show, "bucket"),
                summary="Get the quotas of a bucket",
                description="For its owner and administrators.",
                answers={200: Answer("What it may have, and has.", Content(QuotaReply))},
            ),
            _operation(
                id="set_bucket_quota",
                method="PATCH",
                template="/quotas/buckets/{bucket}",
                handler=partial(self.set, "bucket", BucketQuotaBody),
                summary="Set quotas of a bucket (administrators)",
                description="A quota below what is there removes nothing.",
                bodies=(Content(BucketQuotaBody),),
                answers={200: Answer("What it may have now, and has.", Content(QuotaReply))},
            ),
            _operation(
                id="tenant_quota",
                method="GET",
                template="/quotas/tenants/{tenant}",
                handler=partial(self.show, "tenant"),
                summary="Get the quotas of a tenant",
                description="For its administrators and those of the cluster.",
                answers={200: Answer("What it may have, and has.", Content(QuotaReply))},
            ),
            _operation(
                id="set_tenant_quota",
                method="PATCH",
                template="/quotas/tenants/{tenant}",
                handler=partial(self.set, "tenant", TenantQuotaBody),
                summary="Set quotas of a tenant (administrators of the cluster)",
                description=(
                    "Bytes, files and versions are those in the tenant's buckets. A quota below what is there removes "
                    "nothing."
                ),
                bodies=(Content(TenantQuotaBody),),
                answers={200: Answer("What it may have now, and has.", Content(QuotaReply))},
            ),
        ]

    def list_quotas(self, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(QUOTAS, CredentialRequest(request.credential())))

    def show(self, scope: QuotaScope, request: RestRequest) -> RawReply:
        return json_reply(self._directory.call(QUOTA, QuotaRequest(request.credential(), scope, _name(scope, request))))

    def set(
        self, scope: QuotaScope, shape: type[QuotaBody | BucketQuotaBody | TenantQuotaBody], request: RestRequest
    ) -> RawReply:
        credential, name = request.credential(), _name(scope, request)
        values: dict[str, int | None] = dict(request.message(shape).quotas.items())
        return json_reply(self._directory.call(SET_QUOTA, SetQuotaRequest(credential, scope, name, values)))


def _name(scope: QuotaScope, request: RestRequest) -> str:
    return request.bucket() if scope == "bucket" else request.segment("user" if scope == "account" else "tenant")
