"""The interface of an open file, whether its stored bytes are encrypted with a key or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from client_proxy.core.receipt import Receipt
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import FileVersion


class OpenFile(Protocol):
    """One version of a file, open for reading, by one thread at a time. Close it when done."""

    @property
    def version(self) -> FileVersion: ...

    @property
    def cursor(self) -> int:
        """The journal position at which the version was current."""
        ...

    @property
    def leased(self) -> bool:
        """Whether it was found under a read lease, without asking the directory."""
        ...

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        """Final after the last block. Before, what reading [start, stop) will report unless the cache changes."""
        ...

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes [start, stop), in blocks that are verified before they are returned."""
        ...

    def manifest(self) -> Manifest:
        """The ordered chunks of the content."""
        ...

    def close(self) -> None: ...
