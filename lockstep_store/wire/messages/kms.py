"""Named keys: what client proxies ask of the directory about them, and what versions say of the key they are under.

A content under a named key (SSE-KMS) has a data key of its own. It stands wrapped among the content's facts, and the
directory, which alone has the named keys, unwraps it for proxies: in the answer to a lookup, for who may read.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.files import Bucket, Credential, CredentialRequest, Message
from lockstep_store.wire.messages.s3 import SettingReply

KMS_FACT = "s3:kms"
"""What begins the names of the facts of a content under a named key."""
KMS_KEY_FACT = f"{KMS_FACT}-key"
"""The named key's id."""
KMS_DATA_FACT = f"{KMS_FACT}-data"
"""The data key, wrapped, base64: the named key's version (4 bytes), a nonce (12), and AES-256-GCM of 32 bytes; the
associated data is `data_key_use`."""
KMS_CONTEXT_FACT = f"{KMS_FACT}-context"
"""The encryption context, as JSON with sorted names; absent without one."""
KMS_BUCKET_KEY_FACT = f"{KMS_FACT}-bucket-key"
"""There when the writer asked for a bucket key."""
DEFAULT_KEY_NAME = "aws/s3"
"""Of the key that serves who names none. It is made when it is needed first."""
MAX_CONTEXT = 2048
KeyName = Annotated[str, Meta(min_length=1, max_length=2048)]
_ARN = "arn:aws:kms:us-east-1:000000000000"


class KmsKeyInfo(Message):
    """A named key, without its material. `versions` counts how often it has been made anew: new contents are under the
    latest, older ones stay under theirs."""

    id: str
    name: str
    enabled: bool
    created_at: float
    versions: int
    rotated_at: float
    """When the latest version was made."""
    arn: str = ""


class KmsKeysReply(Message):
    keys: list[KmsKeyInfo]


class KmsKeyRequest(Message):
    """An administrator's. `key` is named in any of the forms of `key_name`."""

    credential: Credential
    key: KeyName


class EnableKmsKeyRequest(KmsKeyRequest):
    """Nothing is written or read under a key that is not enabled."""

    enabled: bool = True


class NewDataKeyRequest(Message):
    """For a content to be written; without `key` under the default key. BadRequest with the fact `s3_code` for a key
    that is not there, or disabled."""

    key: Annotated[str, Meta(max_length=2048)] = ""
    context: Annotated[str, Meta(max_length=2 * MAX_CONTEXT)] = ""


class NewDataKeyReply(Message):
    """`key` in hex, and the facts with which it can be had again."""

    key: str
    facts: dict[str, str]


class BucketEncryptionRequest(Message):
    """A bucket's default encryption, asked by a proxy for itself. It applies to writes through every door."""

    bucket: Bucket


def key_arn(id: str) -> str:
    """The name under which S3 answers tell a key."""
    return f"{_ARN}:key/{id}"


def key_name(text: str) -> str:
    """The name or id in `NAME`, `ID`, `alias/NAME`, `arn:aws:kms:REGION:ACCOUNT:key/ID` or `…:alias/NAME`."""
    if text.startswith("arn:"):
        text = text.split(":", 5)[-1]
        if text.startswith("key/"):
            return text[len("key/") :]
    return text.removeprefix("alias/")


def data_key_use(id: str, context: str) -> bytes:
    """What a wrapped data key is bound to."""
    return f"lockstep data key 1\n{id}\n{context}".encode()


KMS_KEYS = Call("/v1/kms/keys", CredentialRequest, KmsKeysReply)
CREATE_KMS_KEY = Call("/v1/kms/keys/create", KmsKeyRequest, KmsKeyInfo)
ENABLE_KMS_KEY = Call("/v1/kms/keys/enable", EnableKmsKeyRequest, KmsKeyInfo)
ROTATE_KMS_KEY = Call("/v1/kms/keys/rotate", KmsKeyRequest, KmsKeyInfo)
NEW_DATA_KEY = Call("/v1/kms/data-key", NewDataKeyRequest, NewDataKeyReply)
BUCKET_ENCRYPTION = Call("/v1/bucket-settings/encryption", BucketEncryptionRequest, SettingReply)
