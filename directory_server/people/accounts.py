"""Accounts, log-ins and API keys: authenticates people.

A credential is a bearer token (`lst_…`, which expires) or an API key (`lsk_…`, valid until revoked). Only hashes are
stored. They are random, so one fast hash is enough, unlike for passwords (see `passwords`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from blake3 import blake3

from directory_server.metadata.statements import people, quotas
from directory_server.metadata.store import MetadataStore, Reader, Row, Tx
from directory_server.people.access_keys import PeopleClock, S3Keys
from directory_server.people.audit import Auditor, NoAudit
from directory_server.people.guessing import GuessingBounds
from directory_server.people.look_alikes import LookAlikes
from directory_server.people.names import AccountNames, prepared_name, prepared_password
from directory_server.people.password_rules import check_new_password
from directory_server.people.passwords import NOBODY, HashingSlots, PasswordHash
from directory_server.people.person import Person
from lockstep_store.runtime.bounded import LookupCache
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Conflict, Forbidden, NotFound, NotLoggedIn
from lockstep_store.wire.messages.people import AccountInfo, ApiKeyInfo, ApiKeysReply, LoginReply, PasswordRequest
from lockstep_store.wire.messages.s3 import S3_SERVICE, S3Proof
from lockstep_store.wire.messages.s3_access import S3Access
from lockstep_store.wire.messages.users import ChangePasswordRequest
from lockstep_store.wire.names import check_account

TOKEN_PREFIX = "lst_"  # noqa: S105 - a prefix, not a secret
API_KEY_PREFIX = "lsk_"
TOKEN_SECONDS = 12 * 3600.0
MAX_API_KEYS = 100
_CLOSED = "; new accounts are made by an administrator only"
_MAX_CACHED = 10_000


def credential_hash(credential: str) -> bytes:
    """The stored form of a credential: its BLAKE3 hash, 32 bytes."""
    return blake3(credential.encode("utf-8", "surrogatepass")).digest()


class Accounts:
    """Logs people in and authenticates their credentials. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        s3_keys: S3Keys,
        *,
        registration_open: bool | Callable[[bool], bool] = True,
        token_seconds: float = TOKEN_SECONDS,
        audit: Auditor = NoAudit(),  # noqa: B008 - it has no state
    ) -> None:
        self._store = store
        self._clock = clock
        self._is_open = registration_open if callable(registration_open) else lambda _: bool(registration_open)
        self.audit = audit
        self._token_seconds = token_seconds
        self._guessing = GuessingBounds(clock.now)
        self._slots = HashingSlots()
        self._known: LookupCache[bytes, Person] = LookupCache(_MAX_CACHED)
        """People by their credential's hash. Safe: only this process ends log-ins and keys, and removes them here."""
        self._s3_keys = s3_keys
        self._names = AccountNames()
        self.look_alikes = LookAlikes()

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
        hash = credential_hash(credential)
        person = self._known.get(hash)
        if person is None:
            generation = self._known.generation
            with self._store.read() as reader:
                person = _look_up(reader, credential, hash)
            self._known.keep(hash, person, generation)
        if person.expires is not None and person.expires <= self._clock.now():
            self._known.forget(hash)
            raise NotLoggedIn("your log-in or key has ended: log in again", expired=True)
        return person

    def forget_all(self) -> None:
        """Look every credential up again: an account was changed, or its credentials ended."""
        self._known.forget_all()
        self._s3_keys.forget_all()

    def administrator(self, credential: str) -> Person:
        """Like `authenticate`; raises Forbidden unless the person is an administrator."""
        person = self.authenticate(credential)
        if not person.admin:
            raise Forbidden(f"{person.account} is not an administrator")
        return person

    # ------------------------------------------------------------ log-in

    def log_in(self, request: PasswordRequest) -> LoginReply:
        """Issue a token, and with `register` make the account first. NotLoggedIn does not reveal which names exist."""
        typed = check_account(request.name)
        with self._store.read() as reader:
            name = self._names.find(reader, typed) or typed
            row = reader.one(people.PASSWORD, name=name)
        is_open = self._is_open(request.remote)
        if request.register == "must" and not is_open:  # also for a name that exists, which is not revealed
            raise Forbidden("registration is closed: ask an administrator for an account")
        if row is None and request.register != "never" and is_open:
            return self._register(prepared_name(typed), request)
        if row is not None and request.register == "must":
            raise AlreadyExists(f"there is an account {name!r} already: log in, or choose another name")
        verified = self._check_password(name, row, request.password, request.address, "" if is_open else _CLOSED)
        if row is not None and row[6]:
            raise NotLoggedIn(
                "this is a one-time password: set your own with `lockstep passwd`, then log in", must_change=True
            )
        return self._open_session(name, verified, request.client, request.address)

    def _check_password(self, name: str, row: Row | None, password: str, address: str, hint: str = "") -> bytes:
        """The stored hash that the password matches; NotLoggedIn for a wrong password or a disabled account."""
        self._guessing.check(name, address)
        stored = PasswordHash(row[0], row[1], row[2], row[3]) if row is not None else NOBODY
        with self._slots.one():
            self._guessing.check(name, address)  # others may have failed for this name while this one waited
            matches = _matches(stored, password)
        if row is None or not matches:
            self._guessing.failed(name, address)
            self.audit.note("log-in refused", "", subject=name if row is not None else "", address=address)
            raise NotLoggedIn(f"the name or the password is wrong{hint}")
        if row[5]:
            self.audit.note("log-in refused", name, address=address, detail="the account is disabled")
            raise NotLoggedIn("this account is disabled: ask an administrator")
        self._guessing.succeeded(name, address)
        return stored.hash if stored.is_current else self._hash_again(name, stored, password, bool(row[6]))

    def _hash_again(self, name: str, stored: PasswordHash, password: str, must_change: bool) -> bytes:
        """Replace a hash that was made with a weaker setting; return the new one."""
        with self._slots.one():
            stronger = PasswordHash.of(prepared_password(password) or password)

        def work(tx: Tx) -> None:
            _demand_unchanged(tx, name, stored.hash)
            people.set_password(tx, name, stronger, must_change=must_change)

        self._store.write(work)
        return stronger.hash

    def hashed(self, password: str) -> PasswordHash:
        """Hash a password when there is a slot; Overloaded when there is none."""
        with self._slots.one():
            return PasswordHash.of(password)

    def change_password(self, request: ChangePasswordRequest) -> LoginReply:
        """Set another password, end every log-in of the account, and log in with it. Keys stay.

        Raises NotLoggedIn for a wrong password, BadRequest when the new one breaks a rule.
        """
        typed = check_account(request.name)
        with self._store.read() as reader:
            name = self._names.find(reader, typed) or typed
            row = reader.one(people.PASSWORD, name=name)
        verified = self._check_password(name, row, request.password, request.address)
        prepared = check_new_password(name, request.new_password)
        if request.new_password == request.password:
            raise BadRequest("the new password is the one so far: choose another")
        with self._slots.one():
            password = PasswordHash.of(prepared)

        def work(tx: Tx) -> None:
            _demand_unchanged(tx, name, verified)
            people.set_password(tx, name, password, must_change=False)
            tx.run(people.DELETE_SESSIONS_OF, of_account=name)

        self._store.write(work)
        self.forget_all()
        self.audit.note("password changed", name, address=request.address)
        return self._open_session(name, password.hash, request.client, request.address)

    def _register(self, name: str, request: PasswordRequest) -> LoginReply:
        prepared = check_new_password(name, request.password)
        self._guessing.check(name, request.address)
        with self._slots.one():
            password = PasswordHash.of(prepared)

        def work(tx: Tx) -> bool:
            if tx.one(people.ACCOUNT, name=name) is not None:
                return False
            if self.look_alikes.find(tx, name) is not None:
                # Which account it is, is not for strangers.
                raise AlreadyExists(
                    f"the name {name!r} looks like the name of another account: check the spelling, or choose a name "
                    "that nobody can take for it"
                )
            insert_account(tx, name, password, admin=False, at=self._clock.wall())
            return True

        if not self._store.write(work):
            # The name was taken while the password was hashed: continue with an ordinary log-in.
            if request.register == "must":
                raise AlreadyExists(f"there is an account {name!r} already: log in, or choose another name")
            return self.log_in(request)
        self.audit.note("account made", name, subject=name, address=request.address)
        reply = self._open_session(name, password.hash, request.client, request.address)
        reply.created = True
        return reply

    def _open_session(self, account: str, verified: bytes, client: str, address: str) -> LoginReply:
        """Log in with the password whose stored hash was `verified`."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        expires_at = self._clock.wall() + self._token_seconds
        values = {
            "token_hash": credential_hash(token),
            "account": account,
            "client": client,
            "created_at": self._clock.wall(),
            "expires": self._clock.now() + self._token_seconds,
            "expires_at": expires_at,
        }

        def work(tx: Tx) -> bool:
            admin = _demand_unchanged(tx, account, verified)
            tx.run(people.INSERT_SESSION, **values)
            self.audit.write(tx, "log-in", account, "", address, client)
            return admin

        admin = self._store.write(work)
        return LoginReply(token, account, admin, expires_at)

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
        expires_at = session[5] if session is not None else None
        return AccountInfo(person.account, person.admin, account[1], person.session, expires_at, person.read_only)

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


def _matches(stored: PasswordHash, password: str) -> bool:
    """Whether it is the password. Older hashes are of the password as it was typed."""
    prepared = prepared_password(password)
    if prepared is None or prepared == password:
        return stored.matches(password)
    return stored.matches(prepared) or stored.matches(password)


def _demand_unchanged(tx: Tx, name: str, verified: bytes) -> bool:
    """Raise NotLoggedIn if the account was disabled, or its password changed, since `verified` was compared; return
    whether it is an administrator's. Comparing takes so long that a reset would otherwise come too late."""
    row = tx.one(people.PASSWORD, name=name)
    if row is None or bytes(row[1]) != verified or row[5]:
        raise NotLoggedIn("this account was changed while you logged in: log in again")
    return bool(row[4])


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
    """Make an account. The caller has checked that the name is free."""
    tx.run(
        people.INSERT_ACCOUNT,
        name=name,
        admin=admin,
        salt=password.salt,
        password_hash=password.hash,
        scrypt_log_n=password.log_n,
        scrypt_p=password.p,
        created_at=at,
        read_only=read_only,
        disabled=False,
        must_change=must_change,
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


def _look_up(reader: Reader, credential: str, hash: bytes) -> Person:
    if credential.startswith(TOKEN_PREFIX):
        row = reader.one(people.SESSION, hash=hash)
        if row is not None:
            return _person(row, f"session-{hash.hex()[:16]}", row[4])
    elif credential.startswith(API_KEY_PREFIX):
        row = reader.one(people.API_KEY, hash=hash)
        if row is not None:
            return _person(row, f"key-{row[4]}")
    if not credential:
        raise NotLoggedIn("log in first: this needs a token or an API key", anonymous=True)
    raise NotLoggedIn("the token or API key is not valid: it is wrong, revoked or logged out; log in again")


def _person(row: Row, session: str, expires: float | None = None) -> Person:
    """A credential's account; NotLoggedIn when it is disabled. `row` begins with name, admin, read-only, disabled."""
    if row[3]:
        raise NotLoggedIn("this account is disabled: ask an administrator")
    return Person(row[0], bool(row[1]), session, expires, read_only=bool(row[2]))
