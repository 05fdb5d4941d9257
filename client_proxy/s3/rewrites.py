"""Copies whose bytes change: to, from, or between customers' keys. The content passes through the proxy once, block by
block, and is written like any other; so the new version's ETag and checksums are those of a PUT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from client_proxy.s3 import checksums
from client_proxy.s3.encryption import CustomerKey, Seal, customer_key
from client_proxy.s3.object_facts import checksums_of, content_facts
from client_proxy.s3.parameters import Values
from wire.messages import FileVersion

_SOURCE = "CopySource"


def source_key(values: Values) -> CustomerKey | None:
    """The key under which a copy's source is; None without one. S3Refusal when it is no good key."""
    prefix = f"{_SOURCE}SSECustomer"
    return customer_key({name[len(_SOURCE) :]: text for name, text in values.items() if name.startswith(prefix)})


class Rewrite:
    """The content of `plain` under `key`, or as it is without one. Iterate `blocks` once, then ask for `facts`.

    `version` is the source's, from which the checksums' algorithms are taken unless `algorithm` names one.
    """

    def __init__(
        self, plain: Iterable[bytes], version: FileVersion, key: CustomerKey | None, algorithm: str | None
    ) -> None:
        known = checksums_of(version)
        wanted = [checksums.by_name(algorithm)] if algorithm else checksums.ALGORITHMS.values()
        self._sums = {one.name: one.start() for one in wanted if algorithm or one.member in known}
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._plain = plain
        self._seal = Seal(key) if key else None
        self.metadata = self._seal.metadata if self._seal else {}

    def blocks(self) -> Iterator[bytes]:
        """What is to be written."""
        read = self._read()
        return self._seal.blocks(read) if self._seal else read

    def facts(self) -> dict[str, str]:
        """What is known of the content now that it was read, as it may be kept."""
        sums = {name: checksums.encode(running) for name, running in self._sums.items()}
        found = content_facts(self._md5.hexdigest(), sums)
        return self._seal.late(found) if self._seal else found

    def _read(self) -> Iterator[bytes]:
        for block in self._plain:
            self._md5.update(block)
            for running in self._sums.values():
                running.update(block)
            yield block
