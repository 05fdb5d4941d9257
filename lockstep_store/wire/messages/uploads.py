"""Multipart uploads between client proxy and directory: one content that is sent in numbered parts.

A part is a blob like any other, known only to its upload; completing makes a version of some of the parts. Both are
writes (`BEGIN`, then a ticket) that say with `UploadStep` which upload they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from blake3 import blake3
from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.files import (
    MAX_LISTING,
    MAX_PART_NUMBER,
    Bucket,
    Credential,
    DataKey,
    Holder,
    LifecycleDate,
    Message,
    Nothing,
    PathText,
    Size,
    Text,
    UploadId,
)

PARTS_SETTING = "parts"
"""The version setting in which a completed upload's parts stand: a JSON list of [number, size, facts]."""


class VersionPart(NamedTuple):
    """One line of it."""

    number: int
    size: int
    facts: dict[str, str]


class UploadInfo(Message):
    """A multipart upload in progress, and the metadata of the version that it will become."""

    id: UploadId
    bucket: Bucket
    path: PathText
    account: str
    since_at: float
    content_type: str = ""
    metadata: dict[str, str] = {}
    settings: dict[str, str] = {}
    aborted: LifecycleDate | None = None
    """When it goes if nobody completes it; where it is created and where its parts are listed."""


class PartInfo(Message):
    """A part as it is on disk now. `write_id` is that of the write that brought it."""

    number: int
    digest: Digest
    size: Size
    at: float
    write_id: str
    metadata: dict[str, str] = {}
    holders: list[Holder] = []
    """In reading order; only where they were asked for."""


class UploadRequest(Message):
    """One upload. NotFound (with the fact `upload`) unless it is under way for just that bucket and path."""

    credential: Credential
    bucket: Bucket
    path: PathText
    upload: UploadId


class CreateUploadRequest(UploadRequest):
    """Begin an upload under an id that the caller made up: unguessable, and rising with time."""

    content_type: Text = ""
    metadata: dict[str, str] = {}
    settings: dict[str, str] = {}


class UploadPartsRequest(UploadRequest):
    """The parts in the order of their numbers, after number `after`."""

    limit: Annotated[int, Meta(ge=0, le=MAX_LISTING)] = MAX_LISTING
    after: Size = 0
    with_holders: bool = False


class UploadPartsReply(Message):
    upload: UploadInfo
    parts: list[PartInfo]
    truncated: bool = False
    data_key: DataKey | None = None
    """Of an upload under a named key."""


class UploadsRequest(Message):
    """The uploads of a bucket by path, then by age; with a delimiter folders count as one entry each."""

    credential: Credential
    bucket: Bucket
    prefix: PathText = ""
    delimiter: Text = ""
    limit: Annotated[int, Meta(ge=0, le=MAX_LISTING)] = MAX_LISTING
    after: tuple[str, str] | None = None
    """(path, upload id) to continue after, exclusive; with an empty id, after all uploads of the path, and after
    everything in the folder when the path is a common prefix."""


class UploadsReply(Message):
    uploads: list[UploadInfo]
    prefixes: list[str]
    next_after: tuple[str, str] | None


def encode_numbers(numbers: Iterable[int]) -> str:
    """Part numbers as the hexadecimal form of one bit each: 10,000 of them fit into a ticket."""
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return f"{bits:x}"


def decode_numbers(text: str) -> list[int]:
    """The numbers in `text`, rising."""
    bits = bin(int(text, 16))[:1:-1]
    return [number for number, bit in enumerate(bits[: MAX_PART_NUMBER + 1]) if bit == "1"]


def parts_mark(parts: Iterable[tuple[int, str]]) -> str:
    """What tells this choice of (number, write id) from any other: a part that is sent again has another mark."""
    running = blake3()
    for number, write_id in parts:
        running.update(f"{number} {write_id}\n".encode())
    return running.hexdigest(16)


CREATE_UPLOAD = Call("/v1/uploads/create", CreateUploadRequest, UploadInfo)
UPLOADS = Call("/v1/uploads", UploadsRequest, UploadsReply)
UPLOAD_PARTS = Call("/v1/uploads/parts", UploadPartsRequest, UploadPartsReply)
ABORT_UPLOAD = Call("/v1/uploads/abort", UploadRequest, Nothing)
