"""Checksum algorithms of S3: name, header, running form, and how parts' checksums make the whole object's.

An object's checksum is that of its whole content (FULL_OBJECT) or, for a multipart upload, a checksum of its parts'
checksums (COMPOSITE, `…-N`). CRCs of parts combine to the whole content's without reading a byte again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from client_proxy.doors.s3.protocol.s3_errors import S3Error

HEADER_PREFIX = "x-amz-checksum-"


@cache
def _crt() -> Any:
    """The library, which takes a tenth of a proxy's start to load: only for a request with a checksum."""
    from awscrt import checksums

    return checksums


class Running(Protocol):
    """A checksum in progress."""

    def update(self, data: bytes) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, step: Callable[[bytes, int], int], size: int) -> None:
        self._step, self._size, self._value = step, size, 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class _XxHash:
    def __init__(self, running: Any) -> None:
        self._running = running

    def update(self, data: bytes) -> None:
        self._running.update(data)

    def digest(self) -> bytes:
        """Return the digest. Call it once, because it ends the hash."""
        found: bytes = self._running.finalize()
        return found


@dataclass(frozen=True)
class Algorithm:
    """A checksum algorithm. `combine(first, second, length of second)` is None if only COMPOSITE is possible."""

    name: str
    start: Callable[[], Running]
    size: int
    combine: Callable[[int, int, int], int] | None = None

    @property
    def header(self) -> str:
        """The header that carries the checksum, in base64."""
        return HEADER_PREFIX + self.name.lower()

    @property
    def member(self) -> str:
        """The name of its member in the service description."""
        return f"Checksum{self.name}"

    def of(self, data: bytes) -> str:
        """The checksum of bytes in memory, base64."""
        running = self.start()
        running.update(data)
        return encode(running)


def _combine(name: str) -> Callable[[int, int, int], int]:
    def combined(first: int, second: int, length_of_second: int) -> int:
        whole: int = getattr(_crt(), f"combine_{name}")(first, second, length_of_second)
        return whole

    return combined


ALGORITHMS: dict[str, Algorithm] = {
    one.name: one
    for one in (
        Algorithm("CRC32", lambda: _Crc(zlib.crc32, 4), 4, _combine("crc32")),
        Algorithm("CRC32C", lambda: _Crc(_crt().crc32c, 4), 4, _combine("crc32c")),
        Algorithm("CRC64NVME", lambda: _Crc(_crt().crc64nvme, 8), 8, _combine("crc64nvme")),
        Algorithm("SHA1", lambda: hashlib.sha1(usedforsecurity=False), 20),
        Algorithm("SHA256", hashlib.sha256, 32),
        Algorithm("SHA512", hashlib.sha512, 64),
        Algorithm("MD5", lambda: hashlib.md5(usedforsecurity=False), 16),
        Algorithm("XXHASH64", lambda: _XxHash(_crt().XXHash.new_xxhash64()), 8),
        Algorithm("XXHASH3", lambda: _XxHash(_crt().XXHash.new_xxhash3_64()), 8),
        Algorithm("XXHASH128", lambda: _XxHash(_crt().XXHash.new_xxhash3_128()), 16),
    )
}
DEFAULT = ALGORITHMS["CRC64NVME"]
"""For content that comes without a checksum, as in S3 since December 2024."""
_NO_SUMS = frozenset(HEADER_PREFIX + name for name in ("algorithm", "mode", "type"))
_BY_HEADER = {one.header: one for one in ALGORITHMS.values()}


def by_header(name: str) -> Algorithm | None:
    """The algorithm of the checksum in a header or trailer of that name; None for another header.

    S3Error for an unknown algorithm: a checksum that cannot be compared must not be ignored.
    """
    name = name.lower()
    if name.startswith(HEADER_PREFIX) and name not in _BY_HEADER and name not in _NO_SUMS:
        raise S3Error("InvalidRequest", f"{name[:64]} is not supported; supported are {', '.join(ALGORITHMS)}")
    return _BY_HEADER.get(name)


def by_name(name: str) -> Algorithm:
    """The algorithm; S3Error when the name is unknown."""
    try:
        return ALGORITHMS[name.upper()]
    except KeyError:
        known = ", ".join(ALGORITHMS)
        raise S3Error("InvalidRequest", f"the checksum algorithm {name[:32]!r} is not one of {known}") from None


def encode(running: Running) -> str:
    """The checksum in base64, as headers and XML carry it."""
    return base64.b64encode(running.digest()).decode()


def check_form(algorithm: Algorithm, value: str) -> str:
    """Return `value` if it can be a checksum of that algorithm; S3Error otherwise."""
    try:
        raw = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != algorithm.size:
        raise S3Error("InvalidRequest", f"the value of {algorithm.header} is not {algorithm.size} bytes in base64")
    return value


def composed(algorithm: Algorithm, parts: Sequence[str]) -> str:
    """The COMPOSITE checksum from the parts' (base64): a checksum of checksums, and their number."""
    running = algorithm.start()
    for part in parts:
        running.update(base64.b64decode(part))
    return f"{encode(running)}-{len(parts)}"


def combined(algorithm: Algorithm, parts: Sequence[tuple[str, int]]) -> str:
    """The FULL_OBJECT checksum from the parts' (base64, length in bytes), which only CRCs allow."""
    if algorithm.combine is None:
        raise S3Error("InvalidRequest", f"{algorithm.name} has no full-object form for multipart uploads")
    value = 0
    for text, length in parts:
        value = algorithm.combine(value, int.from_bytes(base64.b64decode(text), "big"), length)
    return base64.b64encode(value.to_bytes(algorithm.size, "big")).decode()


def default_of_parts(parts: Sequence[tuple[str, int]]) -> dict[str, str]:
    """The whole content's checksum by DEFAULT, by its name; empty unless all parts (base64, bytes) have one."""
    return {DEFAULT.name: combined(DEFAULT, parts)} if all(text for text, _ in parts) else {}


def of_parts(algorithm: Algorithm, kind: str, parts: Sequence[tuple[str, int]]) -> str:
    """The checksum of the type `kind` of an upload from its parts' (base64, length in bytes)."""
    if kind == "FULL_OBJECT":
        return combined(algorithm, parts)
    return composed(algorithm, [text for text, _ in parts])
