"""What the S3 door needs of the proxy's core beyond what the REST API does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from client_proxy.core.blob_writer import TrailingMetadata, no_trailing_metadata
from client_proxy.core.composition import Stored
from client_proxy.core.ports import Files
from client_proxy.core.requests import Compose, Stat, Write
from client_proxy.encryption.named_keys import NamedKeys
from lockstep_store.wire.messages.files import CommittedReply, FileVersion
from lockstep_store.wire.messages.uploads import VersionPart


class S3Files(Files, Protocol):
    """See `client_proxy.core.file_store.FileStore` for what each promises."""

    @property
    def keys(self) -> NamedKeys: ...

    def write(
        self, request: Write, blocks: Iterable[bytes], trailing_metadata: TrailingMetadata = no_trailing_metadata
    ) -> CommittedReply: ...
    def compose(self, request: Compose, contents: Sequence[Stored]) -> CommittedReply: ...
    def composed_before(self, request: Compose) -> FileVersion | None: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...
    def stat(self, request: Stat) -> FileVersion: ...
