r"""Tenants: organisations in one cluster with their own accounts, groups, buckets and quota, invisible to each other.

The name of a tenant's account says so: `acme\ann`. What has no tenant is the cluster's own, as are its administrators.
"""

from __future__ import annotations

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Description, Message, Nothing, Text

MAX_TENANTS = 1000


class TenantInfo(Message):
    name: str
    created_at: float
    accounts: int
    buckets: int
    description: str = ""
    administrators: list[str] = []
    """Accounts that are administrators of this tenant, and not disabled."""


class TenantsReply(Message):
    tenants: list[TenantInfo]


class TenantRequest(Message):
    """Administrator of the cluster: a tenant."""

    credential: Credential
    name: Text


class CreateTenantRequest(Message):
    """Administrator of the cluster: make a tenant. AlreadyExists for a taken name, or one that looks like another's."""

    credential: Credential
    name: Text
    description: Description = ""


TENANTS = Call("/v1/tenants", CredentialRequest, TenantsReply)
CREATE_TENANT = Call("/v1/tenants/create", CreateTenantRequest, TenantInfo)
DELETE_TENANT = Call("/v1/tenants/delete", TenantRequest, Nothing)
