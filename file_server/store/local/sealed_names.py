"""Seals the names and authors in the index: paths of fences, and commit notes.

Each storage has a random key of its own, in the file `disk-key`, which is sealed like a chunk with the storage keys. So
a rotation of the storage keys seals one small file again instead of every row, and a path is always found under the
same hash::

    fence      BLAKE3 keyed_hash(fence key, path in UTF-8)
    note       format version (1 byte, 1), nonce (12 bytes), AES-256-GCM of the note under
               BLAKE3 keyed_hash(note key, cursor as 8 bytes, big-endian)

    fence key, note key = BLAKE3 derive_key("lockstep 2026 fence paths v1" | "lockstep 2026 commit notes v1", disk key)

Every note has a key of its own, so random nonces never approach the limit for one key. Notes of earlier formats are
JSON objects: they begin with `{`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from file_server.store.local import index_values as value
from lockstep_store.runtime.storage.sealing import Sealer, key_id_of, write_durably
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import DamagedChunk, StorageFormatError

KEY_BYTES = 32
NONCE_BYTES = 12
NOTE_VERSION = b"\x01"
PLAIN_NOTE = b"{"


class SealedNames:
    """The key of one storage's names. Thread-safe."""

    def __init__(self, path: Path, store_id: str, sealer: Sealer) -> None:
        """Load the key from `path`, or make one that `save` writes.

        Raises StorageFormatError if it is damaged, or sealed with a storage key that is missing.
        """
        self._path = path
        self._sealer = sealer
        self._name = Digest(blake3(f"lockstep file server disk key {store_id}".encode()).digest())
        self.is_new = not path.exists()
        self._sealed = b"" if self.is_new else path.read_bytes()
        try:
            key = secrets.token_bytes(KEY_BYTES) if self.is_new else sealer.open(self._name, self._sealed)
        except DamagedChunk as error:
            raise StorageFormatError(
                f"{path} is damaged: restore it, or empty the data folder to start with an empty disk"
            ) from error
        except StorageFormatError as error:
            raise StorageFormatError(
                f"{path} is sealed with storage key {self.storage_key.hex()}, which is not in the key ring: restore "
                "the storage-keys.json with that key, or empty the data folder to start with an empty disk"
            ) from error
        self._key = key
        self._fence_key = blake3(key, derive_key_context="lockstep 2026 fence paths v1").digest()
        self._note_key = blake3(key, derive_key_context="lockstep 2026 commit notes v1").digest()

    @property
    def storage_key(self) -> bytes:
        """The id of the storage key that seals the file; empty before it is saved."""
        return key_id_of(self._sealed)

    def save(self) -> None:
        """Seal the key with the current storage key, durably."""
        sealed = self._sealer.seal(self._name, self._key)
        write_durably(self._path, sealed)
        self._sealed, self.is_new = sealed, False

    def fence(self, path: str) -> bytes:
        """Return what a path is stored as: 32 bytes, the same each time, which do not show it."""
        return blake3(path.encode("utf-8", "surrogatepass"), key=self._fence_key).digest()

    def seal_note(self, cursor: int, note: bytes) -> bytes:
        """Return a note as it is stored."""
        nonce = os.urandom(NONCE_BYTES)
        return NOTE_VERSION + nonce + self._cipher(cursor).encrypt(nonce, note, NOTE_VERSION)

    def open_note(self, cursor: int, stored: bytes) -> bytes:
        """Return a note; sqlite3.DatabaseError (SQLITE_CORRUPT) if it is not what was stored at this cursor."""
        if stored.startswith(PLAIN_NOTE):
            return stored
        nonce, sealed = stored[1 : 1 + NONCE_BYTES], stored[1 + NONCE_BYTES :]
        try:
            return self._cipher(cursor).decrypt(nonce, sealed, stored[:1])
        except (InvalidTag, ValueError) as error:
            raise value.malformed("a commit note") from error

    def _cipher(self, cursor: int) -> AESGCM:
        return AESGCM(blake3(cursor.to_bytes(8, "big"), key=self._note_key).digest())
