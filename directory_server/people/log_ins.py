"""Log-ins with a password and a second factor: checks both, changes passwords, registers accounts, issues tokens.

A token is issued in the transaction that finds the account as it was when it was checked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from directory_server.defaults import TOKEN_SECONDS
from directory_server.metadata.statements import people
from directory_server.metadata.store import MetadataStore, Row, Tx
from directory_server.people.access_keys import PeopleClock
from directory_server.people.accounts import TOKEN_PREFIX, Accounts, credential_hash, insert_account, refuse_past_author
from directory_server.people.guessing import CodeGuesses, GuessingBounds
from directory_server.people.look_alikes import LookAlikes, check_separator
from directory_server.people.names import AccountNames, prepared_name, prepared_password
from directory_server.people.password_rules import check_new_password
from directory_server.people.passwords import NOBODY, HashingSlots, PasswordHash
from directory_server.people.second_factors import SecondFactors, is_recovery_code
from lockstep_store.wire.errors import AlreadyExists, BadRequest, Forbidden, NotLoggedIn, SecondFactorNeeded
from lockstep_store.wire.messages.people import LoginReply, PasswordRequest
from lockstep_store.wire.messages.users import ChangePasswordRequest
from lockstep_store.wire.names import check_account, tenant_of

_CLOSED = "; new accounts are made by an administrator only"


T = TypeVar("T")


@dataclass(frozen=True)
class Proven:
    """An account whose password was right, with the stored hash that it was compared with."""

    name: str
    hash: bytes = field(repr=False)
    is_one_time: bool
    address: str
    """Where the request came from."""

    def refuse_one_time(self) -> None:
        """Raise NotLoggedIn if the password is only good for setting another one."""
        if self.is_one_time:
            raise NotLoggedIn(
                "this is a one-time password: set your own with `lockstep passwd`, then log in", must_change=True
            )


class LogIns:
    """Logs people in. Thread-safe."""

    def __init__(
        self,
        store: MetadataStore,
        clock: PeopleClock,
        accounts: Accounts,
        factors: SecondFactors,
        *,
        registration_open: bool | Callable[[bool], bool] = True,
        token_seconds: float = TOKEN_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._factors = factors
        self._audit = accounts.audit
        self._is_open = registration_open if callable(registration_open) else lambda _: bool(registration_open)
        self._token_seconds = token_seconds
        self._guessing = GuessingBounds(clock.now)
        self._code_guesses = CodeGuesses(clock.now)
        self._slots = HashingSlots()
        self._names = AccountNames()
        self.look_alikes = LookAlikes()

    def log_in(self, request: PasswordRequest) -> LoginReply:
        """Issue a token, and with `register` make the account first.

        NotLoggedIn does not reveal which names exist, unless people make accounts themselves.

        Raises SecondFactorNeeded when the password is right and the account needs a code, or a second factor.
        """
        typed = check_account(request.name, in_tenant=True)
        name, row = self._find(typed)
        is_open = self._is_open(request.remote) and not tenant_of(typed)  # its administrators make a tenant's accounts
        if request.register == "must" and not is_open:  # also for a name that exists, which is not revealed
            raise Forbidden("registration is closed: ask an administrator for an account")
        if row is None and request.register != "never" and is_open:
            return self._register(check_separator(prepared_name(typed)), request)
        if row is not None and request.register == "must":
            raise AlreadyExists(f"there is an account {name!r} already: log in, or choose another name")
        if row is None and is_open:  # then anybody can find out which names exist, by registering
            self._guessing.check(name, request.address)
            self._audit.note("log-in refused", "", address=request.address)
            raise NotLoggedIn(f"there is no account {typed!r}", no_account=True)
        proven = self._check_password(name, row, request.password, request.address, "" if is_open else _CLOSED)
        proven.refuse_one_time()

        def recheck(tx: Tx) -> bool:
            admin = _demand_unchanged(tx, proven)
            self.use_code(tx, proven, request.code)
            self._demand_enrolled(tx, proven)
            return admin

        return self._count_codes(
            proven, request.code, lambda: self.open_session(name, request.client, request.address, recheck)
        )

    def _find(self, typed: str) -> tuple[str, Row | None]:
        with self._store.read() as reader:
            name = self._names.find(reader, typed) or typed
            return name, reader.one(people.PASSWORD, name=name)

    def prove(self, name: str, password: str, address: str) -> Proven:
        """The account of that name, if the password is right; NotLoggedIn otherwise, and for a disabled account."""
        found, row = self._find(check_account(name, in_tenant=True))
        return self._check_password(found, row, password, address)

    def _check_password(self, name: str, row: Row | None, password: str, address: str, hint: str = "") -> Proven:
        self._guessing.check(name, address)
        stored = PasswordHash(row[0], row[1], row[2], row[3]) if row is not None else NOBODY
        with self._slots.one(address):
            self._guessing.check(name, address)  # others may have failed for this name while this one waited
            matches = _matches(stored, password)
        if row is None or not matches:
            self._guessing.failed(name, address)
            self._audit.note("log-in refused", "", subject=name if row is not None else "", address=address)
            raise NotLoggedIn(f"the name or the password is wrong{hint}")
        if row[5]:
            self._audit.note("log-in refused", name, address=address, detail="the account is disabled")
            raise NotLoggedIn("this account is disabled: ask an administrator")
        hash = stored.hash if stored.is_current else self._hash_again(name, stored, password, bool(row[6]))
        return Proven(name, hash, bool(row[6]), address)

    def _hash_again(self, name: str, stored: PasswordHash, password: str, must_change: bool) -> bytes:
        """Replace a hash that was made with a weaker setting; return the new one."""
        with self._slots.one():
            stronger = PasswordHash.of(prepared_password(password) or password)

        def work(tx: Tx) -> None:
            _demand_unchanged(tx, Proven(name, stored.hash, must_change, ""))
            people.set_password(tx, name, stronger, must_change=must_change)

        self._store.write(work)
        return stronger.hash

    def hashed(self, password: str) -> PasswordHash:
        """Hash a password when there is a slot; Overloaded when there is none."""
        with self._slots.one():
            return PasswordHash.of(password)

    def change_password(self, request: ChangePasswordRequest) -> LoginReply:
        """Set another password, end every log-in of the account, and log in with it. Keys stay.

        Raises NotLoggedIn for a wrong password, SecondFactorNeeded for a missing or wrong code, BadRequest when the new
        password breaks a rule.
        """
        proven = self.prove(request.name, request.password, request.address)
        name = proven.name
        prepared = check_new_password(name, request.new_password)
        if request.new_password == request.password:
            raise BadRequest("the new password is the current one: choose another")
        with self._slots.one(request.address):
            password = PasswordHash.of(prepared)

        def work(tx: Tx) -> None:
            self.use_code(tx, proven, request.code)
            people.set_password(tx, name, password, must_change=False)
            tx.run(people.DELETE_SESSIONS_OF, of_account=name)

        self.change(proven, request.code, work)
        self._accounts.forget_all()
        self._audit.note("password changed", name, address=request.address)
        return self.enter(Proven(name, password.hash, False, request.address), request.client)

    def _register(self, name: str, request: PasswordRequest) -> LoginReply:
        prepared = check_new_password(name, request.password)
        self._guessing.check(name, request.address)
        with self._slots.one(request.address):
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
            refuse_past_author(tx, name)
            insert_account(tx, name, password, admin=False, at=self._clock.wall())
            return True

        if not self._store.write(work):
            # The name was taken while the password was hashed: continue with an ordinary log-in.
            if request.register == "must":
                raise AlreadyExists(f"there is an account {name!r} already: log in, or choose another name")
            return self.log_in(request)
        self._audit.note("account made", name, subject=name, address=request.address)
        reply = self.enter(Proven(name, password.hash, False, request.address), request.client)
        reply.created = True
        return reply

    def open_session(self, account: str, client: str, address: str, recheck: Callable[[Tx], bool]) -> LoginReply:
        """Log in an account that was checked.

        `recheck` runs in the transaction of the token: it raises if what was checked has changed, and returns whether
        the account is an administrator's.
        """
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
            admin = recheck(tx)
            tx.run(people.INSERT_SESSION, **values)
            self._audit.write(tx, "log-in", account, "", address, client)
            return admin

        admin = self._store.write(work)
        return LoginReply(token, account, admin, expires_at)

    def enter(self, proven: Proven, client: str) -> LoginReply:
        """Log in after a call that asked for all that a log-in asks for.

        The reply has no token when the account must set up a second factor first.
        """

        def recheck(tx: Tx) -> bool:
            admin = _demand_unchanged(tx, proven)
            self._demand_enrolled(tx, proven)
            return admin

        try:
            return self.open_session(proven.name, client, proven.address, recheck)
        except SecondFactorNeeded:
            return LoginReply(account=proven.name, must_enrol=True)

    # ------------------------------------------------------------ second factors

    def change(self, proven: Proven, code: str, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction in which the account is as it was when its password was compared.

        Wrong codes, which `work` refuses, are counted.
        """

        def whole(tx: Tx) -> T:
            _demand_unchanged(tx, proven)
            return work(tx)

        return self._count_codes(proven, code, lambda: self._store.write(whole))

    def use_code(self, tx: Tx, proven: Proven, code: str) -> None:
        """Use up a code, if the account has a second factor. SecondFactorNeeded for a missing or wrong one."""
        left = self._factors.use_code(tx, proven.name, code)
        if left is not None:
            self._audit.write(tx, "recovery code used", proven.name, address=proven.address, detail=f"{left} left")

    def _demand_enrolled(self, tx: Tx, proven: Proven) -> None:
        if self._factors.must_enrol(tx, proven.name):
            raise SecondFactorNeeded(
                "this account must have a second factor: set it up with `lockstep mfa enable`", reason="enrol"
            )

    def _count_codes(self, proven: Proven, code: str, attempt: Callable[[], T]) -> T:
        """Make an attempt for which the password was right, and count it as failed if the code is wrong.

        Only what passes both makes the address known as the owner's: otherwise whoever has the password could go on
        guessing codes.
        """
        guesses = bool(code) and not is_recovery_code(code)
        if guesses:
            self._code_guesses.take(proven.name)
        counts = False
        try:
            result = attempt()
        except SecondFactorNeeded as error:
            reason = error.facts["reason"]
            counts = reason == "wrong"
            if reason in ("wrong", "used"):
                self._guessing.failed(proven.name, proven.address)
                self._audit.note("log-in refused", proven.name, address=proven.address, detail=f"{reason} code")
            raise
        finally:
            if guesses and not counts:
                self._code_guesses.give_back(proven.name)
        self._guessing.succeeded(proven.name, proven.address)
        return result


def _matches(stored: PasswordHash, password: str) -> bool:
    """Whether it is the password. Older hashes are of the password as it was typed."""
    prepared = prepared_password(password)
    if prepared is None or prepared == password:
        return stored.matches(password)
    return stored.matches(prepared) or stored.matches(password)


def _demand_unchanged(tx: Tx, proven: Proven) -> bool:
    """Raise NotLoggedIn if the account was disabled, or its password changed, since its password was compared; return
    whether it is an administrator's. Comparing takes so long that a reset would otherwise come too late."""
    row = tx.one(people.PASSWORD, name=proven.name)
    if row is None or bytes(row[1]) != proven.hash or row[5]:
        raise NotLoggedIn("this account was changed while you logged in: log in again")
    return bool(row[4])
