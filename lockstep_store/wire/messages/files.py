"""Files and their versions: looked up, listed, deleted and copied by client proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import Problem
from lockstep_store.wire.messages.base import (
    MAX_BATCH,
    MAX_LISTING,
    Bucket,
    Credential,
    FrozenMessage,
    Message,
    Outcome,
    PathText,
    Size,
    Text,
    WriteId,
)
from lockstep_store.wire.messages.buckets import Versioning
from lockstep_store.wire.messages.read_leases import ReadLease
from lockstep_store.wire.names import MAX_PATH_BYTES

MAX_METADATA_BYTES = 8192


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    """Return what counts against MAX_METADATA_BYTES: the bytes of all names and values."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())


class Holder(FrozenMessage, frozen=True):
    """A file server that holds a blob, and its address."""

    id: str
    url: str
    up: bool = True
    store: str = ""
    """In tickets: the id of its storage when the ticket was signed. If it has lost its disk since, the id differs, and
    it holds nothing of the write."""


class PathLock(FrozenMessage, frozen=True):
    """The lock on a path, as shown to everyone who may read the file."""

    number: int
    holder: str
    until_at: float
    """Wall clock of the directory, for people."""


class LifecycleDate(FrozenMessage, frozen=True):
    """When a lifecycle rule of the bucket will expire something (seconds since 1970), and the id of that rule."""

    at: float
    rule: str


class DataKey(Message):
    """The data key (hex) of content under a named key (SSE-KMS), or why it is not available."""

    key: str = ""
    problem: Problem | None = None


class FileVersion(Message, gc=False):
    """One immutable state of a path.

    The garbage collector need not look for cycles of them: a listing has a thousand, and none refers to another.
    """

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
    """Written while its bucket kept no versions; the next such write replaces it. S3 calls its id "null"."""
    current: bool = True
    created: bool = False
    """The path had no current version before this one. Only in the reply to the commit that created it."""
    holders: list[Holder] = []
    """In reading order; only from lookups."""
    damaged: bool = False
    """Every copy failed its check; `holders` are listed all the same, because parts may be good. Only from lookups."""
    last_good_version: str = ""
    """With `damaged`: the newest readable version of the path, if there is one."""
    bucket_versioning: Versioning = "off"
    """The state of its bucket; in replies to lookups, writes and copies."""
    settings: dict[str, str] = {}
    """The version's S3 settings (tags, acl, retention, …), JSON by name; only from lookups that ask for them."""
    lock: PathLock | None = None
    """The present lock on the path; only from lookups that ask for it."""
    owner: str = ""
    """The owner, if the bucket's ownership controls make it somebody other than the author. Only in listings."""
    expires: LifecycleDate | None = None
    """When it stops being current; in the reply to the write or copy that created it, and to lookups with settings."""
    data_key: DataKey | None = None
    """For content under a named key; only from lookups, and only for those who may read it."""
    readable: bool = True
    """False in listings for people who may list the file and not read it: version, size, metadata and content type are
    then empty, and the digest is that of nothing."""


class Preconditions(FrozenMessage, frozen=True):
    """Conditions that the commit transaction checks. Digests are those of the current version.

    `if_match` and `if_none_match` are lists of digests in hex, or ["*"] for "any current version". `if_version` is the
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
    reads_content: bool = False
    """The reply lets the person learn about the content, so it requires the right to read, whatever the request is: a
    write with If-Match is such a request."""
    wants_lease: bool = False
    """The proxy asks for a read lease on the reply, to answer more requests of this kind with it."""


class LookupRequest(Message):
    """`lease_session` is the session to which leases belong; without one, there are none."""

    items: Annotated[list[LookupItem], Meta(max_length=MAX_BATCH)]
    lease_session: Text = ""


class LookupReply(Message):
    cursor: int
    results: list[Outcome[FileVersion]]
    leases: list[ReadLease] = []
    """For some of the items that wanted one."""


class ListRequest(FrozenMessage, frozen=True):
    credential: Credential
    bucket: Bucket
    prefix: PathText = ""
    delimiter: Text = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING
    after: Annotated[str, Meta(max_length=2 * MAX_PATH_BYTES)] = ""
    """Continue after this path or common prefix, exclusive."""
    columns: bool = False
    """The reply may have `columns` in place of `files`, and no cursor."""
    owners: bool = False
    """With `columns`: they include the owners."""


class ListReply(Message):
    files: list[FileVersion]
    prefixes: list[str]
    next_after: str | None
    """The `after` of the next page; None on the last page."""
    cursor: int = 0


class ListedFiles(Message):
    """The files of a page as columns: the entries at the same place in each list describe one file.

    Columns of a thousand files cost a fraction of as many messages to make, send and read.
    """

    paths: list[str]
    sizes: list[int]
    created_at: list[int]
    """Whole seconds."""
    milliseconds: list[int]
    """Of that second, rounded down."""
    metadata: list[dict[str, str]]
    digests: list[str]
    """In hex. May be empty where the metadata has an ETag."""
    owners: list[str] = []
    """Empty if they were not asked for, or if `owner` owns all files."""
    owner: str = ""


class ListPage(ListReply):
    columns: ListedFiles | None = None
    """In place of `files`, if the request allows it."""


class VersionsRequest(FrozenMessage, frozen=True):
    """All versions of one path, newest first; or, with `prefix`, of all paths under it in path order."""

    credential: Credential
    bucket: Bucket
    path: PathText | None = None
    prefix: PathText = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTING)] = MAX_LISTING
    after: tuple[str, str] | None = None
    """(path, version) to continue after, exclusive. With an empty version, continue after all versions of the path, or
    after the whole folder when the path is a common prefix. The version may be "null"; if no such version exists (any
    more), the listing continues with the newest version of the path."""
    delimiter: Text = ""
    """Without `path` only: folders below `prefix` count as one entry each."""
    columns: bool = False
    """The reply may have `columns` in place of `versions`, and no cursor."""


class VersionsReply(Message):
    versions: list[FileVersion]
    next_after: tuple[str, str] | None
    cursor: int = 0
    prefixes: list[str] = []


class ListedVersions(ListedFiles):
    """The versions of a page, delete markers included, as columns. Of one path's versions the first is the newest."""

    ids: list[str] = []
    """As S3 shows them: "null" for the version written without versioning."""
    delete_markers: list[bool] = []
    continued: str = ""
    """The path whose newest version was in an earlier page, if it has more in this one."""


class VersionsPage(VersionsReply):
    columns: ListedVersions | None = None
    """In place of `versions`, if the request allows it."""


class DeleteRequest(Message):
    """Delete one version; without `version`, end the current one (with a delete marker where versions are kept)."""

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText
    version: str | None = None
    lock_number: int | None = None
    release_lock: bool = False
    preconditions: Preconditions = NO_PRECONDITIONS
    mark_missing: bool = False
    """Create a delete marker even without a current version, as S3 does in a bucket that keeps versions."""
    bypass_governance: bool = False
    """Delete even a version retained in governance mode, if the caller is the owner, an administrator, or allowed by
    the policy."""


class DeleteReply(Message):
    cursor: int
    existed: bool
    version: str | None = None
    """The delete marker created, or the version removed."""
    delete_marker: bool = False
    null_version: bool = False
    """That version's name is "null": it was written while the bucket kept no versions."""


class DeleteManyRequest(Message):
    """Deletions of one request, in order. Each succeeds or fails by itself."""

    items: Annotated[list[DeleteRequest], Meta(max_length=MAX_BATCH)]


class DeleteManyReply(Message):
    results: list[Outcome[DeleteReply]]


class CopyRequest(Message):
    """Create a version at the target with the source's content; no bytes move.

    With `move`, the same transaction deletes the source. Copying an old version onto its own path restores it.
    """

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
    """Settings of the new version; the source's are never copied implicitly."""
    source_if_version: str | None = None
    """The version that must be the source's current one."""


class CommittedReply(Message):
    cursor: int
    version: FileVersion
    copies: int
    file_server: str = ""
    """The master that received the bytes; empty when known content was linked."""


LOOKUP = Call("/v1/lookup", LookupRequest, LookupReply)
LIST = Call("/v1/list", ListRequest, ListPage)
VERSIONS = Call("/v1/versions", VersionsRequest, VersionsPage)
DELETE = Call("/v1/delete", DeleteRequest, DeleteReply)
DELETE_MANY = Call("/v1/delete-many", DeleteManyRequest, DeleteManyReply)
COPY = Call("/v1/copy", CopyRequest, CommittedReply)
