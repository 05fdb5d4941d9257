"""Encryption that requests ask for. Everything is sealed at rest with the server's keys (AES256), asked for or not;
with a customer's key (SSE-C) the content is encrypted here besides, before it is cut into chunks.

The customer's key is never kept; `client_proxy.content_keys` tells what is made of it. What requests may say, and what
answers say, is this module's part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from client_proxy.content_keys import ContentKey
from client_proxy.needs import OpenFile
from client_proxy.s3 import checksums
from client_proxy.s3.description import Operation
from client_proxy.s3.needs import S3Files
from client_proxy.s3.object_facts import CHECKSUM_ALGORITHM, CHECKSUM_TYPE, checksum_fact, sums_in
from client_proxy.s3.parameters import Values
from client_proxy.s3.refusals import S3Refusal
from client_proxy.sealed_content import Parts, Seal, Unsealed, check_whole, is_in_parts, part_of
from wire.messages import FileVersion
from wire.s3_messages import CUSTOMER_KEY_FACT
from wire.upload_messages import PartInfo, UploadInfo, VersionPart

_READS = frozenset({"GetObject", "HeadObject"})


@dataclass(frozen=True)
class CustomerKey:
    """A key that came with a request. `md5` in base64, as the answer repeats it."""

    key: bytes
    md5: str

    def __repr__(self) -> str:
        return "CustomerKey(…)"

    @property
    def content_key(self) -> ContentKey:
        """What contents are under with it."""
        return ContentKey(self.key, CUSTOMER_KEY_FACT)


# ---------------------------------------------------------------- what requests say


def customer_key(values: Values) -> CustomerKey | None:
    """The key of a request's SSECustomer parameters; None without any. S3Refusal when they make no good key."""
    algorithm, text, md5 = (values.get(f"SSECustomer{part}") for part in ("Algorithm", "Key", "KeyMD5"))
    if algorithm is None and text is None and md5 is None:
        return None
    if algorithm is None:
        raise _bad_key("Algorithm", "a customer's key needs its algorithm, AES256")
    if algorithm != "AES256":
        raise S3Refusal("InvalidEncryptionAlgorithmError", "the algorithm for a customer's key can only be AES256")
    if text is None:
        raise _bad_key("Key", "the customer's key is missing")
    if md5 is None:
        raise _bad_key("Key-MD5", "the MD5 of the customer's key is missing")
    key = _from_base64(text)
    if len(key) != 32:
        raise _bad_key("Key", "the customer's key must be 32 bytes in base64")
    if _from_base64(md5) != hashlib.md5(key, usedforsecurity=False).digest():
        raise _bad_key("Key-MD5", "the MD5 of the customer's key is not the one that came with it")
    return CustomerKey(key, md5)


def check_wishes(operation: Operation, values: Values, header: Any) -> None:
    """S3Refusal for an encryption that would not be carried out. `header` gives a header's value or None."""
    wish = values.get("ServerSideEncryption")
    if operation.name in _READS and header("x-amz-server-side-encryption") is not None:
        raise S3Refusal("InvalidArgument", "x-amz-server-side-encryption is for writing; a read says only its key")
    if wish is not None and any(values.get(f"SSECustomer{part}") for part in ("Algorithm", "Key", "KeyMD5")):
        raise S3Refusal("InvalidArgument", "a customer's key and x-amz-server-side-encryption cannot both be asked for")
    if wish not in (None, "AES256"):
        raise S3Refusal("NotImplemented", "this server encrypts with AES256 or a customer's key; it has no KMS")
    if values.get("SSEKMSKeyId") or values.get("SSEKMSEncryptionContext"):
        raise S3Refusal("InvalidArgument", "a KMS key or context needs x-amz-server-side-encryption: aws:kms")


def say(operation: Operation, output: Values) -> Values:
    """`output` with the encryption, where the operation's answer has a place for it."""
    has_place = any(member.name == "ServerSideEncryption" for member in operation.output)
    return said(None) | output if has_place and "SSECustomerAlgorithm" not in output else output


def said(key: CustomerKey | None) -> Values:
    """What the answer about one version says."""
    if key is None:
        return {"ServerSideEncryption": "AES256"}
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": key.md5}


# ---------------------------------------------------------------- versions


def unseal(opened: OpenFile, key: CustomerKey | None, parts: Parts) -> OpenFile:
    """`opened` as its reader sees it. S3Refusal unless `key` is the one it was written with, or neither is there."""
    checked = key_of(opened.version, key)
    return opened if checked is None else Unsealed(opened, checked, parts)


def key_of(version: FileVersion, key: CustomerKey | None) -> ContentKey | None:
    """What a version's content is under. S3Refusal unless `key` is that one, or neither is there."""
    if CUSTOMER_KEY_FACT not in version.metadata:
        if key is not None:
            raise S3Refusal("InvalidRequest", "the object was not written with a customer's key: leave it out")
        return None
    if key is None:
        raise _needs_key()
    if not key.content_key.made(version.metadata):
        raise S3Refusal("AccessDenied", "the customer's key is not the one that the object was written with")
    return key.content_key


def parts_of(files: S3Files, credential: str, version: FileVersion, key: CustomerKey | None) -> Parts:
    """The parts of a completed upload with what was sealed of their facts, looked up once at most."""

    @cache
    def parts() -> Sequence[VersionPart]:
        found = files.parts_of(credential, version)
        if key is None or CUSTOMER_KEY_FACT not in version.metadata:
            return found
        return [part._replace(facts=key.content_key.opened(part.facts)) for part in found]

    return parts


def plain_version(version: FileVersion, key: CustomerKey | None, parts: Parts) -> FileVersion:
    """`version` with what was sealed of its facts, for who brings the right key. The checksum of a completed upload
    was never known without it, and is made of its parts'."""
    if key is None or CUSTOMER_KEY_FACT not in version.metadata:
        return version
    check_whole(version, key.content_key)
    facts = key.content_key.opened(version.metadata)
    algorithm = facts.get(CHECKSUM_ALGORITHM)
    if algorithm is not None and is_in_parts(facts, key.content_key):
        told = [(sums_in(part.facts)[checksums.by_name(algorithm).member], part.size) for part in parts()]
        whole = checksums.of_parts(checksums.by_name(algorithm), facts[CHECKSUM_TYPE], told)
        facts |= {checksum_fact(algorithm): whole}
    return msgspec.structs.replace(version, metadata=facts)


def late_facts(facts: dict[str, str], seal: Seal | None) -> dict[str, str]:
    """`facts` of a content that was read, as they may be kept."""
    return facts if seal is None else seal.late(facts)


# ---------------------------------------------------------------- uploads


def upload_key(upload: UploadInfo, key: CustomerKey | None) -> ContentKey | None:
    """What an upload's parts are under. S3Refusal unless `key` is the one it was begun with, or neither is there."""
    if CUSTOMER_KEY_FACT not in upload.metadata:
        if key is not None:
            raise S3Refusal("InvalidRequest", "the upload was begun without a customer's key: leave it out")
        return None
    if key is None:
        raise S3Refusal(
            "InvalidRequest", "the upload was begun with a customer's key (SSE-C): send that key along with each part"
        )
    if not key.content_key.made(upload.metadata):
        raise S3Refusal("InvalidRequest", "the customer's key is not the one that the upload was begun with")
    return key.content_key


def part_seal(upload: UploadInfo, number: int, key: ContentKey | None) -> Seal | None:
    """The encryption of a new part, by the `upload_key`."""
    return None if key is None else Seal(key, part_of(upload.metadata, key, number))


def plain_part(part: PartInfo, key: ContentKey | None) -> PartInfo:
    """`part` with what was sealed of its facts."""
    return part if key is None else msgspec.structs.replace(part, metadata=key.opened(part.metadata))


def is_sealed(upload: UploadInfo) -> bool:
    """Whether nothing of the parts' contents is known without a customer's key."""
    return CUSTOMER_KEY_FACT in upload.metadata


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bad_key(part: str, why: str) -> S3Refusal:
    name = f"x-amz-server-side-encryption-customer-{part.lower()}"
    return S3Refusal("InvalidArgument", why, ArgumentName=name)


def _needs_key() -> S3Refusal:
    return S3Refusal(
        "InvalidRequest", "the object is encrypted with a customer's key (SSE-C): send that key along to read it"
    )
