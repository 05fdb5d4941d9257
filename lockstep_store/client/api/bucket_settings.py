"""The calls about a bucket's lifecycle and policy. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lockstep_store.client.api.caller import ApiCaller
from lockstep_store.wire.messages.access import AccessReply
from lockstep_store.wire.messages.bucket_settings import BucketPolicyReply, LifecyclePlan, LifecycleReply
from lockstep_store.wire.names import check_bucket

Policy = Mapping[str, Any]
"""A document of AWS's policy language."""


class BucketSettingCalls(ApiCaller):
    """Settings of a bucket that every door obeys. Each call raises NotFound without the bucket, and Forbidden."""

    def lifecycle(self, bucket: str) -> list[LifecyclePlan]:
        """Return the rules by which a bucket deletes files and old versions."""
        return self._ask(LifecycleReply, "GET", f"/api/v1/lifecycles/{check_bucket(bucket)}").rules

    def set_lifecycle(self, bucket: str, rules: Sequence[LifecyclePlan]) -> list[LifecyclePlan]:
        """Replace all rules of a bucket, and return them with their ids. Raises BadRequest for an invalid rule."""
        message = {"rules": msgspec.to_builtins(rules)}
        address = f"/api/v1/lifecycles/{check_bucket(bucket)}"
        return self._ask(LifecycleReply, "PUT", address, message=message, repeatable=True).rules

    def bucket_policy(self, bucket: str) -> dict[str, Any] | None:
        """Return a bucket's policy; None if it has none."""
        return self._ask(BucketPolicyReply, "GET", f"/api/v1/policies/{check_bucket(bucket)}").policy

    def set_bucket_policy(self, bucket: str, policy: Policy | None) -> None:
        """Replace a bucket's policy, or remove it with None. Raises BadRequest for an invalid one."""
        address = f"/api/v1/policies/{check_bucket(bucket)}"
        self._ask(BucketPolicyReply, "PUT", address, message={"policy": policy}, repeatable=True)

    def preview_bucket_policy(self, bucket: str, policy: Policy | None, path: str = "") -> AccessReply:
        """Return who could do what with a file or folder if this were the bucket's policy. Changes nothing."""
        message = {"policy": policy, "path": path}
        address = f"/api/v1/policies/{check_bucket(bucket)}/preview"
        return self._ask(AccessReply, "POST", address, message=message, repeatable=True)
