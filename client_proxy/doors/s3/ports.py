"""What the S3 door needs of the proxy's core beyond what the REST API does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from client_proxy.core.composition import Stored
from client_proxy.core.ports import Files, OpenFile
from client_proxy.encryption.named_keys import NamedKeys
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, UploadStep
from lockstep_store.wire.messages.uploads import VersionPart


class S3Files(Files, Protocol):
    """See `client_proxy.core.file_store.FileStore` for what each promises."""

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
