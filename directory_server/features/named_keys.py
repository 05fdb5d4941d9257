"""Named keys (SSE-KMS): creates, lists, disables and rotates them, and wraps the data keys that encrypt content.

A named key never leaves the directory, and is stored encrypted with the cluster's storage keys: neither a copy of the
metadata nor a file server's disk with those keys is enough to read anything. Keys are never deleted, because versions
may need them; with a disabled key nothing is written or read.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from directory_server.access.decisions import standing
from directory_server.files.moment import MomentClock
from directory_server.metadata.sealed_rows import SealedRow
from directory_server.metadata.statements import buckets
from directory_server.metadata.statements import kms as rows
from directory_server.metadata.statements.kms import KeyRow, KeyVersionRow
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.person import People
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadName,
    BadRequest,
    Conflict,
    Damaged,
    LockstepError,
    NotFound,
    to_problem,
)
from lockstep_store.wire.messages.files import DataKey
from lockstep_store.wire.messages.kms import (
    DEFAULT_KEY_NAME,
    KMS_CONTEXT_ENTRY,
    KMS_DATA_ENTRY,
    KMS_KEY_ENTRY,
    KmsKeyInfo,
    KmsKeysReply,
    NewDataKeyReply,
    NewDataKeyRequest,
    data_key_use,
    key_arn,
    key_name,
)

MAX_KEYS = 1000
MAX_VERSIONS = 10_000
_KEY_BYTES = 32
_NONCE_BYTES = 12
_NUMBER_BYTES = 4
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/-]{0,127}")


@dataclass(frozen=True)
class _Key:
    """A key with the material of its versions, by number from 1."""

    row: KeyRow
    materials: tuple[bytes, ...]
    rotated_at: float

    def __repr__(self) -> str:
        return f"_Key({self.row.name!r})"

    @property
    def info(self) -> KmsKeyInfo:
        row = self.row
        arn = key_arn(row.id)
        return KmsKeyInfo(row.id, row.name, row.enabled, row.created_at, len(self.materials), self.rotated_at, arn)


class NamedKeys:
    """Manages named keys. `sealer` returns the cluster's storage keys. Thread-safe.

    Keys stay in memory once they were needed, because no other process changes them.
    """

    def __init__(
        self, store: MetadataStore, clock: MomentClock, sealer: Callable[[], Sealer], people: People | None = None
    ) -> None:
        self._store = store
        self._people = people
        self._clock = clock
        self._sealer = sealer
        self._known: dict[str, _Key] | None = None
        self._guard = threading.Lock()
        self._generation = 0

    # ------------------------------------------------------------ what administrators do

    def all(self) -> KmsKeysReply:
        """Return every key, by name."""
        return KmsKeysReply([key.info for key in self._read().values()])

    def create(self, name: str) -> KmsKeyInfo:
        """Create a key. AlreadyExists when one has the name; BadName for an invalid one."""
        name = name.removeprefix("alias/")
        if not _NAME.fullmatch(name) or name.startswith("aws/") or _is_id(name):
            raise BadName(
                f"{name[:40]!r} cannot be a key's name: up to 128 letters, digits, hyphens, underscores and slashes, "
                "not beginning with aws/, and not like a key's id"
            )
        return self._create(name)

    def enable(self, name: str, *, enabled: bool) -> KmsKeyInfo:
        """Enable or disable a key. NotFound for an unknown one. Safe to repeat."""

        def work(tx: Tx) -> str:
            key = _named(self._load(tx), name)
            rows.enable(tx, key.row.id, enabled)
            return key.row.id

        return self._changed(work)

    def rotate(self, name: str) -> KmsKeyInfo:
        """Add a key version, used for content written from now on. NotFound for an unknown key."""

        def work(tx: Tx) -> str:
            key = _named(self._load(tx), name)
            if len(key.materials) >= MAX_VERSIONS:
                raise Conflict(f"key {key.row.name!r} has {MAX_VERSIONS} versions already: create another key")
            self._insert_version(tx, key.row.id, len(key.materials) + 1)
            return key.row.id

        return self._changed(work)

    def _create(self, name: str, *, if_missing: bool = False) -> KmsKeyInfo:
        def work(tx: Tx) -> str:
            known = self._load(tx)
            same = next((key for key in known.values() if key.row.name == name), None)
            if same is not None:
                if if_missing:
                    return same.row.id
                raise AlreadyExists(f"a key named {name!r} already exists")
            if len(known) >= MAX_KEYS:
                raise Conflict(f"there are {MAX_KEYS} keys already")
            id = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
            rows.insert_key(tx, KeyRow(id, name, True, self._clock.wall()))
            self._insert_version(tx, id, 1)
            return id

        return self._changed(work)

    def _insert_version(self, tx: Tx, id: str, number: int) -> None:
        sealed = self._sealer().seal(_name_of(id, number), secrets.token_bytes(_KEY_BYTES))
        rows.insert_version(tx, KeyVersionRow(id, number, sealed, self._clock.wall()))

    def sealed_rows(self, reader: Reader) -> list[SealedRow]:
        """Return the sealed material of every version of every key."""
        return [_sealed_row(version) for version in rows.versions(reader)]

    def _changed(self, work: Callable[[Tx], str]) -> KmsKeyInfo:
        """Run `work`, which returns a key's id, and return that key as changed."""
        try:
            id = self._store.write(work)
        finally:
            self.forget_all()
        return self._read()[id].info

    def forget_all(self) -> None:
        """Read the keys again: one was changed, or the metadata has gone on without this object."""
        with self._guard:
            self._generation += 1
            self._known = None

    # ------------------------------------------------------------ data keys

    def new_data_key(self, request: NewDataKeyRequest) -> NewDataKeyReply:
        """Return a data key for new content, with the metadata from which `open` unwraps it."""
        try:
            return self._new_data_key(request)
        except BadRequest:
            self._hide(request)
            raise

    def _hide(self, request: NewDataKeyRequest) -> None:
        """Raise NotFound if the key is the default of a bucket that to this person does not exist."""
        if request.bucket and self._people is not None:
            person = self._people.identify(request.credential)
            with self._store.read() as reader:
                if standing(reader, request.bucket, person, self._clock.wall()).hidden:
                    raise buckets.missing(request.bucket)

    def _new_data_key(self, request: NewDataKeyRequest) -> NewDataKeyReply:
        try:
            key = _named(self._read(), request.key or DEFAULT_KEY_NAME)
        except NotFound as error:
            if request.key:
                raise BadRequest(str(error), s3_code="KMS.NotFoundException") from error
            made = self._create(DEFAULT_KEY_NAME, if_missing=True)
            key = self._read()[made.id]
        _check_enabled(key)
        number = len(key.materials)
        data, nonce = secrets.token_bytes(_KEY_BYTES), os.urandom(_NONCE_BYTES)
        wrapped = AESGCM(key.materials[-1]).encrypt(nonce, data, data_key_use(key.row.id, request.context))
        metadata = {
            KMS_KEY_ENTRY: key.row.id,
            KMS_DATA_ENTRY: base64.b64encode(number.to_bytes(_NUMBER_BYTES, "big") + nonce + wrapped).decode(),
        }
        if request.context:
            metadata[KMS_CONTEXT_ENTRY] = request.context
        return NewDataKeyReply(data.hex(), metadata)

    def open(self, metadata: Mapping[str, str]) -> DataKey:
        """Return the data key of the content with this metadata, or the reason why there is none."""
        try:
            return DataKey(self._open(metadata).hex())
        except LockstepError as error:
            return DataKey(problem=to_problem(error))

    def _open(self, metadata: Mapping[str, str]) -> bytes:
        id = metadata.get(KMS_KEY_ENTRY, "")
        key = self._read().get(id)
        if key is None:
            raise BadRequest(
                f"the file is encrypted with key {id!r}, which this directory does not have; restore a backup that is "
                "newer than the key",
                s3_code="KMS.NotFoundException",
            )
        _check_enabled(key)
        try:
            raw = base64.b64decode(metadata.get(KMS_DATA_ENTRY, ""), validate=True)
            number = int.from_bytes(raw[:_NUMBER_BYTES], "big")
            nonce, wrapped = raw[_NUMBER_BYTES:][:_NONCE_BYTES], raw[_NUMBER_BYTES + _NONCE_BYTES :]
            if not 1 <= number <= len(key.materials):
                raise ValueError("no such version of the key")
            use = data_key_use(id, metadata.get(KMS_CONTEXT_ENTRY, ""))
            return AESGCM(key.materials[number - 1]).decrypt(nonce, wrapped, use)
        except (ValueError, InvalidTag) as error:
            raise Damaged(f"the file's data key cannot be unwrapped with key {key.row.name!r}") from error

    # ------------------------------------------------------------ cached keys

    def _read(self) -> dict[str, _Key]:
        """Return the keys by id, in the order of their names."""
        known = self._known
        if known is not None:
            return known
        generation = self._generation
        with self._store.read() as reader:
            known = self._load(reader)
        with self._guard:
            if generation == self._generation:
                self._known = known
        return known

    def _load(self, reader: Reader) -> dict[str, _Key]:
        versions: dict[str, list[KeyVersionRow]] = {}
        for version in rows.versions(reader):
            versions.setdefault(version.key, []).append(version)
        return {row.id: self._opened(row, versions[row.id]) for row in rows.keys(reader)}

    def _opened(self, row: KeyRow, versions: list[KeyVersionRow]) -> _Key:
        materials = tuple(self._sealer().open(_name_of(row.id, one.number), one.sealed) for one in versions)
        return _Key(row, materials, versions[-1].created_at)


def _named(known: Mapping[str, _Key], text: str) -> _Key:
    """Return the key that `text` names."""
    name = key_name(text)
    found = known.get(name) or next((key for key in known.values() if key.row.name == name), None)
    if found is None:
        raise NotFound(f"there is no key {text[:100]!r}: an administrator can create one with `lockstep kms create`")
    return found


def _check_enabled(key: _Key) -> None:
    if not key.row.enabled:
        raise BadRequest(
            f"the key {key.row.name!r} is disabled: an administrator can enable it again",
            s3_code="KMS.DisabledException",
        )


def _is_id(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True


def _sealed_row(version: KeyVersionRow) -> SealedRow:
    name = _name_of(version.key, version.number)
    return SealedRow(name, version.sealed, lambda tx, sealed: rows.reseal_version(tx, version, sealed))


def _name_of(id: str, number: int) -> Digest:
    """Return the name that a version's material is sealed under."""
    return chunk_digest(f"lockstep named key {id} version {number}".encode())
