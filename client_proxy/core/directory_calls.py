"""The directory as the doors and the encryption call it, so that each can be tested without a cluster."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from lockstep_store.wire.codec import Call

Req = TypeVar("Req")
Rep = TypeVar("Rep")


class DirectoryStream(Protocol):
    """An answer that is read piece by piece; `length` is how many bytes it has."""

    length: int | None

    def read(self, count: int) -> bytes: ...
    def close(self) -> None: ...


class Directory(Protocol):
    """Makes declared calls; the credential of the person who asks is inside the request."""

    def call(self, call: Call[Req, Rep], request: Req) -> Rep: ...
    def bucket_life(self, bucket: str) -> int: ...
    def stream(self, path: str, request: Any) -> DirectoryStream: ...
