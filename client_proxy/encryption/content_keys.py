"""Keys that encrypt contents, and the keys derived from them. Where a key comes from is the caller's business.

A key and a salt give four values: a key for the bytes (AES-256 in counter mode, so any range can be read and the size
does not change), one that encrypts metadata which would reveal the content (its checksums), one that authenticates
digests, and a mark that detects a wrong key. A salt is used for one content only: two contents under one salt would
reveal how they differ.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockstep_store.wire.errors import Damaged

Metadata = Mapping[str, str]
_INFO = b"lockstep customer key 1"
_BLOCK = 16
_SALT_BYTES = 32
_FIXED_NONCE = b"\x00" * 12
"""Safe only because each derived key encrypts one text."""


@dataclass(frozen=True)
class ContentKey:
    """A key of 32 bytes. `prefix` begins the name of each metadata entry that belongs to it."""

    key: bytes
    prefix: str

    def __repr__(self) -> str:
        return f"ContentKey({self.prefix!r})"

    def new_metadata(self) -> dict[str, str]:
        """A new salt and its mark, to store with one content."""
        salt = secrets.token_bytes(_SALT_BYTES)
        mark = DerivedKeys(self, salt).mark
        return {self.prefix: as_text(salt), f"{self.prefix}-mark": as_text(mark)}

    def matches(self, metadata: Metadata) -> bool:
        """Whether this key encrypted the content with this metadata."""
        return hmac.compare_digest(self.derived(metadata).mark, from_text(metadata, f"{self.prefix}-mark"))

    def derived(self, metadata: Metadata) -> DerivedKeys:
        """The keys of the content with this metadata."""
        return DerivedKeys(self, from_text(metadata, self.prefix))

    def decrypted(self, metadata: Metadata) -> dict[str, str]:
        """Return `metadata` with its encrypted entries decrypted. Damaged if they were altered."""
        name = f"{self.prefix}-sums"
        if name not in metadata:
            return dict(metadata)
        return {**metadata, **self.derived(metadata).decrypt_metadata(from_text(metadata, name))}


class DerivedKeys:
    """The keys derived from a content key and a salt."""

    def __init__(self, key: ContentKey, salt: bytes) -> None:
        derived = HKDF(SHA256(), 128, salt, _INFO).derive(key.key)
        self._content, self._metadata, self._mac, self.mark = (derived[i : i + 32] for i in range(0, 128, 32))

    def stream(self, start: int) -> Any:
        """The cipher at byte `start` of the content. Its `update` both encrypts and decrypts."""
        cipher = Cipher(algorithms.AES(self._content), modes.CTR((start // _BLOCK).to_bytes(_BLOCK, "big")))
        stream = cipher.encryptor()
        stream.update(bytes(start % _BLOCK))
        return stream

    def mac(self, role: bytes, text: bytes) -> bytes:
        """The authentication code (32 bytes) of `text` in a `role`."""
        return hmac.digest(self._mac, role + b"\n" + text, "sha256")

    def encrypt_metadata(self, metadata: dict[str, str]) -> bytes:
        """Encrypt metadata. Call it once per salt."""
        return AESGCM(self._metadata).encrypt(_FIXED_NONCE, json.dumps(metadata).encode(), None)

    def decrypt_metadata(self, encrypted: bytes) -> dict[str, str]:
        """Decrypt metadata. Damaged when it was altered."""
        try:
            metadata: dict[str, str] = json.loads(AESGCM(self._metadata).decrypt(_FIXED_NONCE, encrypted, None))
        except InvalidTag as error:
            raise Damaged("the file's encryption metadata failed authentication; restore an older version") from error
        return metadata


def as_text(raw: bytes) -> str:
    """Encode bytes as a metadata value."""
    return base64.b64encode(raw).decode()


def from_text(metadata: Metadata, name: str) -> bytes:
    """Decode a metadata value into bytes. Damaged when it is missing or malformed."""
    try:
        return base64.b64decode(metadata[name], validate=True)
    except (KeyError, ValueError) as error:
        raise Damaged(
            f"the encryption metadata {name!r} of the file is missing or malformed; restore an older version"
        ) from error
