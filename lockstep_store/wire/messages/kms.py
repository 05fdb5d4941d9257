"""Named keys (SSE-KMS): the calls about them, and the metadata of content under one.

Content under a named key has a data key of its own, stored wrapped in the version's metadata. Only the directory has
the named keys. It unwraps the data key in the reply to a lookup, for those who may read the content.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Bucket, Credential, CredentialRequest, Message
from lockstep_store.wire.messages.s3 import SettingReply

KMS_ENTRY = "s3:kms"
"""Prefix of the metadata names of content under a named key."""
KMS_KEY_ENTRY = f"{KMS_ENTRY}-key"
"""The named key's id."""
KMS_DATA_ENTRY = f"{KMS_ENTRY}-data"
"""The data key, wrapped, base64: the named key's version (4 bytes), a nonce (12), and AES-256-GCM of 32 bytes; the
associated data is `data_key_use`."""
KMS_CONTEXT_ENTRY = f"{KMS_ENTRY}-context"
"""The encryption context, as JSON with sorted names; absent without one."""
KMS_BUCKET_KEY_ENTRY = f"{KMS_ENTRY}-bucket-key"
"""Present when the writer asked for a bucket key."""
DEFAULT_KEY_NAME = "aws/s3"
"""The key for requests that name none. It is created on first use."""
MAX_CONTEXT = 2048
KeyName = Annotated[str, Meta(min_length=1, max_length=2048)]
_ARN = "arn:aws:kms:us-east-1:000000000000"


class KmsKeyInfo(Message):
    """A named key, without its material.

    `versions` is one more than the number of rotations: new content uses the latest version, older content keeps its
    own.
    """

    id: str
    name: str
    enabled: bool
    created_at: float
    versions: int
    rotated_at: float
    """When the latest version was created."""
    arn: str = ""


class KmsKeysReply(Message):
    keys: list[KmsKeyInfo]


class KmsKeyRequest(Message):
    """Administrator. `key` is a name or id in any form that `key_name` accepts."""

    credential: Credential
    key: KeyName


class EnableKmsKeyRequest(KmsKeyRequest):
    """Enable or disable a key. Content under a disabled key can neither be written nor read."""

    enabled: bool = True


class NewDataKeyRequest(Message):
    """A data key for new content; without `key`, under the default key.

    BadRequest with the fact `s3_code` when the named key does not exist or is disabled. If it is a bucket's default,
    `bucket` and `credential` say for whom: NotFound in place of that for somebody to whom the bucket does not exist.
    """

    key: Annotated[str, Meta(max_length=2048)] = ""
    context: Annotated[str, Meta(max_length=2 * MAX_CONTEXT)] = ""
    credential: Credential = ""
    bucket: Bucket = ""


class NewDataKeyReply(Message):
    """The data key in hex, and the metadata from which the directory can unwrap it again."""

    key: str
    facts: dict[str, str]


class BucketEncryptionRequest(Message):
    """The bucket's default encryption, for the proxy itself. It applies to writes through every door."""

    bucket: Bucket


def key_arn(id: str) -> str:
    """Return the ARN that names a key in S3 replies."""
    return f"{_ARN}:key/{id}"


def key_name(text: str) -> str:
    """Return the name or id in `NAME`, `ID`, `alias/NAME`, `arn:aws:kms:REGION:ACCOUNT:key/ID` or `…:alias/NAME`."""
    if text.startswith("arn:"):
        text = text.split(":", 5)[-1]
        if text.startswith("key/"):
            return text[len("key/") :]
    return text.removeprefix("alias/")


def data_key_use(id: str, context: str) -> bytes:
    """Return the associated data of a wrapped data key."""
    return f"lockstep data key 1\n{id}\n{context}".encode()


KMS_KEYS = Call("/v1/kms/keys", CredentialRequest, KmsKeysReply)
CREATE_KMS_KEY = Call("/v1/kms/keys/create", KmsKeyRequest, KmsKeyInfo)
ENABLE_KMS_KEY = Call("/v1/kms/keys/enable", EnableKmsKeyRequest, KmsKeyInfo)
ROTATE_KMS_KEY = Call("/v1/kms/keys/rotate", KmsKeyRequest, KmsKeyInfo)
NEW_DATA_KEY = Call("/v1/kms/data-key", NewDataKeyRequest, NewDataKeyReply)
BUCKET_ENCRYPTION = Call("/v1/bucket-settings/encryption", BucketEncryptionRequest, SettingReply)
