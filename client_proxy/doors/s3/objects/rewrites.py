"""Rewrite: the content of a copy whose bytes change, because of a key or a range.

The content passes through the proxy once, block by block, and is written like any other; so its ETag and checksums are
those of a PUT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from client_proxy.doors.s3.objects.object_encryption import Encryptor
from client_proxy.doors.s3.objects.object_metadata import content_metadata
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm


class Rewrite:
    """Content to write again: `plain`, encrypted if there is an `encryptor`, with checksums by `algorithms`.

    Iterate `blocks` once, then ask for `trailing_metadata`.
    """

    def __init__(self, plain: Iterable[bytes], encryptor: Encryptor | None, algorithms: Iterable[Algorithm]) -> None:
        self._sums = {one.name: one.start() for one in algorithms}
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._plain = plain
        self._encryptor = encryptor

    def blocks(self) -> Iterator[bytes]:
        """The content to write."""
        read = self._read()
        return self._encryptor.blocks(read) if self._encryptor else read

    def trailing_metadata(self) -> dict[str, str]:
        """ETag and checksums of the content that was read, in their stored form."""
        sums = {name: checksums.encode(running) for name, running in self._sums.items()}
        metadata = content_metadata(self._md5.hexdigest(), sums)
        return self._encryptor.trailing_metadata(metadata) if self._encryptor else metadata

    def _read(self) -> Iterator[bytes]:
        for block in self._plain:
            self._md5.update(block)
            for running in self._sums.values():
                running.update(block)
            yield block
