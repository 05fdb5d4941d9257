"""S3: access keys, and S3's settings of buckets and versions. See wire/messages/files.py.

A request signed with signature version 4 is proven to the directory by an `S3Proof`, which stands in every message
where a bearer token or an API key would: the directory, which alone has the secrets, checks it each time. So that a
proxy can judge streams and forms itself, it may have the signing key of one day and region, never the secret.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import (
    Bucket,
    Credential,
    CredentialRequest,
    FileVersion,
    Message,
    Nothing,
    PathText,
    Text,
)
from lockstep_store.wire.secret_members import repr_without_secrets

S3_PROOF_PREFIX = "lss_"
SIGNING_ALGORITHM = "AWS4-HMAC-SHA256"
Day = Annotated[str, Meta(pattern=r"^\d{8}$")]
Region = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^/]+$")]
SettingName = Annotated[str, Meta(max_length=64)]
SettingText = Annotated[str, Meta(max_length=256 * 1024)]
AccessKeyId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^/]+$")]


class S3KeyInfo(Message):
    """An S3 access key. `secret` is only in the answer that makes it."""

    access_key_id: str
    account: str
    created_at: float
    name: str = ""
    secret: str = ""
    session_token: str = ""
    """Of a temporary key: must come along with every request that the key signs."""
    expires_at: float | None = None


class S3KeysReply(Message):
    keys: list[S3KeyInfo]


class CreateS3KeyRequest(Message):
    """A new key for the caller's account; with `valid_seconds` a temporary one with a session token."""

    credential: Credential
    name: Text = ""
    valid_seconds: Annotated[float, Meta(ge=60, le=7 * 86400)] | None = None


class S3KeyRequest(Message):
    """One of the caller's own keys."""

    credential: Credential
    access_key_id: AccessKeyId


class SigningKeyRequest(Message):
    access_key_id: AccessKeyId
    date: Day
    region: Region
    session_token: Annotated[str, Meta(max_length=2048)] = ""


class SigningKeyReply(Message):
    """`key`, in hex, signs requests of that day and region."""

    key: str
    account: str


class S3Proof(NamedTuple):
    """A signature and what it was made over, as one line of text."""

    access_key_id: str
    date: str
    region: str
    amz_date: str
    canonical_sha256: str
    signature: str

    def __repr__(self) -> str:
        return repr_without_secrets(self)

    def encode(self) -> str:
        """The text that goes where a credential goes."""
        return S3_PROOF_PREFIX + "/".join(self)

    @classmethod
    def decode(cls, text: str) -> S3Proof | None:
        """The proof in a credential; None when it is none."""
        parts = text.removeprefix(S3_PROOF_PREFIX).split("/")
        return cls(*parts) if text.startswith(S3_PROOF_PREFIX) and len(parts) == 6 else None

    @property
    def scope(self) -> str:
        """The credential scope, as it appears in the string to sign."""
        return f"{self.date}/{self.region}/s3/aws4_request"

    def is_made_with(self, key: bytes) -> bool:
        """Whether `key` (of this day and region) made the signature."""
        text = f"{SIGNING_ALGORITHM}\n{self.amz_date}\n{self.scope}\n{self.canonical_sha256}"
        return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), self.signature)


def signing_key(secret: str, date: str, region: str) -> bytes:
    """The key of one day and region, derived from a secret key. Source: the S3 API reference, signature version 4."""
    key = b"AWS4" + secret.encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_digest(canonical_request: str) -> str:
    """What of a canonical request is signed."""
    return hashlib.sha256(canonical_request.encode("utf-8", "surrogateescape")).hexdigest()


# ---------------------------------------------------------------- what is said of buckets and versions

ETAG_FACT = "s3:etag"
CHECKSUM_FACTS = "s3:checksum-"
"""What begins the names of a content's checksums, by algorithm, and of what is said about them."""
CUSTOMER_KEY_FACT = "s3:sse-c"
"""What begins the names of a version's facts that say how to tell and use the customer's key its content is under."""
TAGS = "tags"
"""The setting of a version or a bucket that has its tags: {"TagSet": [{"Key", "Value"}, …]}."""
ENCRYPTION = "encryption"
"""The setting of a bucket that says how what comes without a wish is encrypted, as S3's description has it."""
OBJECT_LOCK = "object-lock"
"""The setting of a bucket whose versions can be held back from deletion: {"ObjectLockEnabled", "Rule"}."""
RETENTION = "retention"
"""The setting of a version that must not be deleted before a time: {"Mode", "RetainUntilDate"}."""
LOGGING = "logging"
"""The setting of a bucket whose requests are logged: {"LoggingEnabled": {"TargetBucket", "TargetPrefix",
"TargetObjectKeyFormat"}}."""
ACCESS_LOG_PREFIX = "lsg_"
"""Begins what stands for a credential where a proxy writes the access log of the bucket named after it. It is no
secret: only proxies can send it, and it is good for new files below the prefix that the bucket's owner named."""
LEGAL_HOLD = "legal-hold"
"""The setting of a version that must not be deleted while it says so: {"Status": "ON"}."""


NOTIFICATION = "notification"
"""The setting that holds a bucket's notification configuration."""
LOCATION = "location"
"""The setting of a bucket that was wanted in another region than REGION, from its first moment: that region's name."""
REGION = "us-east-1"
"""Every region is accepted in signatures; this one is what is said of a bucket that was wanted in none."""


def etag_of_content(facts: dict[str, str], digest: Digest) -> str:
    """Without quotes. `…-1` says, as for a multipart upload, that it is no MD5."""
    return facts.get(ETAG_FACT) or f"{digest.hex()[:32]}-1"


class BucketSettingRequest(Message):
    """One setting of a bucket: for its owner, administrators, and whom its policy lets."""

    credential: Credential
    bucket: Bucket
    name: SettingName


class PutBucketSettingRequest(BucketSettingRequest):
    """`value` is JSON; None removes the setting."""

    value: SettingText | None = None


class SettingReply(Message):
    value: str | None = None


class BucketCorsRequest(Message):
    """The bucket's CORS rules for a proxy itself: a browser asks about them before it shows who it is for."""

    bucket: Bucket


class AccessLogRequest(Message):
    """Whether requests to a bucket are to be logged, for a proxy itself: it must know before it knows who asks."""

    bucket: Bucket


LogDates = Literal["", "EventTime", "DeliveryTime"]


class AccessLogReply(Message):
    """Whose the bucket is, and where its log goes; `target` is empty when there is none. `dates` says whose date is in
    the folders that the files are sorted into; empty without folders."""

    owner: str = ""
    target: str = ""
    prefix: str = ""
    dates: LogDates = ""


class ObjectSettingsRequest(Message):
    """All settings of a version; without `version`, of the current one."""

    credential: Credential
    bucket: Bucket
    path: PathText
    version: str | None = None


class PutObjectSettingRequest(ObjectSettingsRequest):
    """`value` is JSON; None removes the setting."""

    name: SettingName = ""
    value: SettingText | None = None
    bypass_governance: bool = False
    """Shorten or end a retention in governance mode too: for owner, administrators, and whom the policy lets."""


class ObjectSettingsReply(Message):
    """`version` has no content facts beyond those of its row, and no holders."""

    version: FileVersion
    settings: dict[str, str]


S3_KEYS = Call("/v1/s3-keys", CredentialRequest, S3KeysReply)
CREATE_S3_KEY = Call("/v1/s3-keys/create", CreateS3KeyRequest, S3KeyInfo)
ROTATE_S3_KEY = Call("/v1/s3-keys/rotate", S3KeyRequest, S3KeyInfo)
REVOKE_S3_KEY = Call("/v1/s3-keys/revoke", S3KeyRequest, Nothing)
S3_SIGNING_KEY = Call("/v1/s3-keys/signing", SigningKeyRequest, SigningKeyReply)
BUCKET_SETTING = Call("/v1/bucket-settings", BucketSettingRequest, SettingReply)
PUT_BUCKET_SETTING = Call("/v1/bucket-settings/put", PutBucketSettingRequest, Nothing)
BUCKET_CORS = Call("/v1/bucket-settings/cors", BucketCorsRequest, SettingReply)
BUCKET_ACCESS_LOG = Call("/v1/bucket-settings/access-log", AccessLogRequest, AccessLogReply)
OBJECT_SETTINGS = Call("/v1/object-settings", ObjectSettingsRequest, ObjectSettingsReply)
PUT_OBJECT_SETTING = Call("/v1/object-settings/put", PutObjectSettingRequest, ObjectSettingsReply)
