"""The calls about groups of accounts, and about tenants. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.messages.groups import AccountGroup, GroupRole, GroupsReply
from lockstep_store.wire.messages.tenants import TenantInfo, TenantsReply


class GroupCalls(ApiCaller):
    """Who is in which group, and which tenants there are. Grants and bucket policies name a group as `group:NAME`."""

    def groups(self) -> list[AccountGroup]:
        """Return every group for administrators, your own for others; without the members."""
        return self._ask(GroupsReply, "GET", "/api/v1/groups").groups

    def group(self, name: str) -> AccountGroup:
        """Return a group with its `accounts`: members and managers. NotFound unless you are in it."""
        return self._ask(AccountGroup, "GET", _address(name))

    def create_group(
        self, name: str, accounts: Mapping[str, GroupRole] | None = None, *, description: str = ""
    ) -> AccountGroup:
        """Create a group (administrators). AlreadyExists for a taken name."""
        message = {"name": name, "description": description, "accounts": dict(accounts or {})}
        return self._ask(AccountGroup, "POST", "/api/v1/groups", message=message)

    def change_group(
        self, name: str, accounts: Mapping[str, GroupRole | None] | None = None, *, description: str | None = None
    ) -> AccountGroup:
        """Change who is in a group (its managers and administrators); None removes an account, others stay."""
        message: dict[str, object] = {"accounts": dict(accounts or {})}
        if description is not None:
            message["description"] = description
        return self._ask(AccountGroup, "PATCH", _address(name), message=message)

    def delete_group(self, name: str) -> None:
        """Delete a group with the grants to it (administrators). Conflict while a bucket's policy names it."""
        self.transport.request("DELETE", _address(name))

    def tenants(self) -> list[TenantInfo]:
        """Return the tenants (administrators of the cluster)."""
        return self._ask(TenantsReply, "GET", "/api/v1/tenants").tenants

    def create_tenant(self, name: str, *, description: str = "") -> TenantInfo:
        r"""Create a tenant (administrators of the cluster). `create_user` makes its accounts, such as `acme\ann`."""
        return self._ask(TenantInfo, "POST", "/api/v1/tenants", message={"name": name, "description": description})

    def delete_tenant(self, name: str) -> None:
        """Delete a tenant with its groups and quota. Conflict while it has accounts or buckets."""
        self.transport.request("DELETE", f"/api/v1/tenants/{segment(name)}")


def _address(name: str) -> str:
    return f"/api/v1/groups/{segment(name)}"
