"""Digests, which name content.

A chunk's digest is BLAKE3-256 of its plain bytes. The digest of a blob of one chunk is that chunk's (so `b3sum FILE`
agrees). For several chunks it is BLAKE3 in derive-key mode over the canonical manifest, so that no file's content can
be mistaken for a manifest.
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
        """Parse 64 hexadecimal digits; raises BadRequest for anything else."""
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
    """Return BLAKE3-256 of one chunk's plain bytes."""
    return Digest(blake3(data).digest())


EMPTY_DIGEST = chunk_digest(b"")
