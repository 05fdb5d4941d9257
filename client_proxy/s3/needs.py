"""What the S3 door needs of the proxy's core beyond what the REST API does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from client_proxy.composition import Stored
from client_proxy.named_keys import NamedKeys
from client_proxy.needs import Files, OpenFile
from wire.messages import CommittedReply, FileVersion, UploadStep
from wire.upload_messages import VersionPart


class S3Files(Files, Protocol):
    """See `client_proxy.file_store.FileStore` for what each promises."""

    @property
    def keys(self) -> NamedKeys: ...

    def open(
        self,
        credential: str,
        bucket: str,
        path: str,
        version: str | None = None,
        *,
        with_settings: bool = False,
        with_lock: bool = False,
        as_stored: bool = False,
    ) -> OpenFile: ...
    def compose(
        self, credential: str, bucket: str, path: str, contents: Sequence[Stored], *, upload: UploadStep, **options: Any
    ) -> CommittedReply: ...
    def composed_before(
        self, credential: str, bucket: str, path: str, upload: UploadStep, write_id: str
    ) -> FileVersion | None: ...
    def parts_of(self, credential: str, version: FileVersion) -> list[VersionPart]: ...
    def stat(
        self, credential: str, bucket: str, path: str, version: str | None = None, *, with_settings: bool = False
    ) -> FileVersion: ...
