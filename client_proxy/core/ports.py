"""What the doors need of the proxy's core, so that each can be tried without a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from client_proxy.core.receipt import Receipt
from client_proxy.core.requests import Copy, Delete, Read, Write
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
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


class Directory(Protocol):
    """The directory client: any declared call, in the name of the credential inside the request."""

    def call(self, call: Call[Any, Any], request: Any) -> Any: ...
    def bucket_life(self, bucket: str) -> int: ...
    def stream(self, path: str, request: Any) -> Stream: ...


class Stream(Protocol):
    """An answer that is read piece by piece; `length` is how many bytes it has."""

    length: int | None

    def read(self, count: int) -> bytes: ...
    def close(self) -> None: ...


class OpenFile(Protocol):
    """What is needed of a file being read."""

    @property
    def version(self) -> FileVersion: ...
    @property
    def cursor(self) -> int: ...
    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt: ...
    def read_all(self) -> bytes: ...
    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...
    def manifest(self) -> Manifest: ...
    def close(self) -> None: ...


class Files(Protocol):
    """What the doors need of the file store; see `client_proxy.core.file_store.FileStore` for what each promises."""

    def open(self, request: Read) -> OpenFile: ...
    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply: ...
    def write_chunks(self, request: Write, stream: StreamReader, announced: Digest | None = None) -> CommittedReply: ...
    def delete(self, request: Delete) -> DeleteReply: ...
    def copy(self, request: Copy) -> CommittedReply: ...
    def list(self, request: ListRequest) -> ListReply: ...
    def versions(self, request: VersionsRequest) -> VersionsReply: ...
