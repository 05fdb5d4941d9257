"""Writes: how client proxies begin them, under tickets that the directory signs, or give them up.

The bytes go to a file server (wire/messages/servers.py), which commits the write.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.base import (
    MAX_BATCH,
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
from lockstep_store.wire.messages.files import NO_PRECONDITIONS, FileVersion, Holder, Preconditions

MAX_PART_NUMBER = 10_000

UploadId = Annotated[str, Meta(min_length=1, max_length=48)]


class UploadStep(FrozenMessage, frozen=True):
    """Makes a write a step of a multipart upload.

    With `part`, the write stores that part and creates no version; without it, the write completes the upload. `chosen`
    and `mark` say which parts were put together (see wire/messages/uploads.py).
    """

    id: UploadId
    part: Annotated[int, Meta(ge=0, le=MAX_PART_NUMBER)] = 0
    chosen: Annotated[str, Meta(max_length=2600)] = ""
    mark: Annotated[str, Meta(max_length=64)] = ""


class BeginItem(Message):
    """Begin a write. With `digest` and `size`, content that the cluster already holds is linked."""

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
    """Ids of file servers that the proxy has just found unreachable."""
    settings: dict[str, str] = {}
    """See `FileVersion.settings`."""
    upload: UploadStep | None = None
    attempt: Annotated[int, Meta(ge=0)] = 0
    """How often this write was begun before: once for each master that the proxy has given up."""
    unchecked: bool = False
    """The client sent no checksum of the content; object lock requires one."""


class WriteTicket(FrozenMessage, frozen=True):
    """What the directory signs so that file servers accept one particular write; see lockstep_store/wire/tickets.py."""

    write_id: str
    bucket: str
    path: str
    author: str
    fence: int
    """Highest lock number ever granted on the path when the ticket was signed."""
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
    """The S3 access of the request that began the write (wire/messages/s3_access.py); empty for other doors."""
    lease_until: float = 0.0
    """Directory time at which the lease of the write's lock ends, as known when the ticket was signed; 0 without a
    lock. No holder accepts a stream that begins later, even if it does not know of a newer lock."""
    upload: UploadStep | None = None
    attempt: int = 0
    """See `BeginItem`. A holder that has seen a later attempt of the write rejects the earlier ones."""
    limited_by: str = ""
    """The id of the S3 key that began the write, if it has limits: the commit asks for them again."""


class BeginReplyItem(Message):
    """A begun write: either `ticket` (send the bytes to `master`) or `version` (linked and committed) is set."""

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
    """The reply to giving up a write. `version` is set if the write had already been committed."""

    version: FileVersion | None = None
    copies: int = 0


BEGIN = Call("/v1/begin", BeginRequest, BeginReply)
GIVE_UP = Call("/v1/give-up", GiveUpRequest, GiveUpReply)
