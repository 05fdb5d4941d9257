"""Encrypts the names, authors and digests on the disk. No other module converts them.

Each storage has a random key of its own, sealed like a chunk with the storage keys: in the file `disk-key`, and once
more in the index, from which a lost or damaged file is restored. A rotation of the storage keys therefore seals one key
again instead of every row, and a path or digest is always found under the same bytes::

    fence      BLAKE3 keyed_hash(fence key, path in UTF-8)
    digest     AES-SIV (RFC 5297) of its 32 bytes under the digest key: 48 bytes, called its stored name
    note       format version (1 byte, 1), nonce (12 bytes), AES-256-GCM of the note under
               BLAKE3 keyed_hash(note key, cursor as 8 bytes, big-endian)
    manifest   like a note, under BLAKE3 keyed_hash(manifest key, digest of the blob)

    fence, note, manifest key (32 bytes), digest key (64 bytes) = BLAKE3 derive_key("lockstep 2026 fence paths v1" |
    "lockstep 2026 commit notes v1" | "lockstep 2026 stored manifests v1" | "lockstep 2026 stored digests v1", disk key)

A keyed hash of a digest would need the sealed digest beside it; a stored name is both. Every note and manifest has a
key of its own, so random nonces never approach the limit for one key. Notes of earlier formats are JSON objects: they
begin with `{`.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from file_server.store.local import index_values as value
from lockstep_store.runtime.storage.sealing import Sealer, key_id_of, write_durably
from lockstep_store.runtime.tracing import log
from lockstep_store.wire.digest import DIGEST_BYTES, Digest
from lockstep_store.wire.errors import BadDigest, DamagedChunk, StorageFormatError

KEY_BYTES = 32
NONCE_BYTES = 12
NAME_BYTES = 16 + DIGEST_BYTES
"""The length of a digest's stored name."""
SEALED_VERSION = b"\x01"
PLAIN_NOTE = b"{"
_REMEMBERED_NAMES = 8192
"""A request needs a digest's name several times: a remembered one costs 0.1 µs instead of 2 µs."""


class SealedNames:
    """The key of one storage's names and digests. Thread-safe."""

    def __init__(
        self, path: Path, store_id: str, sealer: Sealer, copy: Callable[[], bytes | None] = lambda: None
    ) -> None:
        """Load the key from `path`, or else from the `copy` in the index, or make one that `save` writes.

        Raises StorageFormatError if it is damaged and there is no copy, or sealed with a storage key that is missing.
        """
        self._path = path
        self._sealer = sealer
        self._key_name = Digest(blake3(f"lockstep file server disk key {store_id}".encode()).digest())
        self.sealed = b""
        """The key as it is stored; empty before it is saved."""
        self._key = self._load(copy)
        self._fence_key = self._derived("lockstep 2026 fence paths v1")
        self._note_key = self._derived("lockstep 2026 commit notes v1")
        self._manifest_key = self._derived("lockstep 2026 stored manifests v1")
        self._digests = AESSIV(self._derived("lockstep 2026 stored digests v1", 64))
        self.name = lru_cache(_REMEMBERED_NAMES)(self._name)
        """Return a digest's stored name: 48 bytes, the same each time, which do not show it."""

    # ------------------------------------------------------------ the key

    @property
    def is_new(self) -> bool:
        """Whether the key was made just now and is not saved."""
        return not self.sealed

    @property
    def storage_key(self) -> bytes:
        """The id of the storage key that seals the file; empty before it is saved."""
        return key_id_of(self.sealed)

    def sealed_again(self) -> bytes:
        """Return the key sealed with the current storage key, for `save` and for the copy."""
        return self._sealer.seal(self._key_name, self._key)

    def save(self, sealed: bytes) -> None:
        """Write the sealed key to its file, durably."""
        write_durably(self._path, sealed)
        self.sealed = sealed

    def is_other_key(self, sealed: bytes) -> bool:
        """Return whether `sealed` is the key of another storage, or of this one before it was emptied."""
        try:
            return self._sealer.open(self._key_name, sealed) != self._key
        except DamagedChunk:
            return True
        except StorageFormatError:
            return False  # under a storage key that was retired: an older copy of this key

    def _load(self, copy: Callable[[], bytes | None]) -> bytes:
        state = "missing"
        if self._path.exists():
            sealed = self._path.read_bytes()
            try:
                key = self._opened(sealed)
            except DamagedChunk:
                state = "damaged"
            else:
                self.sealed = sealed
                return key
        sealed = copy() or b""
        try:
            key = self._opened(sealed)
        except DamagedChunk as error:
            if state == "missing":
                return secrets.token_bytes(KEY_BYTES)
            raise StorageFormatError(
                f"{self._path} is damaged: restore it, or empty the data folder to start with an empty disk"
            ) from error
        log.error("the file %s is %s; it is written again from its copy in the index", self._path, state)
        self.save(sealed)
        return key

    def _opened(self, sealed: bytes) -> bytes:
        try:
            return self._sealer.open(self._key_name, sealed)
        except StorageFormatError as error:
            raise StorageFormatError(
                f"{self._path} is sealed with storage key {key_id_of(sealed).hex()}, which is not in the key ring: "
                "restore the storage-keys.json with that key, or empty the data folder to start with an empty disk"
            ) from error

    def _derived(self, context: str, length: int = KEY_BYTES) -> bytes:
        return blake3(self._key, derive_key_context=context).digest(length=length)

    # ------------------------------------------------------------ paths and digests

    def fence(self, path: str) -> bytes:
        """Return what a path is stored as: 32 bytes, the same each time, which do not show it."""
        return blake3(path.encode("utf-8", "surrogatepass"), key=self._fence_key).digest()

    def _name(self, digest: Digest) -> bytes:
        return self._digests.encrypt(digest, None)

    def digest(self, name: Any) -> Digest:
        """Return the digest with a stored name; sqlite3.DatabaseError (SQLITE_CORRUPT) if it is not one."""
        if type(name) is not bytes or len(name) != NAME_BYTES:
            raise value.malformed("a stored digest")
        try:
            return Digest(self._digests.decrypt(name, None))
        except InvalidTag as error:
            raise value.malformed("a digest stored under this disk's key") from error

    def of_file(self, file_name: str) -> Digest | None:
        """Return the digest of a chunk's file; None if this storage gives no file that name."""
        try:
            digest = self.digest(bytes.fromhex(file_name))
        except (ValueError, sqlite3.DatabaseError):
            return None
        return digest if self.name(digest).hex() == file_name else None

    # ------------------------------------------------------------ notes and manifests

    def seal_note(self, cursor: int, note: bytes) -> bytes:
        """Return a note as it is stored."""
        return _sealed(self._note_cipher(cursor), note)

    def open_note(self, cursor: int, stored: bytes) -> bytes:
        """Return a note; sqlite3.DatabaseError (SQLITE_CORRUPT) if it is not what was stored at this cursor."""
        if stored.startswith(PLAIN_NOTE):
            return stored
        try:
            return _opened(self._note_cipher(cursor), stored)
        except (InvalidTag, ValueError) as error:
            raise value.malformed("a commit note") from error

    def seal_manifest(self, digest: Digest, encoded: bytes) -> bytes:
        """Return the manifest of the blob `digest` as it is stored."""
        return _sealed(self._manifest_cipher(digest), encoded)

    def open_manifest(self, digest: Digest, stored: bytes) -> bytes:
        """Return the encoded manifest of the blob `digest`; BadDigest if it is not what was stored."""
        try:
            return _opened(self._manifest_cipher(digest), stored)
        except (InvalidTag, ValueError) as error:
            raise BadDigest(f"the stored manifest of blob {digest} is damaged") from error

    def _note_cipher(self, cursor: int) -> AESGCM:
        return AESGCM(blake3(cursor.to_bytes(8, "big"), key=self._note_key).digest())

    def _manifest_cipher(self, digest: Digest) -> AESGCM:
        return AESGCM(blake3(digest, key=self._manifest_key).digest())


def _sealed(cipher: AESGCM, plain: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return SEALED_VERSION + nonce + cipher.encrypt(nonce, plain, SEALED_VERSION)


def _opened(cipher: AESGCM, stored: bytes) -> bytes:
    nonce, sealed = stored[1 : 1 + NONCE_BYTES], stored[1 + NONCE_BYTES :]
    return cipher.decrypt(nonce, sealed, stored[:1])
