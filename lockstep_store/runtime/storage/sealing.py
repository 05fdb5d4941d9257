"""Secrets on disk: the ring of storage keys, and sealed chunks.

A sealed chunk is::

    offset  bytes  meaning
    0       1      format version, 1
    1       4      key id: which storage key of the ring (it rotates, so old chunks name theirs)
    5       12     nonce, random
    17      n      AES-256-GCM ciphertext, as long as the plain chunk
    17 + n  16     AES-256-GCM tag; the associated data is the 32-byte chunk digest

    ring secret = BLAKE3 derive_key(context "lockstep 2026 chunk sealing v1", storage key)
    data key    = BLAKE3 keyed_hash(key = ring secret, chunk digest)

Each chunk has its own data key, so random nonces never approach AES-GCM's limit for one key. The tag proves that the
plain bytes were sealed under that digest; the reader of the chunk checks that they match it. The storage engines store
the sealed bytes.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockstep_store.runtime.storage.durable_files import one_program_at_a_time, write_durably
from lockstep_store.runtime.storage.key_protection import KeyProtection, protected
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import DamagedChunk, SetupError, StorageFormatError

__all__ = [
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "KEY_ID_BYTES",
    "OVERHEAD_BYTES",
    "Bytes",
    "KeyRing",
    "Sealer",
    "check_ring",
    "key_id_of",
    "one_program_at_a_time",
    "write_durably",
]

Bytes = bytes | bytearray | memoryview
"""Bytes that can be sealed or opened without a copy."""

FORMAT_VERSION = 1
KEY_ID_BYTES = 4
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
"""How much longer a sealed chunk is than the plain one."""

_STORAGE_KEY_BYTES = 32
_VERSION_BYTE = bytes([FORMAT_VERSION])
_RING_CONTEXT = "lockstep 2026 chunk sealing v1"


class _RingFile(msgspec.Struct, omit_defaults=True):
    current: str
    keys: dict[str, str]
    number: int = 0
    """Rises with each change, so that an older ring never replaces a newer one."""
    created: dict[str, float] = {}
    """When each key was made, in seconds since 1970; without those that the ring began with."""

    def __repr__(self) -> str:
        return f"_RingFile(number={self.number}, current={self.current!r}, {len(self.keys)} keys)"


class _RingState(NamedTuple):
    number: int
    current: bytes
    secrets: dict[bytes, bytes]
    created: dict[bytes, float]
    text: str


class KeyRing:
    """The cluster's storage keys by id: the current one seals new chunks, and all of them open old ones.

    The directory rotates and retires keys. Others take over what it sends (`adopt`). Thread-safe.
    """

    def __init__(self, path: Path, state: _RingState, protection: KeyProtection | None = None) -> None:
        self._path = path
        self._protection = protection
        self._state = state
        self._switches = 0
        self._switching = threading.Lock()

    def __repr__(self) -> str:
        state = self._state
        return f"KeyRing({self._path}, number={state.number}, current={state.current.hex()}, {len(state.secrets)} keys)"

    @classmethod
    def load_or_create(cls, path: Path, protection: KeyProtection | None = None) -> KeyRing:
        """Load the ring in `path`, or create it with one random key. Several programs may call this at once.

        Raises SetupError for a file that is not a key ring: with a new ring, no sealed chunk could be read.
        """
        with one_program_at_a_time(_lock_file(path)):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                key_id = secrets.token_hex(KEY_ID_BYTES)
                _save(path, _RingFile(current=key_id, keys={key_id: _new_key()}), protection)
        return cls.load(path, protection)

    @classmethod
    def load(cls, path: Path, protection: KeyProtection | None = None) -> KeyRing:
        """Load the ring in `path`; protect the file if it is plain and a protection is given.

        Raises SetupError when it is missing, not a key ring, or protected otherwise.
        """
        ring = cls(path, _parse(_read(path, protection), str(path)), protection)
        if protection is not None and protected(path.read_bytes()) is None:
            with one_program_at_a_time(_lock_file(path)):
                _save(path, _decoded(_read(path, protection), str(path)), protection)
        return ring

    @classmethod
    def store(cls, path: Path, text: str, protection: KeyProtection | None = None) -> None:
        """Make the file `path` from the ring that the directory sent, durably; merge it into an existing one.

        Keys are never dropped. Raises SetupError for an invalid ring.
        """
        if path.exists():
            ring = cls.load(path, protection)
            ring.adopt(text, ring.key_ids)
        else:
            _save(path, _decoded(text.encode(), "the received file of storage keys"), protection)

    @property
    def current(self) -> bytes:
        """The id (4 bytes) of the key that seals new chunks."""
        return self._state.current

    @property
    def number(self) -> int:
        """Rises with each change of the ring."""
        return self._state.number

    @property
    def text(self) -> str:
        """The ring as JSON, secrets included, for programs that seal with it."""
        return self._state.text

    @property
    def key_ids(self) -> frozenset[bytes]:
        """The ids of every key that can open chunks."""
        return frozenset(self._state.secrets)

    @property
    def created(self) -> dict[bytes, float]:
        """When each key was made, in seconds since 1970; without those that the ring began with."""
        return self._state.created

    @property
    def switches(self) -> int:
        """How often this object's current key has changed: what was sealed since the last time is under `current`."""
        return self._switches

    def rotate(self, now: float) -> bytes:
        """Add a random key, make it the current one, and return its id. The key is on disk before anything uses it.

        `now` is in seconds since 1970.
        """
        made = secrets.token_hex(KEY_ID_BYTES)

        def work(ring: _RingFile) -> None:
            ring.keys[made] = _new_key()
            ring.created[made] = now
            ring.current = made

        self._change(work)
        return bytes.fromhex(made)

    def retire(self, key_id: bytes) -> None:
        """Delete a key, durably: what it sealed can never be opened again. ValueError for the current one."""

        def work(ring: _RingFile) -> None:
            if ring.current == key_id.hex():
                raise ValueError("the current storage key cannot be retired")
            ring.keys.pop(key_id.hex(), None)
            ring.created.pop(key_id.hex(), None)

        self._change(work)

    def adopt(self, text: str, keep: Iterable[bytes]) -> bool:
        """Take over the ring that the directory sent, durably; return whether anything changed.

        Own keys in `keep` that it lacks stay. An older ring, as of a directory's machine that was restored, only adds
        keys. Raises SetupError for an invalid one.
        """
        sent = _decoded(text.encode(), "the received file of storage keys")
        kept = {key_id.hex() for key_id in keep}
        before = self._state

        def work(ring: _RingFile) -> None:
            own = dict(ring.keys)
            if sent.number > ring.number:
                ring.number, ring.current, ring.created = sent.number, sent.current, sent.created
                own = {id: key for id, key in own.items() if id in kept}
            ring.keys = sent.keys | own

        self._change(work, numbered=False)
        return self._state != before

    def protect(self, protection: KeyProtection | None) -> None:
        """Write the file again under another protection, or plain; durable on return."""
        with one_program_at_a_time(_lock_file(self._path)):
            ring = _decoded(_read(self._path, self._protection), str(self._path))
            _save(self._path, ring, protection)
            self._protection = protection

    def reload(self) -> None:
        """Read the keys again that another program on this machine may have changed."""
        state = _parse(_read(self._path, self._protection), str(self._path))
        with self._switching:
            self._switches += state.current != self._state.current
            self._state = state

    def secret(self, key_id: bytes) -> bytes | None:
        """Return the ring secret (32 bytes) of `key_id`, or None if there is no such key."""
        return self._state.secrets.get(key_id)

    def current_secret(self) -> tuple[bytes, bytes]:
        """Return the current key's id and its ring secret, consistently."""
        state = self._state
        return state.current, state.secrets[state.current]

    def _change(self, work: Callable[[_RingFile], None], *, numbered: bool = True) -> None:
        """Change the file, under its lock, and read it again. An unchanged ring is not written."""
        with one_program_at_a_time(_lock_file(self._path)):
            text = _read(self._path, self._protection)
            ring = _decoded(text, str(self._path))
            work(ring)
            ring.number += numbered
            if ring != _decoded(text, str(self._path)):
                _save(self._path, ring, self._protection)
        self.reload()


def check_ring(text: str) -> None:
    """Raise SetupError unless `text` is a key ring, so that an invalid one never replaces a good one."""
    _decoded(text.encode(), "the received file of storage keys")


def key_id_of(sealed: Bytes) -> bytes:
    """Return the id of the storage key that `sealed` names; b"" if it is too short to name one."""
    return bytes(memoryview(sealed)[1 : 1 + KEY_ID_BYTES]) if len(sealed) >= OVERHEAD_BYTES else b""


class Sealer:
    """Seals chunks under the ring's current key and opens them under the key that they name. Thread-safe.

    Nothing is cached for each chunk: deriving a data key and preparing the cipher take 1.3 µs together.
    """

    def __init__(self, keyring: KeyRing) -> None:
        self.ring = keyring
        self._reloading = threading.Lock()

    def seal(self, digest: Digest, plain: Bytes) -> bytes:
        """Return the sealed form of `plain`, which is `OVERHEAD_BYTES` longer and bound to `digest`."""
        return b"".join(self.seal_parts(digest, plain))

    def seal_parts(self, digest: Digest, plain: Bytes) -> tuple[bytes, bytes]:
        """Return the sealed form as (header, ciphertext with tag), to be stored one after the other.

        For large chunks: joining the two would copy the whole chunk, which costs several times the encryption.
        """
        key_id, secret = self.ring.current_secret()
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(blake3(digest, key=secret).digest())
        return _VERSION_BYTE + key_id + nonce, cipher.encrypt(nonce, plain, digest)

    def open(self, digest: Digest, sealed: Bytes) -> bytes:
        """Return the plain bytes that were sealed under `digest`.

        Raises DamagedChunk when the sealed bytes are altered or belong to another digest, and StorageFormatError for an
        unknown format version or key id.
        """
        view = memoryview(sealed)
        if len(view) < OVERHEAD_BYTES:
            raise _damaged(digest, f"it is only {len(view)} bytes long, but even an empty chunk takes {OVERHEAD_BYTES}")
        if view[0] != FORMAT_VERSION:
            raise StorageFormatError(
                f"chunk {digest} is stored in format {view[0]}, but this program reads format {FORMAT_VERSION}: "
                "update this program, or repair the chunk from another copy"
            )
        secret = self._secret(bytes(view[1 : 1 + KEY_ID_BYTES]), digest)
        cipher = AESGCM(blake3(digest, key=secret).digest())
        try:
            return cipher.decrypt(view[1 + KEY_ID_BYTES : HEADER_BYTES], view[HEADER_BYTES:], digest)
        except InvalidTag:
            raise _damaged(digest, "its authentication tag does not match") from None

    def _secret(self, key_id: bytes, digest: Digest) -> bytes:
        secret = self.ring.secret(key_id)
        if secret is None:
            with self._reloading:  # another program may have rotated the ring since it was read
                self.ring.reload()
                secret = self.ring.secret(key_id)
        if secret is None:
            raise StorageFormatError(
                f"chunk {digest} is sealed with storage key {key_id.hex()}, which is not in the key ring: "
                "restore the storage-keys.json with that key, or repair the chunk from another copy"
            )
        return secret


def _damaged(digest: Digest, why: str) -> DamagedChunk:
    return DamagedChunk(f"chunk {digest} is damaged: {why}; retry to read another copy", digest=str(digest))


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(_STORAGE_KEY_BYTES)).decode()


def _save(path: Path, ring: _RingFile, protection: KeyProtection | None) -> None:
    content = msgspec.json.encode(ring)
    if protection is not None:
        content = msgspec.json.encode(protection.wrap(content))
    write_durably(path, msgspec.json.format(content) + b"\n")


def _read(path: Path, protection: KeyProtection | None) -> bytes:
    """Return the ring in a file, plain."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"cannot read the storage keys {path} ({error.strerror}): restore the file from the directory's "
            "machine, or run `lockstep join TOKEN` again"
        ) from error
    found = protected(content)
    if found is None:
        return content
    if protection is None or protection.name != found.protected_by:
        raise SetupError(
            f"the storage keys {path} are protected by a {found.protected_by}: give it with --key-passphrase-file"
        )
    return protection.unwrap(found, str(path))


def _parse(text: bytes, origin: str) -> _RingState:
    ring = _decoded(text, origin)
    secrets = {_key_id(name): _ring_secret(key) for name, key in ring.keys.items()}
    created = {_key_id(name): at for name, at in ring.created.items()}
    return _RingState(ring.number, _key_id(ring.current), secrets, created, text.decode())


def _decoded(text: bytes, origin: str) -> _RingFile:
    """Return the ring in `text`, checked."""
    try:
        ring = msgspec.json.decode(text, type=_RingFile)
        for name, key in ring.keys.items():
            _key_id(name)
            _ring_secret(key)
        for name in ring.created:
            _key_id(name)
        if ring.current not in ring.keys:
            raise ValueError("its current key is missing")
    except (ValueError, msgspec.MsgspecError) as error:
        raise SetupError(
            f"{origin} is not a key ring ({error}): restore it from a backup; "
            "without it the stored chunks cannot be read"
        ) from None
    return ring


def _key_id(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != KEY_ID_BYTES:
        raise ValueError(f"a key id must have {KEY_ID_BYTES} bytes")
    return raw


def _ring_secret(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    if len(raw) != _STORAGE_KEY_BYTES:
        raise ValueError(f"a storage key must have {_STORAGE_KEY_BYTES} bytes")
    return blake3(raw, derive_key_context=_RING_CONTEXT).digest()
