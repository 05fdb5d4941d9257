"""Multipart uploads: content sent in numbered parts.

A part is a blob like any other, but only its upload refers to it; completing the upload creates a version from some of
the parts. Storing a part and completing are both writes (`BEGIN`, then a ticket) with an `UploadStep`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

from blake3 import blake3
from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.base import MAX_LISTING, Bucket, Credential, Message, Nothing, PathText, Size, Text
from lockstep_store.wire.messages.files import DataKey, Holder, LifecycleDate
from lockstep_store.wire.messages.writes import MAX_PART_NUMBER, UploadId

PARTS_SETTING = "parts"
"""The version setting that lists a completed upload's parts, as JSON: [[number, size, metadata], …]."""


class VersionPart(NamedTuple):
    """One part in that list."""

    number: int
    size: int
    facts: dict[str, str]


class UploadInfo(Message):
    """A multipart upload in progress, and the metadata of its future version."""

    id: UploadId
    bucket: Bucket
    path: PathText
    account: str
    since_at: float
    content_type: str = ""
    metadata: dict[str, str] = {}
    settings: dict[str, str] = {}
    owner: str = ""
    """Who will own the version, if the bucket's ownership controls make it somebody other than the account."""
    aborted: LifecycleDate | None = None
    """When a lifecycle rule will abort it; only in replies that create it or list its parts."""


class PartInfo(Message):
    """A stored part. `write_id` is that of the write that stored it."""

    number: int
    digest: Digest
    size: Size
    at: float
    write_id: str
    metadata: dict[str, str] = {}
    holders: list[Holder] = []
    """In reading order; only if the request asked for them."""


class UploadRequest(Message):
    """One upload. NotFound (with the fact `upload`) unless it is in progress for exactly that bucket and path."""

    credential: Credential
    bucket: Bucket
    path: PathText
    upload: UploadId


class CreateUploadRequest(UploadRequest):
    """Begin an upload. The caller chooses the id: unguessable, and rising with time."""

    content_type: Text = ""
    metadata: dict[str, str] = {}
    settings: dict[str, str] = {}


class UploadPartsRequest(UploadRequest):
    """List the parts by number, after number `after`."""

    limit: Annotated[int, Meta(ge=0, le=MAX_LISTING)] = MAX_LISTING
    after: Size = 0
    with_holders: bool = False


class UploadPartsReply(Message):
    upload: UploadInfo
    parts: list[PartInfo]
    truncated: bool = False
    data_key: DataKey | None = None
    """The data key of an upload under a named key."""


class UploadsRequest(Message):
    """List the uploads of a bucket by path, then by age; with a delimiter, folders count as one entry each."""

    credential: Credential
    bucket: Bucket
    prefix: PathText = ""
    delimiter: Text = ""
    limit: Annotated[int, Meta(ge=0, le=MAX_LISTING)] = MAX_LISTING
    after: tuple[str, str] | None = None
    """(path, upload id) to continue after, exclusive. With an empty id, continue after all uploads of the path, or
    after the whole folder when the path is a common prefix."""


class UploadsReply(Message):
    uploads: list[UploadInfo]
    prefixes: list[str]
    next_after: tuple[str, str] | None


def encode_numbers(numbers: Iterable[int]) -> str:
    """Encode part numbers as one bit each, in hexadecimal: 10,000 of them fit into a ticket."""
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return f"{bits:x}"


def decode_numbers(text: str) -> list[int]:
    """Return the numbers in `text` in ascending order."""
    bits = bin(int(text, 16))[:1:-1]
    return [number for number, bit in enumerate(bits[: MAX_PART_NUMBER + 1]) if bit == "1"]


def parts_mark(parts: Iterable[tuple[int, str]]) -> str:
    """Return a digest of the chosen (number, write id) pairs: when a part is sent again, the mark changes."""
    running = blake3()
    for number, write_id in parts:
        running.update(f"{number} {write_id}\n".encode())
    return running.hexdigest(16)


CREATE_UPLOAD = Call("/v1/uploads/create", CreateUploadRequest, UploadInfo)
UPLOADS = Call("/v1/uploads", UploadsRequest, UploadsReply)
UPLOAD_PARTS = Call("/v1/uploads/parts", UploadPartsRequest, UploadPartsReply)
ABORT_UPLOAD = Call("/v1/uploads/abort", UploadRequest, Nothing)
