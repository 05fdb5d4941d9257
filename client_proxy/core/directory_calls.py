"""The directory's interface for the doors and the encryption, so each can be tested without a cluster."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from lockstep_store.wire.codec import Call

Req = TypeVar("Req")
Rep = TypeVar("Rep")


class DirectoryStream(Protocol):
    """A reply that is read in pieces. `length` is its size in bytes."""

    length: int | None

    def read(self, count: int) -> bytes: ...
    def close(self) -> None: ...


class Directory(Protocol):
    """Makes declared calls. The request contains the person's credential."""

    def call(self, call: Call[Req, Rep], request: Req) -> Rep: ...
    def bucket_life(self, bucket: str) -> int: ...
    def stream(self, path: str, request: Any) -> DirectoryStream: ...
