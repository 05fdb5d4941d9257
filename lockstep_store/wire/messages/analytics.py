"""Analytics: what is stored, from totals that the directory keeps with every change."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Bucket, Credential, Message, PathText

MAX_DAYS = 731
MAX_NAMED = 1000

BucketOrAll = Annotated[str, Meta(max_length=63)]


class Amount(Message, omit_defaults=False):
    """`files` are current ones; `versions` are all that have content, the current ones among them. Sizes are bytes."""

    files: int
    file_bytes: int
    versions: int
    version_bytes: int


class NamedAmount(Message, omit_defaults=False):
    """What a bucket, an account, a content type, a month (`2026-03`) or a day (`2026-03-09`) has, as in Amount."""

    name: str
    files: int
    file_bytes: int
    versions: int
    version_bytes: int


class Savings(Message, omit_defaults=False):
    """What the cluster need not store, in bytes. `version_bytes` is what all versions have together."""

    version_bytes: int
    content_bytes: int
    """Every content once, however many versions have it; with the parts of unfinished uploads."""
    disk_bytes: int | None
    """The chunks that file servers have on disk, as they last reported, in all copies; None while one has not reported
    since the directory started."""
    copies: int
    """How many copies each content has."""
    deduplicated_bytes: int
    """Saved because equal contents are stored once."""
    chunk_bytes: int | None
    """Saved because contents share chunks, as an edited file does with its older versions: about, because file servers
    report now and then and collect unused chunks later. None like `disk_bytes`."""


class StorageRequest(Message):
    """Of one bucket, for its owner and administrators; with an empty name of all one's own, for administrators of all
    there are."""

    credential: Credential
    bucket: BucketOrAll = ""


class GrowthRequest(StorageRequest):
    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = 365


class StorageReply(Message, omit_defaults=False):
    """Each list has the largest first, and at most MAX_NAMED; `months` and `total` are complete."""

    total: Amount
    buckets: list[NamedAmount]
    accounts: list[NamedAmount]
    """By the authors of the versions."""
    tenants: list[NamedAmount]
    """By the tenants of the buckets' owners; those without a tenant are not listed."""
    months: list[NamedAmount]
    """By the months (UTC) in which the versions were made, the oldest first: their age."""
    savings: Savings | None
    """Of the whole cluster; only for administrators who ask about all buckets."""


class FileTypesReply(Message, omit_defaults=False):
    types: list[NamedAmount]
    """By content type without parameters, the largest first."""


class GrowthReply(Message, omit_defaults=False):
    days: list[NamedAmount]
    """What there was at the end of each day (UTC), the oldest first, without days before counting began. The last one
    is today, as it is now."""


class FolderUsageRequest(Message):
    """A folder and the folders directly in it. An empty `path` is the whole bucket; others end with a slash."""

    credential: Credential
    bucket: Bucket
    path: PathText = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_NAMED)] = 100


class FolderUsage(Message, omit_defaults=False):
    """The current files in a folder and below."""

    path: str
    files: int
    bytes: int


class FolderUsageReply(FolderUsage):
    folders: list[FolderUsage] = []
    """The largest first."""


STORAGE = Call("/v1/analytics/storage", StorageRequest, StorageReply)
FILE_TYPES = Call("/v1/analytics/file-types", StorageRequest, FileTypesReply)
GROWTH = Call("/v1/analytics/growth", GrowthRequest, GrowthReply)
FOLDER_USAGE = Call("/v1/analytics/folders", FolderUsageRequest, FolderUsageReply)
