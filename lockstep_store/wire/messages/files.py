"""What client proxies and people's requests ask of the directory server: shapes, bounds and routes.

Every call is a POST of JSON to the directory. `credential` is a person's bearer token or API key, exactly as the
person sent it, or the S3 door's proof in its place (wire/messages/s3_access.py): the directory, not the proxy,
decides who that is and what they may do. Times named `…_at` are wall clock seconds since 1970, for people to read;
they decide nothing. Durations are seconds.

Batch calls take and return lists in the same order; each item of the answer is an `Outcome`, so one person's refusal
never spoils another's answer.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Problem, from_problem
from lockstep_store.wire.names import MAX_PATH_BYTES
from lockstep_store.wire.secret_members import repr_without_secrets

MAX_BATCH = 1000
MAX_LISTING = 1000
MAX_METADATA_BYTES = 8192
MAX_PART_NUMBER = 10_000

Text = Annotated[str, Meta(max_length=256)]
Bucket = Annotated[str, Meta(max_length=63)]
PathText = Annotated[str, Meta(max_length=MAX_PATH_BYTES)]
Credential = Annotated[str, Meta(max_length=64 * 1024)]
WriteId = Annotated[str, Meta(min_length=16, max_length=64)]
UploadId = Annotated[str, Meta(min_length=1, max_length=48)]
Size = Annotated[int, Meta(ge=0)]
Versioning = Literal["off", "enabled", "suspended"]


class Message(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    """Base of every shape on the wire. Unknown fields are ignored, so a newer peer may say more."""

    __repr__ = repr_without_secrets


class FrozenMessage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """The same for shapes that are signed, compared or shared between threads."""

    __repr__ = repr_without_secrets


class Nothing(Message):
    """An empty request or reply."""


T = TypeVar("T")


class Outcome(Message, Generic[T]):
    """One item of a batch's answer: exactly one of `value` and `problem` is set."""

    value: T | None = None
    problem: Problem | None = None

    def unwrap(self) -> T:
        """The value, or the refusal raised."""
        if self.value is None:
            raise from_problem(self.problem or Problem("internal", 500, "an empty outcome"))
        return self.value


class CredentialRequest(Message):
    credential: Credential


# ---------------------------------------------------------------- files


class Holder(FrozenMessage, frozen=True):
    """A file server that holds a blob, and where to reach it."""

    id: str
    url: str
    up: bool = True
    store: str = ""
    """In tickets: the storage it had when the ticket was made. If it lost its disk since, it holds nothing of the
    write."""


class PathLock(FrozenMessage, frozen=True):
    """The lock on a path, as shown to everyone who may read the file."""

    number: int
    holder: str
    until_at: float
    """Wall clock of the directory, for people."""


class LifecycleDate(FrozenMessage, frozen=True):
    """When the lifecycle of its bucket lets go of something (seconds since 1970), and the id of the rule."""

    at: float
    rule: str


class DataKey(Message):
    """What a content under a named key (SSE-KMS) is encrypted with, in hex; or why it is not to be had."""

    key: str = ""
    problem: Problem | None = None


class FileVersion(Message):
    """One immutable state of a path."""

    bucket: Bucket
    path: PathText
    version: str
    digest: Digest
    size: Size
    author: str
    created_at: float
    cursor: int = 0
    """Where in the journal this version was committed."""
    content_type: str = ""
    metadata: dict[str, str] = {}
    lock_number: int = 0
    delete_marker: bool = False
    null_version: bool = False
    """Written while its bucket kept no versions: the next such write takes its place. S3 calls its id "null"."""
    current: bool = True
    created: bool = False
    """The path had no current version before this one. Only in the answer of the commit that made it."""
    holders: list[Holder] = []
    """In reading order; filled by lookups only."""
    damaged: bool = False
    """Every copy failed its check; `holders` are still named, because parts may be good. Only in lookups."""
    last_good_version: str = ""
    """With `damaged`: the newest version of the path that can be read, if there is one."""
    bucket_versioning: Versioning = "off"
    """Of its bucket, when this was answered to a lookup, a write or a copy."""
    settings: dict[str, str] = {}
    """What S3 says of this version (tags, acl, retention, …), JSON by name; filled by lookups that ask for it."""
    lock: PathLock | None = None
    """Who has the path locked now; filled by lookups that ask for it."""
    owner: str = ""
    """Whose it is, where the bucket's ownership controls make that somebody else than its author. Only in listings."""
    expires: LifecycleDate | None = None
    """When it stops being current; in the answer of the write or copy that made it, and of lookups with settings."""
    data_key: DataKey | None = None
    """Of a content under a named key; filled by lookups only, for who may read it."""


class Preconditions(FrozenMessage, frozen=True):
    """Conditions decided inside the commit transaction. Digests are those of the current version.

    `if_match`/`if_none_match` are lists of digests in hex, or ["*"] for "any current version". `if_version` is the
    exact version that must be current.
    """

    if_match: list[str] | None = None
    if_none_match: list[str] | None = None
    if_version: str | None = None


NO_PRECONDITIONS = Preconditions()


class LookupItem(Message):
    credential: Credential
    bucket: Bucket
    path: PathText
    version: str | None = None
    with_settings: bool = False
    with_lock: bool = False


class LookupRequest(Message):
    items: Annotated[list[LookupItem], Meta(max_length=MAX_BATCH)]


class LookupReply(Message):
    cursor: int
    results: list[Outcome[FileVersion]]


class UploadStep(FrozenMessage, frozen=True):
    """A write that is a step of a multipart upload: with `part` that part is stored, and no version made; without,
    the upload is completed. See wire/messages/uploads.py for how `chosen` and `mark` say which parts were put together.
    """

    id: UploadId
    part: Annotated[int, Meta(ge=0, le=MAX_PART_NUMBER)] = 0
    chosen: Annotated[str, Meta(max_length=2600)] = ""
    mark: Annotated[str, Meta(max_length=64)] = ""


class BeginItem(Message):
    """Start a write. `digest` and `size` are given when known; then content the cluster already holds is linked."""

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText
    size: Size | None = None
    digest: Digest | None = None
    lock_number: int | None = None
    release_lock: bool = False
    preconditions: Preconditions = NO_PRECONDITIONS
    content_type: Text = ""
    metadata: dict[str, str] = {}
    exclude: list[str] = []
    """File servers that the proxy has just found unreachable."""
    settings: dict[str, str] = {}
    """See `FileVersion.settings`."""
    upload: UploadStep | None = None
    attempt: Annotated[int, Meta(ge=0)] = 0
    """How many times this write was begun before: each time its proxy had given up a master."""


class WriteTicket(FrozenMessage, frozen=True):
    """What the directory signs so that file servers accept one particular write. See lockstep_store/wire/tickets.py."""

    write_id: str
    bucket: str
    path: str
    author: str
    fence: int
    """Highest lock number ever granted on the path when the ticket was made."""
    lock_number: int
    release_lock: bool
    master: Holder
    replicas: list[Holder]
    spares: list[Holder]
    copies: int
    expires: float
    """In directory time (seconds of the directory's own monotonic count)."""
    preconditions: Preconditions = NO_PRECONDITIONS
    content_type: str = ""
    metadata: dict[str, str] = {}
    digest: Digest | None = None
    size: int | None = None
    settings: dict[str, str] = {}
    access: str = ""
    """What the S3 door said of the request that began the write (wire/messages/s3_access.py); empty for other doors."""
    lease_until: float = 0.0
    """Directory time at which the lease of the write's lock ends, as known when the ticket was made; 0 without a
    lock. No holder takes a stream that begins after it, whether it has heard of a newer lock or not."""
    upload: UploadStep | None = None
    attempt: int = 0
    """Of `BeginItem`. Who has seen a later attempt of the write takes nothing of an earlier one any more."""


class BeginReplyItem(Message):
    """Exactly one of `ticket` (send the bytes to `master`) and `version` (linked, and committed) is set."""

    ticket: str | None = None
    master: Holder | None = None
    version: FileVersion | None = None
    copies: int = 0


class BeginRequest(Message):
    items: Annotated[list[BeginItem], Meta(max_length=MAX_BATCH)]


class BeginReply(Message):
    cursor: int
    results: list[Outcome[BeginReplyItem]]


class GiveUpRequest(Message):
    """Give up a failed write: parts of it that arrive later are rejected, so it is never committed."""

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText


class GiveUpReply(Message):
    """`version` when the write was committed all the same, before it could be given up."""

    version: FileVersion | None = None
    copies: int = 0


class ListRequest(FrozenMessage, frozen=True):
    credential: Credential
    bucket: Bucket
    prefix: PathText = ""
    delimiter: Text = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING
    after: Annotated[str, Meta(max_length=2 * MAX_PATH_BYTES)] = ""
    """Continue after this path or common prefix, exclusive."""


class ListReply(Message):
    files: list[FileVersion]
    prefixes: list[str]
    next_after: str | None
    """Give it as `after` for the next page; None when the listing is complete."""
    cursor: int = 0


class VersionsRequest(FrozenMessage, frozen=True):
    """All versions of one path, newest first; or, with `prefix`, of all paths under it in path order."""

    credential: Credential
    bucket: Bucket
    path: PathText | None = None
    prefix: PathText = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING
    after: tuple[str, str] | None = None
    """(path, version) to continue after, exclusive; with an empty version, after all versions of the path, and after
    everything in the folder when the path is a common prefix. The version may be "null"; when there is none (any more),
    the path's versions are told from the newest."""
    delimiter: Text = ""
    """Without `path` only: folders below `prefix` count as one entry each."""


class VersionsReply(Message):
    versions: list[FileVersion]
    next_after: tuple[str, str] | None
    cursor: int = 0
    prefixes: list[str] = []


class DeleteRequest(Message):
    """Without `version`: the path stops being current (a delete marker where versions are kept). With: that version."""

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText
    version: str | None = None
    lock_number: int | None = None
    release_lock: bool = False
    preconditions: Preconditions = NO_PRECONDITIONS
    mark_missing: bool = False
    """Make a delete marker also where no current version exists, as S3 does in a bucket that keeps versions."""
    bypass_governance: bool = False
    """Delete a version that is retained in governance mode too: for owner, administrators, and whom the policy lets."""


class DeleteReply(Message):
    cursor: int
    existed: bool
    version: str | None = None
    """The delete marker made, or the version removed."""
    delete_marker: bool = False
    null_version: bool = False
    """That version's name is "null": it was written while none were kept."""


class CopyRequest(Message):
    """A new version at the target with the source's content; no bytes move. With `move`, the source is deleted too,
    in the same transaction. Restoring an old version is copying it onto its own path."""

    credential: Credential
    write_id: WriteId
    source_bucket: Bucket
    source_path: PathText
    source_version: str | None
    bucket: Bucket
    path: PathText
    move: bool = False
    lock_number: int | None = None
    source_lock_number: int | None = None
    release_lock: bool = False
    preconditions: Preconditions = NO_PRECONDITIONS
    content_type: Text | None = None
    metadata: dict[str, str] | None = None
    """None keeps the source's."""
    settings: dict[str, str] = {}
    """Of the new version; the source's are never taken over unasked."""
    source_if_version: str | None = None
    """The version that the source must still have then."""


class CommittedReply(Message):
    cursor: int
    version: FileVersion
    copies: int
    file_server: str = ""
    """The master that took the bytes; empty when known content was linked."""


# ---------------------------------------------------------------- buckets


class BucketInfo(Message):
    """A bucket, as its owner and others who may use it see it."""

    name: str
    owner: str
    versioning: Versioning
    shared: bool
    created_at: float


class BucketsRequest(Message):
    credential: Credential


class BucketsReply(Message):
    buckets: list[BucketInfo]


class CreateBucketRequest(Message):
    credential: Credential
    bucket: Bucket
    versioning: Versioning = "off"
    shared: bool = False
    object_lock: bool = False
    """Its versions can be held back from deletion; it then keeps versions for good."""
    settings: dict[str, str] = {}
    """Bucket settings about who may do what (acl, ownership) that it begins with."""


class BucketRequest(Message):
    credential: Credential
    bucket: Bucket


class ChangeBucketRequest(Message):
    credential: Credential
    bucket: Bucket
    versioning: Versioning | None = None
    shared: bool | None = None


LOOKUP = Call("/v1/lookup", LookupRequest, LookupReply)
BEGIN = Call("/v1/begin", BeginRequest, BeginReply)
GIVE_UP = Call("/v1/give-up", GiveUpRequest, GiveUpReply)
LIST = Call("/v1/list", ListRequest, ListReply)
VERSIONS = Call("/v1/versions", VersionsRequest, VersionsReply)
DELETE = Call("/v1/delete", DeleteRequest, DeleteReply)
COPY = Call("/v1/copy", CopyRequest, CommittedReply)
BUCKETS = Call("/v1/buckets", BucketsRequest, BucketsReply)
CREATE_BUCKET = Call("/v1/buckets/create", CreateBucketRequest, BucketInfo)
GET_BUCKET = Call("/v1/buckets/get", BucketRequest, BucketInfo)
CHANGE_BUCKET = Call("/v1/buckets/change", ChangeBucketRequest, BucketInfo)
DELETE_BUCKET = Call("/v1/buckets/delete", BucketRequest, Nothing)
