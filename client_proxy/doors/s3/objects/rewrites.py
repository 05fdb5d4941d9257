"""Copies whose bytes are written anew: to, from, or between keys, and ranges. The content passes through the
proxy once, block by block, and is written like any other; so its ETag and checksums are those of a PUT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from client_proxy.doors.s3.objects.object_encryption import late_facts
from client_proxy.doors.s3.objects.object_metadata import content_facts
from client_proxy.doors.s3.protocol import checksums
from client_proxy.doors.s3.protocol.checksums import Algorithm
from client_proxy.doors.s3.protocol.parameters import Values
from client_proxy.doors.s3.security.encryption import CustomerKey, customer_key
from client_proxy.encryption.sealed_content import Seal

_SOURCE = "CopySource"


def source_key(values: Values) -> CustomerKey | None:
    """The key under which a copy's source is; None without one. S3Error when it is no good key."""
    prefix = f"{_SOURCE}SSECustomer"
    return customer_key({name[len(_SOURCE) :]: text for name, text in values.items() if name.startswith(prefix)})


class Rewrite:
    """The content of `plain` under `seal`, or as it is without one, with checksums by `algorithms`. Iterate `blocks`
    once, then ask for `facts`."""

    def __init__(self, plain: Iterable[bytes], seal: Seal | None, algorithms: Iterable[Algorithm]) -> None:
        self._sums = {one.name: one.start() for one in algorithms}
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._plain = plain
        self._seal = seal

    def blocks(self) -> Iterator[bytes]:
        """What is to be written."""
        read = self._read()
        return self._seal.blocks(read) if self._seal else read

    def facts(self) -> dict[str, str]:
        """What is known of the content now that it was read, as it may be kept."""
        sums = {name: checksums.encode(running) for name, running in self._sums.items()}
        found = content_facts(self._md5.hexdigest(), sums)
        return late_facts(found, self._seal)

    def _read(self) -> Iterator[bytes]:
        for block in self._plain:
            self._md5.update(block)
            for running in self._sums.values():
                running.update(block)
            yield block
