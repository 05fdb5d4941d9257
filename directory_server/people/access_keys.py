"""S3 access keys: makes, lists, rotates and revokes them, and authenticates signatures.

Checking a signature needs the secret itself, so it is stored, unlike that of any other credential. After the reply that
makes it, it never leaves the directory: a proxy gets the signing key of one day and region at most.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hmac import compare_digest
from typing import Protocol

import msgspec
from blake3 import blake3

from directory_server.metadata.sealed_rows import SealedRow
from directory_server.metadata.statements import quotas
from directory_server.metadata.statements import s3_keys as rows
from directory_server.metadata.statements.s3_keys import OF_THE_ACCOUNT, S3KeyHolder
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.limits import limits_of
from directory_server.people.person import Person
from lockstep_store.runtime.bounded import LookupCache
from lockstep_store.runtime.storage.sealing import Sealer
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import Conflict, NotFound, NotLoggedIn
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.s3 import (
    S3_SERVICE,
    CreateS3KeyRequest,
    S3KeyInfo,
    S3KeyRequest,
    S3KeysReply,
    S3Proof,
    SigningKeyReply,
    SigningKeyRequest,
    signing_key,
)

MAX_KEYS = 100
MAX_SESSIONS = 1000
"""Of one key at a time."""
MAX_KNOWN = 10_000
_derived = lru_cache(maxsize=4096)(signing_key)


class PeopleClock(Protocol):
    """Directory time, and wall time for people to read."""

    def now(self) -> float: ...

    def wall(self) -> float: ...


@dataclass(frozen=True)
class _Key:
    """The part of a key that checks requests; `expires` is directory time."""

    person: Person
    secret: str
    session_hash: bytes | None
    expires: float | None


class S3Keys:
    """Manages S3 access keys. Caches them, which is safe because only this process ends keys. Thread-safe."""

    def __init__(self, store: MetadataStore, clock: PeopleClock, sealer: Callable[[], Sealer]) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._known: LookupCache[str, _Key] = LookupCache(MAX_KNOWN)

    # ------------------------------------------------------------ the keys of a person

    def all(self, person: Person) -> S3KeysReply:
        """Return the person's own keys, without secrets."""
        with self._store.read() as reader:
            return S3KeysReply(rows.keys_of(reader, person.account, MAX_KEYS))

    def create(self, person: Person, request: CreateS3KeyRequest) -> S3KeyInfo:
        """Make a key. Only this reply contains its secret. Raises Conflict when the person has too many."""
        made = self._made(person.account, request.name, request.valid_seconds)

        def work(tx: Tx) -> None:
            rows.drop_ended(tx, self._clock.now())
            if len(rows.keys_of(tx, person.account, MAX_KEYS)) >= MAX_KEYS:
                raise Conflict(f"you have {MAX_KEYS} S3 keys already: revoke one first")
            quotas.demand_room(tx, quotas.ACCOUNT, person.account, "keys")
            self._insert(tx, made, request.valid_seconds)

        self._store.write(work)
        return made

    def create_lasting(self, tx: Tx, account: str, holder: S3KeyHolder, valid_seconds: float | None) -> S3KeyInfo:
        """Make a key without a session token inside the caller's transaction; with `valid_seconds` it expires."""
        made = self._made(account, "", None)
        if valid_seconds is not None:
            made.expires_at = made.created_at + valid_seconds
        self._insert(tx, made, valid_seconds, holder)
        return made

    def create_session(self, tx: Tx, account: str, seconds: float, holder: S3KeyHolder) -> S3KeyInfo:
        """Make a temporary key of `holder.parent_key`, or of an id token, inside the caller's transaction.

        Raises Conflict when that key, or the role, has too many sessions.
        """

        def count() -> int:
            if holder.parent_key:
                return rows.count_sessions(tx, _first_key(tx, holder.parent_key))
            return rows.count_federated_sessions(tx, account, holder.identity)

        if count() >= MAX_SESSIONS:
            rows.drop_ended(tx, self._clock.now())
        if count() >= MAX_SESSIONS:
            whose = "this access key" if holder.parent_key else "this role"
            raise Conflict(f"{whose} has {MAX_SESSIONS} sessions already: wait until some have ended")
        made = self._made(account, "", seconds)
        self._insert(tx, made, seconds, holder)
        return made

    def rotate(self, person: Person, request: S3KeyRequest) -> S3KeyInfo:
        """Replace a key by a new one. Raises NotFound unless it is the person's own."""

        def work(tx: Tx) -> S3KeyInfo:
            old = rows.drop_key(tx, request.access_key_id, person.account, "")
            if old is None:
                raise _no_such(request.access_key_id)
            made = self._made(person.account, old.name, None)
            self._insert(tx, made, None)
            return made

        made = self._store.write(work)
        self._known.forget_all()  # its sessions end too
        return made

    def revoke(self, person: Person, request: S3KeyRequest) -> Nothing:
        """Revoke a key. Raises NotFound unless it is the person's own."""
        if self._store.write(lambda tx: rows.drop_key(tx, request.access_key_id, person.account)) is None:
            raise _no_such(request.access_key_id)
        self._known.forget_all()  # its sessions end too
        return Nothing()

    def seal_all(self) -> None:
        """Seal the secrets that are stored plainly: those of older versions, and the first administrator's."""

        def work(tx: Tx) -> None:
            for access_key_id, secret in rows.plain_secrets(tx):
                rows.replace_secret(tx, access_key_id, self._sealed(access_key_id, secret))

        self._store.write(work)

    def sealed_rows(self, reader: Reader) -> list[SealedRow]:
        """Return every key's sealed secret."""
        return [_sealed_row(id, stored) for id, stored in rows.sealed_secrets(reader)]

    def _sealed(self, access_key_id: str, secret: str) -> str:
        sealed = self._sealer().seal(_sealed_under(access_key_id), secret.encode())
        return _stored_form(sealed)

    def _opened(self, access_key_id: str, stored: str) -> str:
        if not stored.startswith(rows.SEALED):
            return stored
        return self._sealer().open(_sealed_under(access_key_id), _sealed_bytes(stored)).decode()

    def forget_all(self) -> None:
        """Look every key up again: an account was changed, or its keys ended."""
        self._known.forget_all()

    def remove_ended(self, tx: Tx) -> None:
        """Delete expired temporary keys."""
        rows.drop_ended(tx, self._clock.now())

    def _made(self, account: str, name: str, valid_seconds: float | None) -> S3KeyInfo:
        now = self._clock.wall()
        return S3KeyInfo(
            access_key_id="LS" + secrets.token_hex(9).upper(),
            account=account,
            created_at=now,
            name=name,
            secret=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(48) if valid_seconds is not None else "",
            expires_at=None if valid_seconds is None else now + valid_seconds,
        )

    def _insert(
        self, tx: Tx, made: S3KeyInfo, valid_seconds: float | None, holder: S3KeyHolder = OF_THE_ACCOUNT
    ) -> None:
        hash = _token_hash(made.session_token) if made.session_token else None
        expires = None if valid_seconds is None else self._clock.now() + valid_seconds
        stored = msgspec.structs.replace(made, secret=self._sealed(made.access_key_id, made.secret))
        rows.insert_key(tx, stored, hash, expires, holder)

    # ------------------------------------------------------------ signatures

    def signing_key(self, request: SigningKeyRequest) -> SigningKeyReply:
        """The signing key of one day and region. Raises NotLoggedIn for an unknown or expired key, or a wrong token."""
        key = self._key(request.access_key_id)
        _check_token(key, request.session_token)
        return SigningKeyReply(_derived(key.secret, request.date, request.region).hex(), key.person.account)

    def person(self, proof: S3Proof) -> Person:
        """The person who made a signature. Raises NotLoggedIn when it does not match.

        The gate has checked the session token of a request to S3.
        """
        key = self._key(proof.access_key_id)
        if proof.service != S3_SERVICE:
            _check_token(key, proof.session_token)
        if not proof.is_made_with(_derived(key.secret, proof.date, proof.region, proof.service)):
            raise NotLoggedIn("the signature was not made with this access key's secret", signature=True)
        return key.person

    def _key(self, access_key_id: str) -> _Key:
        key = self._known.get(access_key_id)
        if key is None:
            generation = self._known.generation
            with self._store.read() as reader:
                found = rows.find_key(reader, access_key_id)
                person = person_of_key(reader, access_key_id, found)
            assert found is not None
            key = _Key(person, self._opened(access_key_id, found.secret), found.session_hash, found.expires)
            self._known.keep(access_key_id, key, generation)
        if key.expires is not None and key.expires <= self._clock.now():
            raise NotLoggedIn("this temporary S3 key has expired: make a new one", expired=True)
        return key


def _check_token(key: _Key, given: str) -> None:
    expected = key.session_hash
    if (expected is not None) != bool(given) or (
        expected is not None and not compare_digest(expected, _token_hash(given))
    ):
        raise NotLoggedIn("the session token does not belong to this access key", token=bool(given))


def person_of_key(reader: Reader, access_key_id: str, found: rows.S3KeyRow | None) -> Person:
    """Return the person of a key's row; NotLoggedIn when the key or what it depends on has ended."""
    if found is None:
        raise NotLoggedIn(f"there is no S3 access key {access_key_id[:40]!r}: it is wrong, or was revoked")
    if found.disabled:
        raise NotLoggedIn("the account of this S3 access key is disabled: ask an administrator")
    if not found.active:
        raise NotLoggedIn("this S3 access key is inactive: activate it, or use another one")
    limits = limits_of(reader, access_key_id, found)
    return Person(
        found.account,
        found.admin and limits is None,
        f"s3-{access_key_id}",
        found.expires,
        read_only=found.read_only or (limits is not None and limits.read_only),
        limits=limits,
        s3_key=access_key_id,
        tenant_admin=found.tenant_admin and limits is None,
    )


def _first_key(reader: Reader, access_key_id: str) -> str:
    """Return the key at the beginning of a chain of sessions."""
    while (found := rows.find_key(reader, access_key_id)) is not None and found.parent_key:
        access_key_id = found.parent_key
    return access_key_id


def _sealed_under(access_key_id: str) -> Digest:
    """What a secret is bound to: a sealed secret that is moved to another key's row does not open."""
    return chunk_digest(b"lockstep S3 secret\0" + access_key_id.encode())


def _stored_form(sealed: bytes) -> str:
    return rows.SEALED + base64.b64encode(sealed).decode()


def _sealed_bytes(stored: str) -> bytes:
    return base64.b64decode(stored.removeprefix(rows.SEALED))


def _sealed_row(id: str, stored: str) -> SealedRow:
    def replace(tx: Tx, sealed: bytes) -> int:
        return rows.exchange_secret(tx, id, stored, _stored_form(sealed))

    return SealedRow(_sealed_under(id), _sealed_bytes(stored), replace)


def _no_such(access_key_id: str) -> NotFound:
    return NotFound(f"you have no S3 access key {access_key_id!r}")


def _token_hash(token: str) -> bytes:
    return blake3(token.encode("utf-8", "surrogatepass")).digest()
