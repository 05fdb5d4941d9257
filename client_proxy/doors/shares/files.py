"""What the door of share links needs of the file store, and the bytes of a download while its link is good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Read, Stat, Write
from lockstep_store.runtime.http.content import StreamedContent
from lockstep_store.wire.messages.files import CommittedReply, FileVersion, ListPage, ListRequest

CHECK_SECONDS = 0.5
"""How often a download in progress asks whether its link is still good."""


class SharedFiles(Protocol):
    """The file store's calls; `client_proxy.file_store.FileStore` documents their promises."""

    def stat(self, request: Stat) -> FileVersion: ...
    def open(self, request: Read) -> OpenFile: ...
    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply: ...
    def list(self, request: ListRequest) -> ListPage: ...


class WatchedBody:
    """A streamed body that ends with an error, and so visibly incomplete, soon after its link has ended.

    `demand_good` raises then. It is asked between pieces, by the clock `monotonic`.
    """

    def __init__(
        self,
        body: StreamedContent | Iterator[bytes],
        demand_good: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._body = body
        self._demand_good = demand_good
        self._monotonic = monotonic
        self._next = monotonic() + CHECK_SECONDS

    def __iter__(self) -> WatchedBody:
        return self

    def __next__(self) -> bytes:
        now = self._monotonic()
        if now >= self._next:
            self._demand_good()
            self._next = now + CHECK_SECONDS
        return next(self._body)

    def close(self) -> None:
        """Stop reading. Safe to repeat."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
