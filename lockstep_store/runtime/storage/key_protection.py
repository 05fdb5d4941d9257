"""Protects the file of storage keys with a secret from elsewhere, so that a copy of the file alone opens nothing.

A protection is one class with `name`, `wrap` and `unwrap`; the passphrase is the only one so far. A key service (KMS,
Vault) would be another: its `wrap` sends the ring, or a key made for it, to the service, and `unwrap` asks for it back.
A protected file is JSON: `{"protected_by": name, "ring": base64, "parameters": {…}}`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockstep_store.wire.errors import SetupError

MIN_PASSPHRASE = 12
_SALT_BYTES = 16
_NONCE_BYTES = 12
_LOG_N, _R, _P = 17, 8, 1
"""OWASP's first setting for scrypt: 128 MiB and a third of a second, at a start only."""
_PURPOSE = b"lockstep storage keys 1"


class ProtectedRing(msgspec.Struct, forbid_unknown_fields=True):
    """The protected form of a file of storage keys."""

    protected_by: str
    ring: str
    parameters: dict[str, str | int]

    def __repr__(self) -> str:
        return f"ProtectedRing(protected_by={self.protected_by!r})"


class KeyProtection(Protocol):
    """What a protection has to do. SetupError if it cannot, with a message for the administrator."""

    @property
    def name(self) -> str:
        """What files say that they are protected by."""
        ...

    def wrap(self, ring: bytes) -> ProtectedRing:
        """Return the protected form of a ring."""
        ...

    def unwrap(self, protected: ProtectedRing, origin: str) -> bytes:
        """Return the ring again. `origin` names the file for messages."""
        ...


class Passphrase:
    """Protection by a passphrase: AES-256-GCM under scrypt of it."""

    name = "passphrase"

    def __init__(self, passphrase: bytes) -> None:
        self._passphrase = passphrase
        self._salt = os.urandom(_SALT_BYTES)

    def __repr__(self) -> str:
        return "Passphrase(…)"

    @classmethod
    def from_file(cls, path: Path) -> Passphrase:
        """Read the passphrase from the first line of a file. SetupError if there is none or it is too short."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SetupError(f"cannot read the passphrase of the storage keys in {path} ({error.strerror})") from error
        first = content.split(b"\n", 1)[0].strip()
        if len(first) < MIN_PASSPHRASE:
            raise SetupError(f"the first line of {path} must be a passphrase of at least {MIN_PASSPHRASE} characters")
        return cls(first)

    def wrap(self, ring: bytes) -> ProtectedRing:
        """Return the protected form of a ring."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(_stretched(self._passphrase, self._salt, _LOG_N, _R, _P)).encrypt(nonce, ring, _PURPOSE)
        parameters: dict[str, str | int] = {"salt": self._salt.hex(), "log_n": _LOG_N, "r": _R, "p": _P}
        return ProtectedRing(self.name, base64.b64encode(nonce + sealed).decode(), parameters)

    def unwrap(self, protected: ProtectedRing, origin: str) -> bytes:
        """Return the ring again. SetupError for a wrong passphrase or a damaged file."""
        try:
            raw = base64.b64decode(protected.ring, validate=True)
            salt = bytes.fromhex(str(protected.parameters["salt"]))
            log_n, r, p = (int(protected.parameters[name]) for name in ("log_n", "r", "p"))
            if not (14 <= log_n <= 20 and 1 <= r <= 16 and 1 <= p <= 16):
                raise ValueError("its parameters are out of range")
            key = _stretched(self._passphrase, salt, log_n, r, p)
            ring = AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _PURPOSE)
        except (KeyError, ValueError, InvalidTag) as error:
            raise SetupError(
                f"the passphrase does not open the storage keys {origin}: give the right one with "
                "--key-passphrase-file, or restore the file if it is damaged"
            ) from error
        self._salt = salt
        return ring


@lru_cache(maxsize=8)
def _stretched(passphrase: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    """A ring is read several times at a start."""
    return hashlib.scrypt(passphrase, salt=salt, n=1 << log_n, r=r, p=p, maxmem=256 * r * (1 << log_n), dklen=32)


def key_protection(passphrase_file: Path | None) -> KeyProtection | None:
    """Return the protection that the settings ask for; None without one."""
    return None if passphrase_file is None else Passphrase.from_file(passphrase_file)


def protected(content: bytes) -> ProtectedRing | None:
    """Return the protected form of a file of storage keys; None if the file is not protected."""
    try:
        return msgspec.json.decode(content, type=ProtectedRing)
    except msgspec.MsgspecError:
        return None
