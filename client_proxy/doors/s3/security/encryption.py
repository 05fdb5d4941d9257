"""Encryption headers of requests and replies.

Everything is encrypted at rest with the cluster's keys (AES256). With a customer's key (SSE-C) or a named key of the
cluster (SSE-KMS) the proxy also encrypts the content before it is cut into chunks. Customers' keys are never stored.
This module reads and writes the headers; `objects.object_encryption` applies the keys to versions and uploads.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from client_proxy.doors.s3.protocol.description import S3Operation
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.protocol.s3_errors import S3Error
from client_proxy.encryption.content_keys import ContentKey, Metadata
from client_proxy.encryption.named_keys import KMS_ALGORITHM, NamedKeyClient, NewContentKey, RequestedKey
from lockstep_store.wire.messages.kms import (
    KMS_BUCKET_KEY_ENTRY,
    KMS_CONTEXT_ENTRY,
    KMS_KEY_ENTRY,
    MAX_CONTEXT,
    key_arn,
)
from lockstep_store.wire.messages.s3 import CUSTOMER_KEY_ENTRY

_READS = frozenset({"GetObject", "HeadObject"})


@dataclass(frozen=True)
class CustomerKey:
    """The key of a request. `md5` in base64, as the reply repeats it."""

    key: bytes
    md5: str

    def __repr__(self) -> str:
        return "CustomerKey(…)"

    @property
    def content_key(self) -> ContentKey:
        """The key that encrypts contents."""
        return ContentKey(self.key, CUSTOMER_KEY_ENTRY)


# ---------------------------------------------------------------- what requests say


CUSTOMER_KEY_MEMBERS = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")
ENCRYPTION_MEMBERS = frozenset(
    {
        "ServerSideEncryption",
        "SSEKMSKeyId",
        "SSEKMSEncryptionContext",
        "BucketKeyEnabled",
        *CUSTOMER_KEY_MEMBERS,
    }
)


def customer_key(values: Values) -> CustomerKey | None:
    """The key in a request's SSECustomer parameters; None without them. S3Error when it is not valid."""
    algorithm, text, md5 = (values.get(f"SSECustomer{part}") for part in ("Algorithm", "Key", "KeyMD5"))
    if algorithm is None and text is None and md5 is None:
        return None
    if algorithm is None:
        raise _bad_key("Algorithm", "a customer's key needs its algorithm, AES256")
    if algorithm != "AES256":
        raise S3Error("InvalidEncryptionAlgorithmError", "the algorithm for a customer's key can only be AES256")
    if text is None:
        raise _bad_key("Key", "the customer's key is missing")
    if md5 is None:
        raise _bad_key("Key-MD5", "the MD5 of the customer's key is missing")
    key = _from_base64(text)
    if len(key) != 32:
        raise _bad_key("Key", "the customer's key must be 32 bytes in base64")
    if _from_base64(md5) != hashlib.md5(key, usedforsecurity=False).digest():
        raise _bad_key("Key-MD5", "the MD5 does not match the customer's key")
    return CustomerKey(key, md5)


_UNSUPPORTED = ("aws:kms:dsse", "aws:fsx", "aws:backup")


def check_encryption(operation: S3Operation, values: Values, header: Any) -> None:
    """S3Error for an encryption that is not supported. `header` returns a header's value or None."""
    algorithm = values.get("ServerSideEncryption")
    if operation.name in _READS and header("x-amz-server-side-encryption") is not None:
        raise S3Error("InvalidArgument", "x-amz-server-side-encryption is only for writes")
    if algorithm is not None and any(values.get(f"SSECustomer{part}") for part in ("Algorithm", "Key", "KeyMD5")):
        raise S3Error("InvalidArgument", "send either a customer's key or x-amz-server-side-encryption, not both")
    if algorithm not in (None, "AES256", KMS_ALGORITHM, *_UNSUPPORTED):
        raise S3Error("InvalidEncryptionAlgorithmError", f"the encryption {algorithm[:64]!r} is not known")
    if algorithm in _UNSUPPORTED:
        raise S3Error("NotImplemented", f"this server encrypts with AES256 or {KMS_ALGORITHM}, not with {algorithm}")
    if (values.get("SSEKMSKeyId") or values.get("SSEKMSEncryptionContext")) and algorithm != KMS_ALGORITHM:
        raise S3Error("InvalidArgument", "a KMS key or context needs x-amz-server-side-encryption: aws:kms")


class RequestedEncryption(NamedTuple):
    """The encryption that a write requests for its content."""

    customer_key: CustomerKey | None = None
    named_key: RequestedKey | None = None
    algorithm: str | None = None
    """Of x-amz-server-side-encryption; without it and a customer's key the bucket's default applies."""

    def new_key(self, keys: NamedKeyClient, bucket: str, credential: str) -> NewContentKey | None:
        """The key for one new content of a person; None for the cluster's storage keys alone."""
        if self.customer_key is not None:
            return NewContentKey(self.customer_key.content_key, {})
        if self.algorithm:
            return None if self.named_key is None else keys.new_key(self.named_key)
        default = keys.default_of(bucket)
        return None if default is None else keys.new_key(default, bucket, credential)


NOT_REQUESTED = RequestedEncryption()


def read_encryption(values: Values, *, anonymous: bool) -> RequestedEncryption:
    """The encryption that a write's parameters ask for."""
    customer = customer_key(values)
    algorithm = values.get("ServerSideEncryption")
    if customer is not None or algorithm != KMS_ALGORITHM:
        return RequestedEncryption(customer, None, algorithm)
    if anonymous:  # or anybody could find out which keys there are
        raise S3Error("InvalidArgument", f"sign the request: {KMS_ALGORITHM} is not open to anonymous requests")
    context = _context(values.get("SSEKMSEncryptionContext"))
    requested = RequestedKey(values.get("SSEKMSKeyId") or "", context, bool(values.get("BucketKeyEnabled")))
    return RequestedEncryption(None, requested, algorithm)


def _context(text: str | None) -> str:
    """The encryption context of a header, as JSON with sorted names; S3Error when it is not valid."""
    if not text:
        return ""
    try:
        context = json.loads(_from_base64(text))
    except (ValueError, RecursionError):
        context = None
    if not isinstance(context, dict) or not all(isinstance(value, str) for value in context.values()):
        raise _bad_context("it must be a JSON object of texts, in base64")
    canonical = json.dumps(context, sort_keys=True, separators=(",", ":"))
    if len(canonical) > MAX_CONTEXT:
        raise _bad_context(f"it has {len(canonical)} characters; the maximum is {MAX_CONTEXT}")
    return canonical


def with_encryption(operation: S3Operation, output: Values) -> Values:
    """`output` with encryption at rest, where the operation's reply has a place for it."""
    has_place = any(member.name == "ServerSideEncryption" for member in operation.output)
    return encryption_members({}) | output if has_place else output


def encryption_members(metadata: Metadata, key: CustomerKey | None = None) -> Values:
    """The encryption members of a reply about content with this metadata; `key` was sent with the request."""
    if CUSTOMER_KEY_ENTRY in metadata or key is not None:
        return {"SSECustomerAlgorithm": "AES256"} | ({"SSECustomerKeyMD5": key.md5} if key else {})
    if KMS_KEY_ENTRY not in metadata:
        return {"ServerSideEncryption": "AES256"}
    values: Values = {"ServerSideEncryption": KMS_ALGORITHM, "SSEKMSKeyId": key_arn(metadata[KMS_KEY_ENTRY])}
    if KMS_BUCKET_KEY_ENTRY in metadata:
        values["BucketKeyEnabled"] = True
    if KMS_CONTEXT_ENTRY in metadata:
        values["SSEKMSEncryptionContext"] = base64.b64encode(metadata[KMS_CONTEXT_ENTRY].encode()).decode()
    return values


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bad_key(part: str, why: str) -> S3Error:
    name = f"x-amz-server-side-encryption-customer-{part.lower()}"
    return S3Error("InvalidArgument", why, ArgumentName=name)


def _bad_context(why: str) -> S3Error:
    name = "x-amz-server-side-encryption-context"
    return S3Error("InvalidArgument", f"the encryption context is not valid: {why}", ArgumentName=name)
