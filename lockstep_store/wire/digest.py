"""Digests: how content is named.

A chunk's digest is BLAKE3-256 of its plain bytes. A blob's digest is its chunk's digest when it has one chunk
(so that `b3sum FILE` agrees), otherwise BLAKE3 in derive-key mode over the canonical manifest, so that no file's
content can ever be mistaken for a manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from lockstep_store.wire.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined,unused-ignore]

DIGEST_BYTES = 32


class Digest(bytes):
    """32 bytes that name content. `str()` is its lower-case hex form, the one used in URLs, JSON and logs."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Digest:
        if len(raw) != DIGEST_BYTES:
            raise BadRequest(f"a digest has {DIGEST_BYTES} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest written as 64 hex digits; raises BadRequest for anything else."""
        if len(text) == 2 * DIGEST_BYTES:
            try:
                return cls(bytes.fromhex(text))
            except ValueError:
                pass
        raise BadRequest(f"{text[:80]!r} is not a digest: expected {2 * DIGEST_BYTES} hexadecimal digits")

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"Digest({self.hex()[:12]}…)"


def chunk_digest(data: Buffer) -> Digest:
    """BLAKE3-256 of one chunk's plain bytes."""
    return Digest(blake3(data).digest())


EMPTY_DIGEST = chunk_digest(b"")
