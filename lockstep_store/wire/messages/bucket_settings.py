"""What the API says of a bucket's settings: its lifecycle, in a plain form, and its policy."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from lockstep_store.wire.file_facts import MAX_FILE_TAGS
from lockstep_store.wire.messages.base import Message, PathText

Days = Annotated[int, Meta(ge=1, le=2**31 - 1)]
FileSize = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class LifecyclePlan(Message):
    """Which files a rule applies to, and what it does to them. A rule does at least one thing.

    A file has to meet every condition that is given. Where versions are kept, a file that expires goes to the trash.
    """

    id: Annotated[str, Meta(max_length=255)] = ""
    """If it is empty, the proxy chooses one."""
    enabled: bool = True
    prefix: PathText = ""
    tags: Annotated[dict[str, str], Meta(max_length=MAX_FILE_TAGS)] = {}
    larger_than: FileSize | None = None
    smaller_than: FileSize | None = None
    expire_days: Days | None = None
    """Delete files this many days after they were written."""
    expire_at: Annotated[float, Meta(ge=0)] | None = None
    """Delete files at this time, a midnight in UTC; seconds since 1970."""
    noncurrent_days: Days | None = None
    """Remove older versions this many days after they were replaced."""
    keep_newer: Annotated[int, Meta(ge=1, le=100)] | None = None
    """With `noncurrent_days`: keep this many of the newest older versions."""
    drop_markers: bool = False
    """Remove delete markers that are the last thing left of a file."""
    abort_uploads_days: Days | None = None
    """Abort multipart uploads this many days after they were begun."""


class LifecycleReply(Message, omit_defaults=False):
    """All rules of a bucket."""

    rules: list[LifecyclePlan]


class BucketPolicyReply(Message, omit_defaults=False):
    """The bucket's policy; null: it has none."""

    policy: dict[str, Any] | None
