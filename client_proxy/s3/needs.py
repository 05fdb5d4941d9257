"""What the S3 door needs of the proxy's core beyond what the REST API does."""

from __future__ import annotations

from typing import Protocol

from client_proxy.rest_api.needs import Files, OpenFile
from wire.messages import FileVersion


class S3Files(Files, Protocol):
    """See `client_proxy.file_store.FileStore` for what each promises."""

    def open(
        self, credential: str, bucket: str, path: str, version: str | None = None, *, with_settings: bool = False
    ) -> OpenFile: ...
    def stat(
        self, credential: str, bucket: str, path: str, version: str | None = None, *, with_settings: bool = False
    ) -> FileVersion: ...
