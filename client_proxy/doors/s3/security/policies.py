"""Bucket policies, the public access block and ownership controls.

The directory checks them, stores them and decides by them; these handlers only pass them on.
"""

from __future__ import annotations

import json
from typing import Any

from client_proxy.doors.s3.call import Handlers, S3Call
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings

POLICY = "policy"
POLICY_STATUS = "policy-status"
PUBLIC_ACCESS_BLOCK = "public-access-block"
OWNERSHIP = "ownership"


def ownership_setting(wanted: str | None) -> dict[str, str]:
    """The setting of CreateBucket's x-amz-object-ownership."""
    return {} if wanted is None else {OWNERSHIP: json.dumps(wanted)}


class PolicyHandlers:
    """Everything about access to a bucket apart from ACLs."""

    def __init__(self, settings: StoredSettings) -> None:
        self._settings = settings

    def handlers(self) -> Handlers:
        return {
            "GetBucketPolicy": self.policy,
            "PutBucketPolicy": self.put_policy,
            "DeleteBucketPolicy": self.delete_policy,
            "GetBucketPolicyStatus": self.policy_status,
            "GetPublicAccessBlock": self.block,
            "PutPublicAccessBlock": self.put_block,
            "DeletePublicAccessBlock": self.delete_block,
            "GetBucketOwnershipControls": self.ownership,
            "PutBucketOwnershipControls": self.put_ownership,
            "DeleteBucketOwnershipControls": self.delete_ownership,
        }

    # ------------------------------------------------------------ the policy

    def policy(self, call: S3Call) -> Values:
        code, message = "NoSuchBucketPolicy", "The bucket policy does not exist"
        return {"Policy": self._settings.needed_of_bucket(call, POLICY, code, message)}

    def put_policy(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, POLICY, call.get("Policy") or "")
        call.status = 204
        return {}

    def delete_policy(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, POLICY, None)
        return {}

    def policy_status(self, call: S3Call) -> Values:
        return {"PolicyStatus": json.loads(self._settings.of_bucket(call, POLICY_STATUS) or "{}")}

    # ------------------------------------------------------------ the public access block

    def block(self, call: S3Call) -> Values:
        value = self._settings.needed_of_bucket(
            call,
            PUBLIC_ACCESS_BLOCK,
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
        return {"PublicAccessBlockConfiguration": json.loads(value)}

    def put_block(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(
            call, PUBLIC_ACCESS_BLOCK, json.dumps(call.get("PublicAccessBlockConfiguration") or {})
        )
        return {}

    def delete_block(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, PUBLIC_ACCESS_BLOCK, None)
        return {}

    # ------------------------------------------------------------ who owns what is written

    def ownership(self, call: S3Call) -> Values:
        value = self._settings.needed_of_bucket(
            call, OWNERSHIP, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found"
        )
        return {"OwnershipControls": {"Rules": [{"ObjectOwnership": json.loads(value)}]}}

    def put_ownership(self, call: S3Call) -> Values:
        rules: list[Any] = (call.get("OwnershipControls") or {}).get("Rules") or []
        if len(rules) != 1:
            raise S3Error("MalformedXML", "ownership controls must have exactly one rule")
        self._settings.put_of_bucket(call, OWNERSHIP, json.dumps(rules[0].get("ObjectOwnership")))
        return {}

    def delete_ownership(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, OWNERSHIP, None)
        return {}
