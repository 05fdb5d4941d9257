"""S3: access keys, and the S3 settings of buckets and versions.

An `S3Proof` proves a request signed with signature version 4 to the directory. It takes the credential's place in every
message, and the directory, which alone has the secrets, checks it each time. A proxy that must verify streams and
forms itself can get the signing key of one day and region, but never the secret.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.base import Bucket, Credential, CredentialRequest, Message, Nothing, PathText, Text
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.secret_members import repr_without_secrets

S3_PROOF_PREFIX = "lss_"
S3_SERVICE = "s3"
"""The service in the scope of a signature."""
SIGNING_ALGORITHM = "AWS4-HMAC-SHA256"
Day = Annotated[str, Meta(pattern=r"^\d{8}$")]
Region = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^/]+$")]
SettingName = Annotated[str, Meta(max_length=64)]
SettingText = Annotated[str, Meta(max_length=256 * 1024)]
AccessKeyId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^/]+$")]


class S3KeyInfo(Message):
    """An S3 access key. `secret` is set only in the reply that creates it."""

    access_key_id: str
    account: str
    created_at: float
    name: str = ""
    secret: str = ""
    session_token: str = ""
    """For a temporary key: every request that the key signs must include it."""
    expires_at: float | None = None
    active: bool = True
    """An inactive key signs nothing."""


class S3KeysReply(Message):
    keys: list[S3KeyInfo]


class CreateS3KeyRequest(Message):
    """Create a key for the caller's account; with `valid_seconds`, a temporary one with a session token."""

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
    """A signing key: `key`, in hex, signs requests to S3 of that day and region."""

    key: str
    account: str


class S3Proof(NamedTuple):
    """A signature and what it signs, as one line of text.

    No signing key for another service than S3 leaves the directory, which therefore checks a temporary key's session
    token with such a signature itself.
    """

    access_key_id: str
    date: str
    region: str
    amz_date: str
    canonical_sha256: str
    signature: str
    service: str = S3_SERVICE
    session_token: str = ""

    def __repr__(self) -> str:
        return repr_without_secrets(self)

    def encode(self) -> str:
        """Return the text to send as a credential."""
        parts = self[:6] if self.service == S3_SERVICE else self
        return S3_PROOF_PREFIX + "/".join(parts)

    @classmethod
    def decode(cls, text: str) -> S3Proof | None:
        """Return the proof in a credential; None for any other credential."""
        parts = text.removeprefix(S3_PROOF_PREFIX).split("/")
        return cls(*parts) if text.startswith(S3_PROOF_PREFIX) and len(parts) in (6, 8) else None

    @property
    def scope(self) -> str:
        """The credential scope of the string to sign."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"

    def is_made_with(self, key: bytes) -> bool:
        """Whether `key` (for this day and region) made the signature."""
        text = f"{SIGNING_ALGORITHM}\n{self.amz_date}\n{self.scope}\n{self.canonical_sha256}"
        return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), self.signature)


def signing_key(secret: str, date: str, region: str, service: str = S3_SERVICE) -> bytes:
    """Derive the key of a day, a region and a service from a secret key.

    Source: S3 API reference, signature version 4.
    """
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_digest(canonical_request: str) -> str:
    """Return the digest of a canonical request, which the signature covers."""
    return hashlib.sha256(canonical_request.encode("utf-8", "surrogateescape")).hexdigest()


# ---------------------------------------------------------------- metadata and settings

ETAG_ENTRY = "s3:etag"
CHECKSUM_ENTRIES = "s3:checksum-"
"""Prefix of the metadata names of a version's checksums and their types; the algorithm follows."""
CUSTOMER_KEY_ENTRY = "s3:sse-c"
"""Prefix of the metadata names of content under a customer's key: how to recognise and use that key."""
TAGS = "tags"
"""The tags of a version or a bucket: {"TagSet": [{"Key", "Value"}, …]}."""
DESCRIPTION = "description"
"""The description of a version: {"Text"}."""
ENCRYPTION = "encryption"
"""The default encryption of a bucket, in the form of S3's service description."""
OBJECT_LOCK = "object-lock"
"""The object lock configuration of a bucket: {"ObjectLockEnabled", "Rule"}."""
RETENTION = "retention"
"""The time before which a version cannot be deleted: {"Mode", "RetainUntilDate"}."""
LOGGING = "logging"
"""The access log of a bucket: {"LoggingEnabled": {"TargetBucket", "TargetPrefix", "TargetObjectKeyFormat"}}."""
ACCESS_LOG_PREFIX = "lsg_"
"""Prefix of the credential with which a proxy writes the access log of the bucket named after it. It is not secret:
only proxies can send it, and it allows only new files below the prefix that the bucket's owner chose."""
LEGAL_HOLD = "legal-hold"
"""Whether a version is protected from deletion until the hold ends: {"Status": "ON"}."""
DEAD_PROPERTIES = "webdav-properties"
"""What WebDAV clients say about a file: {"{NAMESPACE}NAME": XML}. S3 does not show it."""


NOTIFICATION = "notification"
"""The notification configuration of a bucket."""
LOCATION = "location"
"""The region in which a bucket was created, if it is not REGION."""
REGION = "us-east-1"
"""The region of a bucket created without one. Signatures may name any region."""


def etag_of_content(metadata: dict[str, str], digest: Digest | str) -> str:
    """Return the ETag without quotes. The suffix `-1` shows, as for a multipart upload, that it is not an MD5.

    `digest` may be its hex form.
    """
    return metadata.get(ETAG_ENTRY) or f"{str(digest)[:32]}-1"


class BucketSettingRequest(Message):
    """Read one setting of a bucket. Allowed to its owner, to administrators, and by its policy."""

    credential: Credential
    bucket: Bucket
    name: SettingName


class PutBucketSettingRequest(BucketSettingRequest):
    """Change one setting of a bucket. `value` is JSON; None removes the setting."""

    value: SettingText | None = None


class SettingReply(Message):
    value: str | None = None


class BucketCorsRequest(Message):
    """The bucket's CORS rules, for the proxy itself: browsers send preflight requests without a credential."""

    bucket: Bucket


class AccessLogRequest(Message):
    """The bucket's access log, for the proxy itself, which needs it before it has authenticated anyone."""

    bucket: Bucket


LogDates = Literal["", "EventTime", "DeliveryTime"]


class AccessLogReply(Message):
    """The bucket's owner and the target of its log; `target` is empty without a log.

    `dates` says which date names the log's folders; it is empty without folders.
    """

    owner: str = ""
    target: str = ""
    prefix: str = ""
    dates: LogDates = ""
    created_at: float = 0.0
    """When the bucket was created, which tells it from an earlier one of its name."""
    age_seconds: float = 0.0
    """How long ago that was; 0 from a directory that does not say."""


class ObjectSettingsRequest(Message):
    """Read all settings of a version; without `version`, of the current one."""

    credential: Credential
    bucket: Bucket
    path: PathText
    version: str | None = None


class PutObjectSettingRequest(ObjectSettingsRequest):
    """Change one setting of a version. `value` is JSON; None removes the setting."""

    name: SettingName = ""
    value: SettingText | None = None
    bypass_governance: bool = False
    """Shorten or end even a retention in governance mode, if the caller is the owner, an administrator, or allowed by
    the policy."""
    if_value: SettingText | None = None
    """What the setting must still be, else PreconditionFailed; empty for no setting, None for anything. It may also be
    `value` already, as after a repeated call."""
    if_version: str | None = None
    """The version that must still be the current one, else PreconditionFailed; only without `version`."""


class ObjectSettingsReply(Message):
    """A version's settings. `version` lacks holders and all members that only lookups fill in."""

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
