"""Requests to the file store: one frozen object for each call, so a misspelt field fails the type check.

Listings use the messages of `lockstep_store.wire.messages.files` directly.
"""

from __future__ import annotations

import secrets

import msgspec

from lockstep_store.wire.messages.files import NO_PRECONDITIONS, CopyRequest, DeleteRequest, LookupItem, Preconditions
from lockstep_store.wire.messages.writes import BeginItem, UploadStep
from lockstep_store.wire.secret_members import repr_without_secrets


class PathRequest(msgspec.Struct, frozen=True):
    """Base of requests about one path. Creating a msgspec struct costs a tenth of creating a dataclass."""

    __repr__ = repr_without_secrets

    credential: str
    bucket: str
    path: str


class Stat(PathRequest, frozen=True, kw_only=True):
    """Look up a path's current version, or the one named.

    With `reads_content` the person must be allowed to read it, whatever the request is that looks.
    """

    version: str | None = None
    with_settings: bool = False
    reads_content: bool = False

    def item(self) -> LookupItem:
        """This request as a message to the directory."""
        return LookupItem(
            self.credential,
            self.bucket,
            self.path,
            self.version,
            self.with_settings,
            reads_content=self.reads_content,
        )


class Read(PathRequest, frozen=True, kw_only=True):
    """Open a path's current version, or the one named.

    `raw` returns the stored bytes, which the caller must decrypt if a key encrypted them.
    """

    version: str | None = None
    with_settings: bool = False
    with_lock: bool = False
    raw: bool = False

    def item(self) -> LookupItem:
        """The look-up of the version to read, as a message to the directory."""
        return LookupItem(self.credential, self.bucket, self.path, self.version, self.with_settings, self.with_lock)


class PathChange(PathRequest, frozen=True, kw_only=True):
    """Base of changes to a path, with the lock held on it and the conditions of the commit."""

    lock_number: int | None = None
    release_lock: bool = False
    """Release that lock in the same commit."""
    preconditions: Preconditions = NO_PRECONDITIONS


class Write(PathChange, frozen=True, kw_only=True):
    """Store a new version of a path. Without `size` the content ends with its last block.

    `ask_first` reports a refusal before the first block is read. `raw` stores the bytes unchanged, even in a bucket
    that encrypts by default. As a step of an `upload` the content becomes a part, and creates no version.
    """

    size: int | None
    content_type: str = ""
    metadata: dict[str, str] = {}
    settings: dict[str, str] = {}
    """The version's S3 settings: tags, retention, legal hold."""
    base_version: str | None = None
    """An older version of the path whose chunks a chunk stream may leave out too, and not only the current one's."""
    upload: UploadStep | None = None
    unchecked: bool = False
    """The client sent no checksum of the content, which a default retention requires."""
    ask_first: bool = False
    raw: bool = False

    def item(self) -> BeginItem:
        """This write as a message to the directory, with a new write id."""
        return BeginItem(
            credential=self.credential,
            write_id=new_write_id(),
            bucket=self.bucket,
            path=self.path,
            size=self.size,
            lock_number=self.lock_number,
            release_lock=self.release_lock,
            preconditions=self.preconditions,
            content_type=self.content_type,
            metadata=self.metadata,
            settings=self.settings,
            upload=self.upload,
            unchecked=self.unchecked,
        )


class Compose(PathChange, frozen=True, kw_only=True):
    """Join stored contents into one, as a step of a multipart upload.

    With a `write_id` from the caller, repeating the request does the step only once.
    """

    upload: UploadStep
    write_id: str = ""
    metadata: dict[str, str] = {}

    def item(self) -> BeginItem:
        """This step as a message to the directory."""
        return BeginItem(
            credential=self.credential,
            write_id=self.write_id or new_write_id(),
            bucket=self.bucket,
            path=self.path,
            lock_number=self.lock_number,
            release_lock=self.release_lock,
            preconditions=self.preconditions,
            metadata=self.metadata,
            upload=self.upload,
        )


class Delete(PathChange, frozen=True, kw_only=True):
    """Delete a path, leaving a delete marker if the bucket keeps versions; or delete the named `version` for good."""

    version: str | None = None
    mark_missing: bool = False
    """Create a delete marker even if there is no file, as S3 does."""
    bypass_governance: bool = False
    """Remove the version even while it is retained in governance mode."""

    def message(self) -> DeleteRequest:
        """This deletion as a message to the directory, with a new write id."""
        return DeleteRequest(
            credential=self.credential,
            write_id=new_write_id(),
            bucket=self.bucket,
            path=self.path,
            version=self.version,
            lock_number=self.lock_number,
            release_lock=self.release_lock,
            preconditions=self.preconditions,
            mark_missing=self.mark_missing,
            bypass_governance=self.bypass_governance,
        )


class Copy(PathChange, frozen=True, kw_only=True):
    """Copy a path's content to another path, or `move` it. No bytes are sent unless the copy is encrypted differently.

    Without `content_type` or `metadata` the source's are copied. Description and tags go along, unless the request is
    S3's, which says so in `settings`. `source_if_version` must still be the source's current version at the commit.
    `raw` copies the stored bytes, even if the target's bucket encrypts by default.
    """

    source_bucket: str
    source_path: str
    source_version: str | None = None
    source_if_version: str | None = None
    source_lock_number: int | None = None
    move: bool = False
    content_type: str | None = None
    metadata: dict[str, str] | None = None
    settings: dict[str, str] = {}
    raw: bool = False

    def message(self) -> CopyRequest:
        """This copy as a message to the directory, with a new write id."""
        return CopyRequest(
            credential=self.credential,
            write_id=new_write_id(),
            source_bucket=self.source_bucket,
            source_path=self.source_path,
            source_version=self.source_version,
            bucket=self.bucket,
            path=self.path,
            move=self.move,
            lock_number=self.lock_number,
            source_lock_number=self.source_lock_number,
            release_lock=self.release_lock,
            preconditions=self.preconditions,
            content_type=self.content_type,
            metadata=self.metadata,
            settings=self.settings,
            source_if_version=self.source_if_version,
        )


def new_write_id() -> str:
    """128 random bits in hex. The id makes one write safe to repeat."""
    return secrets.token_hex(16)
