"""The batch API with the basic transfer: objects are files of the bucket, named by their SHA-256.

They are below the repository, in `.lfs/objects/`, as Git LFS itself lays them out. Equal content is stored once, as
everywhere; an object whose bytes do not have its name is never stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from client_proxy.core.directory_calls import Directory
from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Read, Stat, Write
from client_proxy.doors.lfs.request import OBJECT_ID, LfsRequest
from client_proxy.metrics import CONTENT_METRICS
from lockstep_store.runtime.http import conditions
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.content import StreamedContent, content_body
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.wire.errors import (
    BadDigest,
    BadRequest,
    IncompleteBody,
    LengthRequired,
    LockstepError,
    NotFound,
    TooLarge,
    from_problem,
)
from lockstep_store.wire.manifest import MAX_FILE_BYTES
from lockstep_store.wire.messages.files import LOOKUP, CommittedReply, FileVersion, LookupItem, LookupRequest

MAX_OBJECTS = 1000
"""In one request; git-lfs asks for a hundred."""
BLOCK_BYTES = 256 * 1024

ObjectId = Annotated[str, Meta(pattern=f"^{OBJECT_ID}$")]


class LfsObject(msgspec.Struct):
    """An object that a client has or wants."""

    oid: ObjectId
    size: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class BatchBody(msgspec.Struct):
    """What a client wants to transfer, and how it can."""

    operation: Literal["download", "upload"]
    objects: Annotated[list[LfsObject], Meta(max_length=MAX_OBJECTS)]
    transfers: list[str] = []
    hash_algo: str = "sha256"


class LfsAction(msgspec.Struct):
    """Where to send, get or verify an object."""

    href: str


class LfsProblem(msgspec.Struct):
    """Why an object cannot be transferred."""

    code: int
    message: str


class LfsTransfer(msgspec.Struct, omit_defaults=True):
    """What to do about an object. Without actions, it is there already."""

    oid: str
    size: int
    actions: dict[str, LfsAction] = {}
    error: LfsProblem | None = None


class BatchReply(msgspec.Struct):
    transfer: str
    objects: list[LfsTransfer]
    hash_algo: str = "sha256"


class LfsDone(msgspec.Struct):
    """An empty reply."""


class LfsFiles(Protocol):
    """The file store's calls; `client_proxy.file_store.FileStore` documents their promises."""

    def stat(self, request: Stat) -> FileVersion: ...
    def open(self, request: Read) -> OpenFile: ...
    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply: ...


class LfsObjects:
    """Serves objects. Thread-safe."""

    def __init__(self, files: LfsFiles, directory: Directory) -> None:
        self._files = files
        self._directory = directory

    def batch(self, request: LfsRequest) -> BatchReply:
        """What to do about each object."""
        body = request.message(BatchBody)
        if body.hash_algo != "sha256":
            raise BadRequest(f"objects are named by SHA-256 here, not by {body.hash_algo[:40]!r}")
        if body.transfers and "basic" not in body.transfers:
            raise BadRequest("the only transfer adapter here is basic")
        items = [LookupItem(request.access, request.bucket, _path(request, one.oid)) for one in body.objects]
        results = self._directory.call(LOOKUP, LookupRequest(items)).results if items else []
        replies: list[LfsTransfer] = []
        for one, outcome in zip(body.objects, results, strict=True):
            error = None if outcome.problem is None else from_problem(outcome.problem)
            if body.operation == "upload":
                replies.append(self._upload(request, one, outcome.value))
            elif error is not None:
                replies.append(_failed(one, error))
            elif outcome.value is not None and outcome.value.size != one.size:
                stale = f"the object has {outcome.value.size} bytes, and the pointer says {one.size}"
                replies.append(LfsTransfer(one.oid, one.size, error=LfsProblem(422, stale)))
            else:
                download = LfsAction(request.link(f"objects/{one.oid}"))
                replies.append(LfsTransfer(one.oid, one.size, {"download": download}))
        return BatchReply("basic", replies)

    def _upload(self, request: LfsRequest, one: LfsObject, there: FileVersion | None) -> LfsTransfer:
        if there is not None and there.size == one.size:
            return LfsTransfer(one.oid, one.size)
        upload = LfsAction(request.link(f"objects/{one.oid}"))
        return LfsTransfer(one.oid, one.size, {"upload": upload, "verify": LfsAction(request.link("objects/verify"))})

    def verify(self, request: LfsRequest) -> LfsDone:
        """Raise NotFound or BadRequest unless the object is there, whole."""
        one = request.message(LfsObject)
        found = self._files.stat(Stat(request.access, request.bucket, _path(request, one.oid)))
        if found.size != one.size:
            raise BadRequest(f"the object has {found.size} bytes, not {one.size}")
        return LfsDone()

    def get(self, request: LfsRequest) -> RawReply:
        """An object's content; with Range, the rest of a transfer that was interrupted."""
        oid = request.what.rpartition("/")[2]
        opened = self._files.open(Read(request.access, request.bucket, _path(request, oid)))
        body: list[bytes] | StreamedContent = []
        try:
            version = opened.version
            headers = [("Content-Type", "application/octet-stream"), ("ETag", f'"{oid}"'), ("Accept-Ranges", "bytes")]
            headers += [("Content-Disposition", "attachment"), *UNTRUSTED_CONTENT]
            status, start, stop, about_part = conditions.wanted_part(
                request.environ, oid, version.created_at, version.size
            )
            headers += about_part
            body = content_body(opened, start, stop, CONTENT_METRICS, whole=request.may_send_whole(stop - start))
            return RawReply(status, headers, body)
        finally:
            if not isinstance(body, StreamedContent):
                opened.close()

    def put(self, request: LfsRequest) -> LfsDone:
        """Store an object. BadDigest, and nothing is stored, if its bytes have another SHA-256."""
        oid = request.what.rpartition("/")[2]
        size = request.content_length
        if size is None and "HTTP_TRANSFER_ENCODING" not in request.environ:
            raise LengthRequired("an object needs a Content-Length")
        if size is not None and size > MAX_FILE_BYTES:
            raise TooLarge(f"an object may have at most {MAX_FILE_BYTES} bytes")
        write = Write(request.access, request.bucket, _path(request, oid), size=size, ask_first=True)
        self._files.write(write, _checked(request, oid, size))
        return LfsDone()


def _checked(request: LfsRequest, oid: str, size: int | None) -> Iterator[bytes]:
    """The body. Raises before its end if it is not the object, so that it is not stored."""
    found, read = hashlib.sha256(), 0
    while data := request.read(BLOCK_BYTES):
        found.update(data)
        read += len(data)
        yield data
    if size is not None and read != size:
        raise IncompleteBody(f"the body has {read} bytes instead of {size}; nothing was stored")
    if found.hexdigest() != oid:
        raise BadDigest(f"the bytes have the SHA-256 {found.hexdigest()} and not {oid}; nothing was stored")


def _path(request: LfsRequest, oid: str) -> str:
    return request.path_of(f".lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}")


def _failed(one: LfsObject, error: LockstepError) -> LfsTransfer:
    words = "the object was never uploaded" if isinstance(error, NotFound) else str(error)
    return LfsTransfer(one.oid, one.size, error=LfsProblem(error.status, words))
