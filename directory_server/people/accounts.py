"""Accounts and API keys: authenticates people. `log_ins` issues their tokens.

A credential is a bearer token (`lst_…`, which expires) or an API key (`lsk_…`, valid until revoked). Only hashes are
stored. They are random, so one fast hash is enough, unlike for passwords (see `passwords`).
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from blake3 import blake3

from directory_server.metadata.statements import people, quotas, totals
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.access_keys import PeopleClock, S3Keys
from directory_server.people.audit import Auditor, NoAudit
from directory_server.people.passwords import PasswordHash
from directory_server.people.person import Person
from directory_server.people.share_links import person_of_link
from lockstep_store.runtime.bounded import LookupCache
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Conflict, Forbidden, NotFound, NotLoggedIn
from lockstep_store.wire.messages.people import AccountInfo, ApiKeyInfo, ApiKeysReply
from lockstep_store.wire.messages.s3 import S3_SERVICE, S3Proof
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.shares import ShareProof
from lockstep_store.wire.names import tenant_of

TOKEN_PREFIX = "lst_"  # noqa: S105 - a prefix, not a secret
API_KEY_PREFIX = "lsk_"
MAX_API_KEYS = 100
_MAX_CACHED = 10_000


def credential_hash(credential: str) -> bytes:
    """The stored form of a credential: its BLAKE3 hash, 32 bytes."""
    return blake3(credential.encode("utf-8", "surrogatepass")).digest()


class Accounts:
    """Authenticates people's credentials, and makes API keys. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        s3_keys: S3Keys,
        *,
        audit: Auditor = NoAudit(),  # noqa: B008 - it has no state
    ) -> None:
        self._store = store
        self._clock = clock
        self.audit = audit
        self._known: LookupCache[bytes, Person] = LookupCache(_MAX_CACHED)
        """People by their credential's hash. Safe: only this process ends log-ins and keys, and removes them here."""
        self._s3_keys = s3_keys

    # ------------------------------------------------------------ credentials

    def authenticate(self, credential: str) -> Person:
        """The person of `credential`, who has all of the account's rights.

        Raises NotLoggedIn when it is wrong, expired, revoked or anonymous, Forbidden for a key with limits.
        """
        person = self.anyone(credential)
        if person.limits is not None:
            raise Forbidden(f"{person.limits.who} cannot do this: use a key of {person.account} itself")
        return person

    def anyone(self, credential: str) -> Person:
        """Like `authenticate`, with limits too: the caller must ask `access` before it does anything."""
        person = self.identify(credential)
        if not person.account:
            raise NotLoggedIn("log in first: this needs an account", anonymous=True)
        return person

    def identify(self, credential: str) -> Person:
        """Like `anyone`, but an anonymous S3 request is a person without a name, for policies to judge."""
        access = S3Access.decode(credential)
        if access is None:
            return self._known_person(credential)
        if not access.credential:
            return Person("", False, "anonymous", access=access)
        return replace(self._known_person(access.credential), access=access)

    def signer(self, credential: str, service: str) -> Person:
        """The person who signed a request to that service, such as `sts`, with any key, limits included."""
        proof = S3Proof.decode(credential)
        if proof is None or proof.service != service:
            raise NotLoggedIn(f"this needs a request that is signed for {service}")
        return self._s3_keys.person(proof)

    def _known_person(self, credential: str) -> Person:
        proof = S3Proof.decode(credential)
        if proof is not None:
            if proof.service != S3_SERVICE:
                raise NotLoggedIn(f"this request was signed for {proof.service}, not for {S3_SERVICE}")
            return self._s3_keys.person(proof)
        link = ShareProof.decode(credential)
        if link is not None:  # never from memory: it may end by itself at any moment
            with self._store.read() as reader:
                return person_of_link(reader, link, self._clock)
        hash = credential_hash(credential)
        person = self._known.get(hash)
        if person is None:
            generation = self._known.generation
            with self._store.read() as reader:
                person = person_of_credential(reader, credential, hash)
            self._known.keep(hash, person, generation)
        if person.expires is not None and person.expires <= self._clock.now():
            self._known.forget(hash)
            raise NotLoggedIn("your log-in or key has ended: log in again", expired=True)
        return person

    def forget_all(self) -> None:
        """Look every credential up again: an account was changed, or its credentials ended."""
        self._known.forget_all()
        self._s3_keys.forget_all()

    def administrator(self, credential: str, *, of_tenant: bool = False) -> Person:
        """Like `authenticate`; raises Forbidden unless the person is an administrator.

        With `of_tenant` an administrator of a tenant will do too; the caller keeps that one to what is the tenant's.
        """
        person = self.authenticate(credential)
        if not (person.admin or (of_tenant and person.tenant_admin)):
            of_what = " of the cluster" if person.tenant_admin else ""
            raise Forbidden(f"{person.account} is not an administrator{of_what}")
        return person

    # ------------------------------------------------------------ log-ins

    def log_out(self, credential: str) -> None:
        """End the log-in of a token. Safe to repeat. Raises BadRequest for an API key, which is revoked instead."""
        if credential.startswith(API_KEY_PREFIX):
            raise BadRequest("an API key cannot log out: revoke it")
        hash = credential_hash(credential)
        self._store.write(lambda tx: tx.run(people.DELETE_SESSION, hash=hash))
        self._known.forget(hash)

    def who_am_i(self, credential: str) -> AccountInfo:
        person = self.authenticate(credential)
        hash = credential_hash(credential)
        with self._store.read() as reader:
            account = reader.one(people.ACCOUNT, name=person.account)
            session = reader.one(people.SESSION, hash=hash)
        if account is None:
            raise NotLoggedIn("your account is gone: log in again")
        expires_at = session[6] if session is not None else None
        return AccountInfo(
            person.account,
            person.admin,
            account[1],
            person.session,
            expires_at,
            person.read_only,
            person.tenant,
            person.tenant_admin,
        )

    # ------------------------------------------------------------ API keys

    def api_keys(self, person: Person) -> ApiKeysReply:
        with self._store.read() as reader:
            rows = reader.all(people.API_KEYS_OF, account=person.account, count=MAX_API_KEYS)
        return ApiKeysReply([ApiKeyInfo(*row) for row in rows])

    def create_api_key(self, person: Person, name: str) -> ApiKeyInfo:
        """Make a key. Only this reply contains its secret."""
        made = ApiKeyInfo(secrets.token_hex(6), name, self._clock.wall(), API_KEY_PREFIX + secrets.token_urlsafe(32))

        def work(tx: Tx) -> None:
            if len(tx.all(people.API_KEYS_OF, account=person.account, count=MAX_API_KEYS)) >= MAX_API_KEYS:
                raise Conflict(f"you have {MAX_API_KEYS} API keys already: revoke one first")
            quotas.demand_room(tx, quotas.ACCOUNT, person.account, "keys")
            insert_api_key(tx, person.account, made)

        self._store.write(work)
        self.audit.note("key made", person.account, subject=f"API key {made.id}", detail=name)
        return made

    def revoke_api_key(self, person: Person, key_id: str) -> None:
        """Revoke a key. Raises NotFound unless it is one of the person's own."""

        def work(tx: Tx) -> bytes:
            row = tx.one(people.API_KEY_HASH, id=key_id, account=person.account)
            if row is None:
                raise NotFound(f"you have no API key {key_id!r}")
            tx.run(people.DELETE_API_KEY, hash=row[0])
            return bytes(row[0])

        self._known.forget(self._store.write(work))
        self.audit.note("key revoked", person.account, subject=f"API key {key_id}")

    def remove_ended(self, tx: Tx) -> None:
        """Delete expired log-ins."""
        tx.run(people.DELETE_ENDED_SESSIONS, now=self._clock.now())


def refuse_past_author(reader: Reader, name: str) -> None:
    """Raise AlreadyExists if files name a deleted account of that name as their author: they would be the new one's.

    Administrators may make the account all the same.
    """
    if totals.is_author(reader, name):
        raise AlreadyExists(
            f"the name {name!r} belonged to an account that was deleted, and files still name it as their author: "
            "choose another name, or ask an administrator"
        )


def insert_account(
    tx: Tx,
    name: str,
    password: PasswordHash,
    *,
    admin: bool,
    at: float,
    read_only: bool = False,
    must_change: bool = False,
) -> None:
    """Make an account; with `admin` an administrator, of its tenant if it has one. The caller has checked that the name
    is free."""
    tx.run(
        people.INSERT_ACCOUNT,
        name=name,
        admin=admin and not tenant_of(name),
        tenant_admin=admin and bool(tenant_of(name)),
        salt=password.salt,
        password_hash=password.hash,
        scrypt_log_n=password.log_n,
        scrypt_p=password.p,
        created_at=at,
        read_only=read_only,
        disabled=False,
        must_change=must_change,
        second_factor_required=False,
    )


def insert_api_key(tx: Tx, account: str, key: ApiKeyInfo) -> None:
    """Store the hash of a key."""
    tx.run(
        people.INSERT_API_KEY,
        key_hash=credential_hash(key.key),
        id=key.id,
        account=account,
        name=key.name,
        created_at=key.created_at,
    )


def person_of_credential(reader: Reader, credential: str, hash: bytes) -> Person:
    if credential.startswith(TOKEN_PREFIX):
        row = reader.one(people.SESSION, hash=hash)
        if row is not None:
            return _person(row, f"session-{hash.hex()[:16]}", row[5])
    elif credential.startswith(API_KEY_PREFIX):
        row = reader.one(people.API_KEY, hash=hash)
        if row is not None:
            return _person(row, f"key-{row[5]}")
    if not credential:
        raise NotLoggedIn("log in first: this needs a token or an API key", anonymous=True)
    raise NotLoggedIn("the token or API key is not valid: it is wrong, revoked or logged out; log in again")


def _person(row: Row, session: str, expires: float | None = None) -> Person:
    """A credential's account; NotLoggedIn when it is disabled. `row` begins as all that name one do."""
    if row[3]:
        raise NotLoggedIn("this account is disabled: ask an administrator")
    return Person(row[0], bool(row[1]), session, expires, read_only=bool(row[2]), tenant_admin=bool(row[4]))
