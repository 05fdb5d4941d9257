"""The calls about service accounts. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from typing import Any

from lockstep_store.client.api.caller import ApiCaller, segment
from lockstep_store.wire.messages.identities import IdentityInfo, ServiceAccountInfo, ServiceAccountsReply
from lockstep_store.wire.messages.s3 import S3KeyInfo

Policy = dict[str, Any]
"""A document of AWS's policy language, without principals."""
_ADDRESS = "/api/v1/auth/service-accounts"


class ServiceAccountCalls(ApiCaller):
    """What programs sign S3 requests as: keys and policies, no password."""

    def service_accounts(self) -> list[IdentityInfo]:
        """Return your service accounts, by name."""
        return self._ask(ServiceAccountsReply, "GET", _ADDRESS).service_accounts

    def create_service_account(self, name: str, policy: Policy | None = None) -> IdentityInfo:
        """Create a service account; without a policy it may do nothing."""
        message = {"name": name} if policy is None else {"name": name, "policy": policy}
        return self._ask(IdentityInfo, "POST", _ADDRESS, message=message)

    def service_account(self, name: str) -> ServiceAccountInfo:
        """Return a service account with its policies and keys."""
        return self._ask(ServiceAccountInfo, "GET", f"{_ADDRESS}/{segment(name)}")

    def delete_service_account(self, name: str) -> None:
        """Delete a service account with its policies and keys."""
        self.transport.request("DELETE", f"{_ADDRESS}/{segment(name)}", repeatable=True)

    def put_service_policy(self, name: str, policy_name: str, policy: Policy) -> None:
        """Create or replace a policy."""
        address = f"{_ADDRESS}/{segment(name)}/policies/{segment(policy_name)}"
        self.transport.request("PUT", address, message=policy, repeatable=True)

    def create_service_key(self, name: str, valid_seconds: float | None = None) -> S3KeyInfo:
        """Create a key; with `valid_seconds` it expires. Only this reply has the secret."""
        message = {} if valid_seconds is None else {"valid_seconds": valid_seconds}
        return self._ask(S3KeyInfo, "POST", f"{_ADDRESS}/{segment(name)}/keys", message=message)

    def revoke_service_key(self, name: str, access_key_id: str) -> None:
        """Revoke a key with its sessions."""
        address = f"{_ADDRESS}/{segment(name)}/keys/{segment(access_key_id)}"
        self.transport.request("DELETE", address, repeatable=True)
