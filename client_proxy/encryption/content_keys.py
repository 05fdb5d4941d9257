"""Keys that contents are under, and what follows from them. Where a key comes from is its user's business.

From a key and a salt come a key for the bytes (AES-256, counter mode: any range can be read, and the size stays what it
is), one that seals what would tell of the content (its checksums), one that vouches for digests, and a mark by which a
wrong key is told. Each salt is used for one content only: two under one would show how they differ.
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

Facts = Mapping[str, str]
_INFO = b"lockstep customer key 1"
_BLOCK = 16
_SALT_BYTES = 32
_NOTHING_SECRET = b"\x00" * 12
"""The one nonce of a key that seals one text only."""


@dataclass(frozen=True)
class ContentKey:
    """32 bytes. `fact` begins the names of the facts of a version, an upload or a part that are about this key."""

    key: bytes
    fact: str

    def __repr__(self) -> str:
        return f"ContentKey({self.fact!r})"

    def new_facts(self) -> dict[str, str]:
        """What tells this key from others wherever it is used again: a new salt, and its mark."""
        salt = secrets.token_bytes(_SALT_BYTES)
        mark = DerivedKeys(self, salt).mark
        return {self.fact: as_text(salt), f"{self.fact}-mark": as_text(mark)}

    def made(self, facts: Facts) -> bool:
        """Whether `facts` are this key's."""
        return hmac.compare_digest(self.derived(facts).mark, from_text(facts, f"{self.fact}-mark"))

    def derived(self, facts: Facts) -> DerivedKeys:
        """The keys for the content whose facts these are."""
        return DerivedKeys(self, from_text(facts, self.fact))

    def opened(self, facts: Facts) -> dict[str, str]:
        """`facts` with those that were sealed. Damaged when somebody changed them."""
        name = f"{self.fact}-sums"
        if name not in facts:
            return dict(facts)
        return {**facts, **self.derived(facts).open(from_text(facts, name))}


class DerivedKeys:
    """What comes of a key and a salt."""

    def __init__(self, key: ContentKey, salt: bytes) -> None:
        made = HKDF(SHA256(), 128, salt, _INFO).derive(key.key)
        self._content, self._seal, self._mac, self.mark = (made[i : i + 32] for i in range(0, 128, 32))

    def stream(self, start: int) -> Any:
        """The cipher at byte `start` of the content; its `update` encrypts and decrypts alike."""
        cipher = Cipher(algorithms.AES(self._content), modes.CTR((start // _BLOCK).to_bytes(_BLOCK, "big")))
        stream = cipher.encryptor()
        stream.update(bytes(start % _BLOCK))
        return stream

    def mac(self, what: bytes, text: bytes) -> bytes:
        """32 bytes that only who has the key can make."""
        return hmac.digest(self._mac, what + b"\n" + text, "sha256")

    def seal(self, facts: dict[str, str]) -> bytes:
        """`facts` so that only who has the key can read them. Once for each salt."""
        return AESGCM(self._seal).encrypt(_NOTHING_SECRET, json.dumps(facts).encode(), None)

    def open(self, sealed: bytes) -> dict[str, str]:
        """The facts again; Damaged when they were changed."""
        try:
            facts: dict[str, str] = json.loads(AESGCM(self._seal).decrypt(_NOTHING_SECRET, sealed, None))
        except InvalidTag as error:
            raise Damaged("what is sealed of an encrypted file's facts was changed: restore another version") from error
        return facts


def as_text(raw: bytes) -> str:
    """Bytes as a fact has them."""
    return base64.b64encode(raw).decode()


def from_text(facts: Facts, name: str) -> bytes:
    """The bytes of a fact; Damaged without them."""
    try:
        return base64.b64decode(facts[name], validate=True)
    except (KeyError, ValueError) as error:
        raise Damaged(f"the fact {name!r} of an encrypted file is missing or cannot be read") from error
