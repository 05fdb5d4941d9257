"""Bodies of requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Body:
    """A request body of `length` bytes, produced while it is sent; None means chunked, without a length."""

    def __init__(self, blocks: Iterable[bytes | memoryview], length: int | None) -> None:
        self._blocks = blocks
        self.length = length

    def for_requests(self) -> Any:
        """The body for `requests`, which takes Content-Length from `len()` and otherwise uses chunked coding."""
        if self.length is None:
            return iter(self._blocks)
        return _Sized(self._blocks, self.length) if self.length else b""


class _Sized:
    def __init__(self, blocks: Iterable[bytes | memoryview], length: int) -> None:
        self._blocks = blocks
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return iter(self._blocks)
