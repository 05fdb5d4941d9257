"""What the doors need of the proxy's core, so that each can be tried without a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from client_proxy.core.receipt import Receipt
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.codec import Call
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import CommittedReply, DeleteReply, FileVersion, ListReply, VersionsReply


class Directory(Protocol):
    """The directory client: any declared call, in the name of the credential inside the request."""

    def call(self, call: Call[Any, Any], request: Any) -> Any: ...
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

    def open(self, credential: str, bucket: str, path: str, version: str | None = None) -> OpenFile: ...
    def write(
        self, credential: str, bucket: str, path: str, blocks: Iterable[bytes], *, size: int | None, **options: Any
    ) -> CommittedReply: ...
    def write_chunks(
        self,
        credential: str,
        bucket: str,
        path: str,
        stream: StreamReader,
        *,
        digest: Digest | None,
        size: int | None,
        **options: Any,
    ) -> CommittedReply: ...
    def delete(self, credential: str, bucket: str, path: str, **options: Any) -> DeleteReply: ...
    def copy(
        self, credential: str, source_bucket: str, source_path: str, bucket: str, path: str, **options: Any
    ) -> CommittedReply: ...
    def list(self, credential: str, bucket: str, **options: Any) -> ListReply: ...
    def versions(self, credential: str, bucket: str, path: str | None = None, **options: Any) -> VersionsReply: ...
