"""The proxy's core in memory, for trying the API's routes alone: files whose reading and writing can be made to fail,
and a directory that answers what it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

import msgspec

from client_proxy.core.receipt import Receipt
from client_proxy.core.requests import Copy, Delete, PathRequest, Read, Write
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.chunking import chunk_bytes
from lockstep_store.wire.codec import Call, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import NotFound, NotLoggedIn, Unavailable
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import (
    CommittedReply,
    DeleteReply,
    FileVersion,
    ListReply,
    ListRequest,
    VersionsReply,
    VersionsRequest,
)
from lockstep_store.wire.messages.s3_access import S3Access

TOKEN = "lst_good"
ACCESS = S3Access(credential=TOKEN, keys={"aws:sourceip": ["127.0.0.1"], "aws:securetransport": ["true"]}).encode()
"""What the API makes of TOKEN for calls about buckets."""
CREATED_AT = 1_700_000_000.0


class FakeOpenFile:
    """A file in memory, given in blocks of `block` bytes. `break_after`: blocks before the reading fails."""

    def __init__(self, store: FakeFiles, version: FileVersion, data: bytes, cursor: int) -> None:
        self.version = version
        self.cursor = cursor
        self.leased = False
        self._store = store
        self._data = data
        self.closed = False
        self.given = 0

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return Receipt(self.version.digest, self.version.version, self.cursor, "miss", 0, "2")

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        stop = len(self._data) if stop is None else stop
        for at in range(start, stop, self._store.block):
            if self._store.read_error is not None and self.given >= self._store.break_after:
                raise self._store.read_error
            self.given += 1
            yield self._data[at : min(stop, at + self._store.block)]

    def manifest(self) -> Manifest:
        return Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(self._data))

    def close(self) -> None:
        self.closed = True


class FakeFiles:
    """`contents` maps (bucket, path) to (version, bytes). `error` is raised by every method when it is set.

    `calls` has the requests in order, and `announced` the digests that came with chunk streams.
    """

    def __init__(self) -> None:
        self.contents: dict[tuple[str, str], tuple[FileVersion, bytes]] = {}
        self.cursor = 0
        self.block = 1024 * 1024
        self.error: Exception | None = None
        self.read_error: Exception | None = None
        self.break_after = 0
        self.opened: list[FakeOpenFile] = []
        self.calls: list[Any] = []
        self.announced: list[Digest | None] = []
        self.listing = ListReply(files=[], prefixes=[], next_after=None)

    def open(self, request: Read) -> FakeOpenFile:
        self._begin(request)
        found = self.contents.get((request.bucket, request.path))
        if found is None or request.version not in (None, found[0].version):
            raise NotFound(f"{request.path!r} does not exist in bucket {request.bucket!r}")
        opened = FakeOpenFile(self, *found, self.cursor)
        self.opened.append(opened)
        return opened

    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply:
        self._begin(request)
        return self._store(request, b"".join(blocks))

    def write_chunks(self, request: Write, stream: StreamReader, announced: Digest | None = None) -> CommittedReply:
        self._begin(request)
        self.announced.append(announced)
        return self._store(request, b"".join(bytes(chunk.data or b"") for chunk in stream))

    def delete(self, request: Delete) -> DeleteReply:
        self._begin(request)
        existed = self.contents.pop((request.bucket, request.path), None) is not None
        return DeleteReply(cursor=self.cursor, existed=existed)

    def copy(self, request: Copy) -> CommittedReply:
        self._begin(request)
        return self.put(request.bucket, request.path, self.contents[request.source_bucket, request.source_path][1])

    def list(self, request: ListRequest) -> ListReply:
        """The current files below the prefix, all on one page."""
        self._begin(request)
        found = [
            version
            for (bucket, path), (version, _) in sorted(self.contents.items())
            if bucket == request.bucket and path.startswith(request.prefix)
        ]
        return ListReply(files=found, prefixes=[], next_after=None)

    def list_encoded(self, request: ListRequest) -> msgspec.Raw:
        self._begin(request)
        return msgspec.Raw(encode(self.listing))

    def versions(self, request: VersionsRequest) -> VersionsReply:
        self._begin(request)
        return VersionsReply(versions=[], next_after=None)

    def put(
        self,
        bucket: str,
        path: str,
        data: bytes,
        *,
        content_type: str = "",
        metadata: dict[str, str] | None = None,
    ) -> CommittedReply:
        """Add a file, as a write does."""
        self.cursor += 1
        version = FileVersion(
            bucket=bucket,
            path=path,
            version=f"v{self.cursor}",
            digest=Manifest((chunk.digest, chunk.length) for chunk in chunk_bytes(data)).digest,
            size=len(data),
            author="ann",
            created_at=CREATED_AT,
            cursor=self.cursor,
            content_type=content_type,
            metadata=metadata or {},
            created=(bucket, path) not in self.contents,
        )
        self.contents[bucket, path] = (version, data)
        return CommittedReply(cursor=self.cursor, version=version, copies=2, file_server="1")

    def _store(self, request: Write, data: bytes) -> CommittedReply:
        return self.put(
            request.bucket, request.path, data, content_type=request.content_type, metadata=request.metadata
        )

    def _begin(self, request: PathRequest | ListRequest | VersionsRequest) -> None:
        self.calls.append(request)
        if self.error is not None:
            raise self.error
        access = S3Access.decode(request.credential)
        if (request.credential if access is None else access.credential) != TOKEN:
            raise NotLoggedIn("this token is wrong, expired or revoked: log in again")


class FakeStream(BytesIO):
    """A streamed reply with its declared length."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.length = len(content)


class FakeDirectory:
    """Answers each call from `answers`, by the call's path: a reply, an exception, or a function of the request."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, Any]] = []

    def stream(self, path: str, request: Any) -> Any:
        """`answers[path]`: the bytes that are streamed; without them the directory is away."""
        self.calls.append((path, request))
        if path not in self.answers:
            raise Unavailable("the directory is away")
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return FakeStream(answer)

    def bucket_life(self, bucket: str) -> int:
        return 0

    def call(self, call: Call[Any, Any], request: Any) -> Any:
        self.calls.append((call.path, request))
        answer = self.answers[call.path]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer
