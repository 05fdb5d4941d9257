"""The trash of buckets that keep versions: deleted files, looked at, restored and removed for good by client proxies.

A deleted file is a delete marker with its versions behind it. So an entry of the trash is named by its path and marker.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.errors import Problem
from lockstep_store.wire.messages.base import Bucket, Credential, Message, PathText, Size, Text, WriteId
from lockstep_store.wire.messages.files import FileVersion

TRASH_SETTING = "trash"
"""The bucket's setting: how many days the trash keeps files, such as {"days": 30}."""
MAX_TRASH_PAGE = 100
MAX_TRASH_DAYS = 36_500
TrashDays = Annotated[int, Meta(ge=1, le=MAX_TRASH_DAYS)]


class TrashEntry(Message):
    """A deleted file. Size, type and digest are of its last version."""

    path: str
    marker: str
    deleted_at: float
    deleted_by: str
    version: str
    size: Size
    content_type: str
    versions: Size
    """How many versions with content it has, and …"""
    bytes: Size
    """… their bytes, which count in quotas until the file is removed for good."""
    ends_at: float | None = None
    """When it is removed for good, unless something holds it; None: not by itself."""


class TrashRequest(Message):
    """Deleted files whose paths begin with `prefix`, the last deleted first."""

    credential: Credential
    bucket: Bucket
    prefix: PathText = ""
    after: Text = ""
    """Continue after the entry with this marker."""
    limit: Annotated[int, Meta(ge=1, le=MAX_TRASH_PAGE)] = MAX_TRASH_PAGE


class TrashReply(Message):
    entries: list[TrashEntry]
    next_after: str | None
    """The `after` of the next page; None on the last. A page may be short, or empty, and have a next."""
    days: int | None = None
    """How long the bucket keeps deleted files; None: until they are removed by hand."""


class TrashTotals(Message):
    """How much is in the trash of a bucket: deleted files, their versions, and the bytes of these."""

    files: Size
    versions: Size
    bytes: Size


class RestoreTrashRequest(Message):
    """Undo the deletion `marker` of a path; or, with another `to_path`, copy the file's last version there."""

    credential: Credential
    write_id: WriteId
    bucket: Bucket
    path: PathText
    marker: Text
    to_path: PathText = ""
    lock_number: int | None = None


class EmptyTrashRequest(Message):
    """Remove deleted files for good: one, or a page of all whose paths begin with `prefix`."""

    credential: Credential
    bucket: Bucket
    path: PathText = ""
    marker: Text = ""
    prefix: PathText = ""
    after: Text = ""


class KeptTrash(Message):
    """A deleted file that could not be removed, and why."""

    path: str
    problem: Problem


class EmptyTrashReply(Message):
    removed: Size
    bytes: Size
    kept: list[KeptTrash] = []
    next_after: str | None = None
    """The `after` of the next page; None when there are no more."""


TRASH = Call("/v1/trash", TrashRequest, TrashReply)
TRASH_TOTALS = Call("/v1/trash/totals", TrashRequest, TrashTotals)
RESTORE_TRASH = Call("/v1/trash/restore", RestoreTrashRequest, FileVersion)
EMPTY_TRASH = Call("/v1/trash/empty", EmptyTrashRequest, EmptyTrashReply)
