"""Storage keys: which keys each program needs, and their rotation."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from lockstep_store.wire.codec import Call
from lockstep_store.wire.messages.base import Credential, CredentialRequest, Message, Size, Text

MAX_STORAGE_KEYS = 16
"""The most keys in a ring: all programs keep them in memory, and an old one that nobody retires protects nothing."""

StorageKeyId = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]


class StorageKeyUse(Message):
    """Which storage keys a file server has and needs."""

    number: Size
    """The number of its key ring."""
    current: StorageKeyId
    chunks: dict[str, int] = {}
    """Its chunks under each key that it needs; 0 for a key that only a write under way needs."""


class KeyHolder(Message):
    """A program that has content under a storage key."""

    program: str
    """`directory server`, or `file server` and its id."""
    items: int
    """Chunks of a file server, secrets of the directory. 0: only a write under way may still need the key."""


class StorageKeyInfo(Message):
    """A storage key, without its secret."""

    id: StorageKeyId
    current: bool
    """It seals everything new."""
    created_at: float | None = None
    """Seconds since 1970; None for the key that the cluster began with."""
    holders: list[KeyHolder] = []
    waiting_for: list[str] = []
    """Why it cannot be known yet that nothing needs the key: clauses about file servers that have not said so."""
    backups_before: float | None = None
    """Backups made before this time (seconds since 1970) have secrets that only this key opens. None: all have."""
    unknown: bool = False
    """A file server needs this key, but the directory does not have it."""


class StorageKeysReply(Message):
    """The storage keys, the current one first."""

    keys: list[StorageKeyInfo]


class RetireStorageKeyRequest(Message):
    """Administrator: delete an old storage key.

    Conflict while anything needs it, and, unless `forget_backups`, because of the backups that do.
    """

    credential: Credential
    id: Text
    forget_backups: bool = False


STORAGE_KEYS = Call("/v1/storage-keys", CredentialRequest, StorageKeysReply)
ROTATE_STORAGE_KEYS = Call("/v1/storage-keys/rotate", CredentialRequest, StorageKeysReply)
RETIRE_STORAGE_KEY = Call("/v1/storage-keys/retire", RetireStorageKeyRequest, StorageKeysReply)
