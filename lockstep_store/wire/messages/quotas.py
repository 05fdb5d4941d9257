"""Quotas: what an account, a bucket or a tenant may have, set by administrators."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Text

QuotaScope = Literal["account", "bucket", "tenant"]
Resource = Literal["bytes", "files", "versions", "buckets", "locks", "waiters", "followers", "keys", "accounts"]

AccountResource = Literal["bytes", "files", "versions", "buckets", "locks", "waiters", "followers", "keys"]
BucketResource = Literal["bytes", "files", "versions"]
TenantResource = Literal["bytes", "files", "versions", "buckets", "accounts"]

COUNTED_RESOURCES = frozenset({"bytes", "files", "versions"})
"""Counted with every change, where there is a quota."""
RESOURCES: dict[QuotaScope, tuple[Resource, ...]] = {
    "account": ("bytes", "files", "versions", "buckets", "locks", "waiters", "followers", "keys"),
    "bucket": ("bytes", "files", "versions"),
    "tenant": ("bytes", "files", "versions", "buckets", "accounts"),
}
BUILT_IN: dict[tuple[str, str], int] = {
    ("account", "locks"): 5000,
    ("account", "waiters"): 1000,
    ("account", "followers"): 8,
    ("account", "keys"): 200,
}
"""Bounds that hold without a quota, so that no account can hoard what all share."""

QuotaValue = Annotated[int, Meta(ge=0, le=1 << 62)]


class QuotaRequest(Message):
    """The quotas of an account, bucket or tenant: for administrators, the account itself, and the bucket's owner."""

    credential: Credential
    scope: QuotaScope
    name: Text


class SetQuotaRequest(Message):
    """Administrator: set the quotas in `values`, by resource; None removes one. The others stay.

    Administrators of a tenant set those of its accounts, up to the built-in bounds, and buckets; they see the tenant's.
    """

    credential: Credential
    scope: QuotaScope
    name: Text
    values: dict[Text, QuotaValue | None]


class QuotaInfo(Message, omit_defaults=False):
    """One resource. `allowed` is None without a bound; `used` is None where it is not counted without a quota."""

    resource: Resource
    allowed: int | None = None
    used: int | None = None
    built_in: bool = False
    """Nobody set a quota: the bound holds for every account."""


class QuotaReply(Message):
    scope: QuotaScope
    name: str
    quotas: list[QuotaInfo]


class QuotasReply(Message):
    """Every account, bucket and tenant with a quota."""

    owners: list[QuotaReply]


QUOTA = Call("/v1/quota", QuotaRequest, QuotaReply)
QUOTAS = Call("/v1/quotas", CredentialRequest, QuotasReply)
SET_QUOTA = Call("/v1/quota/set", SetQuotaRequest, QuotaReply)
