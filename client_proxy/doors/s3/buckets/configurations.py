"""Default encryption of a bucket, and the configurations that exist in S3 but not here.

A configuration that would have no effect is rejected, never stored and ignored, and reads say that there is none. The
owner may delete what is not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from client_proxy.core.directory_calls import Directory
from client_proxy.doors.s3.call import Handler, Handlers, S3Call
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.doors.s3.stored_settings import StoredSettings
from client_proxy.encryption.named_keys import KMS_ALGORITHM
from lockstep_store.wire.messages.buckets import GET_BUCKET, BucketRequest
from lockstep_store.wire.messages.s3 import ENCRYPTION

NEVER_SET = "no-configuration"
"""A setting that no bucket has: removing it checks the same rights as removing any other."""
_REPORTS = tuple((f"Bucket{name}", name) for name in ("Analytics", "IntelligentTiering", "Inventory", "Metrics"))


class ConfigurationHandlers:
    """Reads and changes configurations. Thread-safe; calls `default_changed` after a new default encryption."""

    def __init__(
        self, settings: StoredSettings, directory: Directory, default_changed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._default_changed = default_changed

    def handlers(self) -> Handlers:
        return {
            "GetBucketEncryption": self.encryption,
            "PutBucketEncryption": self.put_encryption,
            "DeleteBucketEncryption": self.delete_encryption,
            "GetBucketAccelerateConfiguration": self._always({}),
            "GetBucketRequestPayment": self._always({"Payer": "BucketOwner"}),
            "PutBucketRequestPayment": self.put_request_payment,
            "GetBucketWebsite": self._never("NoSuchWebsiteConfiguration", "website configuration"),
            "DeleteBucketWebsite": self._removed,
            "GetBucketReplication": self._never("ReplicationConfigurationNotFoundError", "replication configuration"),
            "DeleteBucketReplication": self._removed,
            **{
                f"List{kind}Configurations": self._always({"IsTruncated": False, f"{name}ConfigurationList": []})
                for kind, name in _REPORTS
            },
            **{
                f"{verb}{kind}Configuration": self._never("NoSuchConfiguration", "such configuration")
                for kind, _ in _REPORTS
                for verb in ("Get", "Delete")
            },
        }

    # ------------------------------------------------------------ default encryption

    def encryption(self, call: S3Call) -> Values:
        """GetBucketEncryption; without a setting AES256, as every chunk is encrypted with the cluster's keys."""
        value = self._settings.of_bucket(call, ENCRYPTION)
        if value is not None:
            return {"ServerSideEncryptionConfiguration": json.loads(value)}
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
        return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}

    def put_encryption(self, call: S3Call) -> Values:
        configuration = call.values["ServerSideEncryptionConfiguration"]
        check_encryption(configuration)
        self._settings.put_of_bucket(call, ENCRYPTION, json.dumps(configuration))
        self._default_changed(call.bucket)
        return {}

    def delete_encryption(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, ENCRYPTION, None)
        self._default_changed(call.bucket)
        return {}

    # ------------------------------------------------------------ the others

    def put_request_payment(self, call: S3Call) -> Values:
        if call.values["RequestPaymentConfiguration"]["Payer"] != "BucketOwner":
            raise S3Error("NotImplemented", "requester pays is not supported")
        return self._removed(call)

    def _removed(self, call: S3Call) -> Values:
        self._settings.put_of_bucket(call, NEVER_SET, None)
        return {}

    def _ask(self, call: S3Call) -> None:
        """Raise unless the bucket exists and the account may read it."""
        self._directory.call(GET_BUCKET, BucketRequest(call.credential, call.bucket))

    def _always(self, values: Values) -> Handler:
        def answer(call: S3Call) -> Values:
            self._ask(call)
            return dict(values)

        return answer

    def _never(self, code: str, what: str) -> Handler:
        def answer(call: S3Call) -> Values:
            self._ask(call)
            raise S3Error(code, f"the bucket has no {what}", BucketName=call.bucket)

        return answer


def check_encryption(configuration: dict[str, Any]) -> None:
    """S3Error for a default encryption that is not supported."""
    rules = configuration["Rules"]
    if len(rules) != 1:
        raise S3Error("MalformedXML", "a default encryption must have exactly one rule")
    if "SSE-C" in ((rules[0].get("BlockedEncryptionTypes") or {}).get("EncryptionType") or []):
        raise S3Error("NotImplemented", "blocking SSE-C is not supported")
    default = rules[0].get("ApplyServerSideEncryptionByDefault")
    if default is None:
        return
    algorithm = default["SSEAlgorithm"]
    if algorithm not in ("AES256", KMS_ALGORITHM):
        raise S3Error("NotImplemented", f"this server encrypts with AES256 or {KMS_ALGORITHM}, not with {algorithm}")
    if default.get("KMSMasterKeyID") and algorithm != KMS_ALGORITHM:
        raise S3Error("InvalidArgument", "a KMSMasterKeyID needs aws:kms, not AES256")
