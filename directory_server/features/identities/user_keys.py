"""The S3 keys of an account's users, and of the account itself, as IAM manages them."""

from __future__ import annotations

from directory_server.features.identities.identities import IdentityOwners, find
from directory_server.metadata.statements import s3_keys as rows
from directory_server.metadata.statements.s3_keys import S3KeyHolder
from directory_server.metadata.store import MetadataStore, Reader, Tx
from directory_server.people.access_keys import MAX_KEYS, S3Keys
from directory_server.people.audit import AuditJournal
from directory_server.people.person import Person
from lockstep_store.wire.errors import Conflict, NotFound
from lockstep_store.wire.messages import identities as im
from lockstep_store.wire.messages.base import Nothing
from lockstep_store.wire.messages.s3 import S3KeyInfo, S3KeysReply

MAX_USER_KEYS = 10


class UserKeys:
    """Thread-safe."""

    def __init__(self, store: MetadataStore, owners: IdentityOwners, keys: S3Keys, audit: AuditJournal) -> None:
        self._store = store
        self._owners = owners
        self._keys = keys
        self._audit = audit

    def list(self, request: im.UserKeysRequest) -> S3KeysReply:
        """Return the keys of a user, without secrets."""
        person = self._owners.owner(request.credential)
        with self._store.read() as reader:
            identity = _identity(reader, person, request.user)
            return S3KeysReply(rows.keys_of(reader, person.account, MAX_KEYS, identity))

    def create(self, request: im.NewUserKeyRequest) -> S3KeyInfo:
        """Make a key. Only this reply contains its secret. Raises Conflict when the user has too many."""
        person = self._owners.owner(request.credential)

        def work(tx: Tx) -> S3KeyInfo:
            identity = _identity(tx, person, request.user)
            most = MAX_USER_KEYS if identity else MAX_KEYS
            if len(rows.keys_of(tx, person.account, most, identity)) >= most:
                raise Conflict(f"there are {most} keys already: delete one first")
            made = self._keys.create_lasting(tx, person.account, S3KeyHolder(identity), request.valid_seconds)
            self._note(tx, "key made", person, made.access_key_id, identity)
            return made

        return self._store.write(work)

    def change(self, request: im.UserKeyStateRequest) -> Nothing:
        """Activate or deactivate a key. Raises NotFound unless it is that user's."""
        person = self._owners.owner(request.credential)

        def work(tx: Tx) -> None:
            identity = _identity(tx, person, request.user)
            if not rows.set_active(tx, request.access_key_id, person.account, identity, active=request.active):
                raise _no_such_key(request)
            kind = "key activated" if request.active else "key deactivated"
            self._note(tx, kind, person, request.access_key_id, identity)

        self._store.write(work)
        self._keys.forget_all()
        return Nothing()

    def delete(self, request: im.UserKeyRequest) -> Nothing:
        """Revoke a key with its sessions. Raises NotFound unless it is that user's."""
        person = self._owners.owner(request.credential)

        def work(tx: Tx) -> None:
            identity = _identity(tx, person, request.user)
            if rows.drop_key(tx, request.access_key_id, person.account, identity) is None:
                raise _no_such_key(request)
            self._note(tx, "key revoked", person, request.access_key_id, identity)

        self._store.write(work)
        self._keys.forget_all()
        return Nothing()

    def _note(self, tx: Tx, kind: str, person: Person, access_key_id: str, identity: str) -> None:
        self._audit.write(tx, kind, person.account, f"S3 key {access_key_id}", detail=identity)


def _identity(reader: Reader, person: Person, user: str) -> str:
    """Return what the key's row has for a user; empty for the account itself."""
    if user in ("", person.account):
        return ""
    return f"user/{find(reader, person.account, 'user', user).name}"


def _no_such_key(request: im.UserKeyRequest) -> NotFound:
    return NotFound(f"there is no such key {request.access_key_id!r} of that user")
