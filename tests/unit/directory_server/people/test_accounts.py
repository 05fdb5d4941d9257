"""Accounts, log-ins, API keys, and the first administrator."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from directory_server.cluster.directory_clock import DirectoryClock
from directory_server.defaults import TOKEN_SECONDS, Requirement
from directory_server.metadata.statements import people
from directory_server.metadata.store import Tx
from directory_server.people import passwords
from directory_server.people.access_keys import S3Keys
from directory_server.people.accounts import Accounts, insert_account
from directory_server.people.administrator import AdminCredentials, ensure_administrator
from directory_server.people.audit import AuditJournal
from directory_server.people.guessing import FREE_FAILURES
from directory_server.people.log_ins import LogIns
from directory_server.people.passwords import PasswordHash
from directory_server.people.second_factors import SecondFactors
from directory_server.people.users import Users
from lockstep_store.runtime.storage.sealing import KeyRing, Sealer
from lockstep_store.wire.errors import (
    AlreadyExists,
    BadName,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotLoggedIn,
    SetupError,
    TooManyRequests,
)
from lockstep_store.wire.messages.people import LoginReply, PasswordRequest
from lockstep_store.wire.messages.users import ChangePasswordRequest
from tests.fakes.cheap_setup import REAL_OF
from tests.fakes.clock import ManualClock
from tests.fakes.metadata_engines import open_metadata


class Door:
    """Accounts on a store, with a clock that is moved by hand and cheap password hashing."""

    def __init__(self, folder: Path, registration_open: bool = True, required_of: Requirement = "nobody") -> None:
        self.time = ManualClock()
        self.store = open_metadata(folder / "metadata.db")
        self.clock = DirectoryClock(self.time)
        self.folder = folder
        self.ring = KeyRing.load_or_create(folder / "storage-keys.json")
        self.sealer = sealer = Sealer(self.ring)
        keys = S3Keys(self.store, self.clock, lambda: sealer)
        self.audit = AuditJournal(self.store, self.clock)
        self.accounts = Accounts(self.store, self.clock, keys, audit=self.audit)
        self.factors = SecondFactors(self.store, self.clock, lambda: sealer, required_of)
        self.log_ins = LogIns(self.store, self.clock, self.accounts, self.factors, registration_open=registration_open)
        self.users = Users(self.store, self.clock, self.log_ins, self.accounts, self.factors, self.audit)

    def log_in(self, name: str, password: str = "a secret word", register: str = "if_new") -> LoginReply:
        return self.log_ins.log_in(PasswordRequest(name, password, register))  # type: ignore[arg-type]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    door.store.close()


def test_the_first_log_in_makes_the_account(door: Door) -> None:
    """A new name and password is an account at once; the next log-in must match."""
    first, second = door.log_in("ann"), door.log_in("ann")
    assert (first.created, second.created) == (True, False)
    assert first.token != second.token
    for token in (first.token, second.token):
        assert door.accounts.authenticate(token).account == "ann"
    with pytest.raises(NotLoggedIn):
        door.log_in("ann", "wrong")


def test_tokens_have_the_promised_form(door: Door) -> None:
    """`lst_` and 43 characters; API keys `lsk_` and 43."""
    token = door.log_in("ann").token
    key = door.accounts.create_api_key(door.accounts.authenticate(token), "laptop").key
    assert (token[:4], len(token), key[:4], len(key)) == ("lst_", 47, "lsk_", 47)


def test_secrets_are_not_kept(door: Door, tmp_path: Path) -> None:
    """Neither a password nor a token nor an API key stands in the database file."""
    token = door.log_in("ann", "correct horse battery").token
    key = door.accounts.create_api_key(door.accounts.authenticate(token), "laptop").key
    door.store.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"laptop" in kept
    for secret in ("correct horse battery", token, key):
        assert secret.encode() not in kept


@pytest.mark.parametrize("credential", ["", "lst_wrong", "lsk_wrong", "rubbish", "lst_" + "é" * 43, "\ud800"])
def test_what_nobody_has_is_nobodys(door: Door, credential: str) -> None:
    """Empty, wrong and malformed credentials are all NotLoggedIn."""
    with pytest.raises(NotLoggedIn):
        door.accounts.authenticate(credential)


def test_a_log_in_ends(door: Door) -> None:
    """By directory time, whether or not the token was used in between; the wall clock does not end it."""
    token = door.log_in("ann").token
    door.time.step_wall(10 * TOKEN_SECONDS)
    door.time.advance(TOKEN_SECONDS - 1)
    assert door.accounts.authenticate(token).account == "ann"
    door.time.advance(1)
    for _ in range(2):
        with pytest.raises(NotLoggedIn):
            door.accounts.authenticate(token)
    door.store.write(door.accounts.remove_ended)
    with door.store.read() as reader:
        assert reader.one(people.SESSION, hash=bytes(32)) is None


def test_logging_out_ends_that_log_in_only(door: Door) -> None:
    """The token is worthless at once, though it was just used; others go on; logging out again is no error."""
    first, second = door.log_in("ann").token, door.log_in("ann").token
    door.accounts.authenticate(first)
    door.accounts.log_out(first)
    door.accounts.log_out(first)
    with pytest.raises(NotLoggedIn):
        door.accounts.authenticate(first)
    assert door.accounts.authenticate(second).account == "ann"


def test_api_keys_live_until_revoked(door: Door) -> None:
    """A key works for ever, is listed without its secret, and is worthless once revoked, by its owner only."""
    ann = door.accounts.authenticate(door.log_in("ann").token)
    bob = door.accounts.authenticate(door.log_in("bob").token)
    made = door.accounts.create_api_key(ann, "laptop")
    door.time.advance(100 * TOKEN_SECONDS)
    assert door.accounts.authenticate(made.key).account == "ann"
    (listed,) = door.accounts.api_keys(ann).keys
    assert (listed.id, listed.name, listed.key) == (made.id, "laptop", "")
    with pytest.raises(NotFound):
        door.accounts.revoke_api_key(bob, made.id)
    with pytest.raises(BadRequest):
        door.accounts.log_out(made.key)
    door.accounts.revoke_api_key(ann, made.id)
    with pytest.raises(NotLoggedIn):
        door.accounts.authenticate(made.key)


def test_api_keys_are_bounded(door: Door) -> None:
    """Nobody can fill the store with keys."""
    ann = door.accounts.authenticate(door.log_in("ann").token)
    for number in range(100):
        door.accounts.create_api_key(ann, f"key {number}")
    with pytest.raises(Conflict):
        door.accounts.create_api_key(ann, "one more")


def test_a_look_up_under_way_does_not_outlive_a_log_out(door: Door) -> None:
    """A look-up that read the session before the log-out, and is answered after it, is not remembered."""
    token = door.log_in("ann").token
    known = door.accounts._known
    generation = known.generation
    person = door.accounts.authenticate(token)
    door.accounts.log_out(token)
    known.keep(b"hash", person, generation)
    assert known.get(b"hash") is None


def test_closed_registration_makes_no_accounts(tmp_path: Path) -> None:
    """Unknown names are refused as wrong passwords are; asking for an account is forbidden."""
    door = Door(tmp_path, registration_open=False)
    with pytest.raises(NotLoggedIn):
        door.log_in("ann")
    with pytest.raises(Forbidden):
        door.log_in("ann", register="must")
    with pytest.raises(NotLoggedIn, match="the name or the password is wrong") as refused:
        door.log_in("ann", register="never")
    assert not refused.value.facts, "which names exist is not for strangers"
    door.store.close()


def test_registering_and_logging_in_can_be_kept_apart(door: Door) -> None:
    """`must` refuses a known name, `never` an unknown one: a menu asks whether it was mistyped."""
    with pytest.raises(NotLoggedIn, match="there is no account 'ann'") as refused:
        door.log_in("ann", register="never")
    assert refused.value.facts == {"no_account": True}
    assert door.log_in("ann", register="must").created
    with pytest.raises(AlreadyExists):
        door.log_in("ann", register="must")
    assert not door.log_in("ann", register="never").created


@pytest.mark.parametrize("name", ["", " ann", "a/b", "a:b", "a\nb", "x" * 65])
def test_names_are_checked(door: Door, name: str) -> None:
    """A name that could not be shown or quoted is refused before anything else."""
    with pytest.raises(BadName):
        door.log_in(name)


def test_guessing_is_slowed_down(door: Door) -> None:
    """After five wrong passwords a name must wait, twice as long each time; the right one then forgives."""
    door.log_in("ann", "right word")
    for _ in range(FREE_FAILURES):
        with pytest.raises(NotLoggedIn):
            door.log_in("ann", "wrong")
    with pytest.raises(TooManyRequests) as refused:
        door.log_in("ann", "right word")
    assert refused.value.facts["seconds_left"] == 1.0
    door.log_in("bob")
    door.time.advance(1.5)
    with pytest.raises(NotLoggedIn):
        door.log_in("ann", "wrong")
    door.time.advance(1.5)
    with pytest.raises(TooManyRequests):
        door.log_in("ann", "right word")
    door.time.advance(1)
    door.log_in("ann", "right word")
    with pytest.raises(NotLoggedIn):
        door.log_in("ann", "wrong")
    door.log_in("ann", "right word")


def test_racing_registrations_make_one_account(door: Door) -> None:
    """Of many first log-ins with one name and different passwords, one password becomes the account's."""
    replies: list[LoginReply | Exception] = []

    def register(password: str) -> None:
        try:
            replies.append(door.log_in("ann", password))
        except NotLoggedIn as refused:
            replies.append(refused)

    threads = [threading.Thread(target=register, args=(f"password {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(reply, LoginReply) and reply.created for reply in replies) == 1
    assert sum(isinstance(reply, NotLoggedIn) for reply in replies) == 3


def test_who_am_i(door: Door) -> None:
    """Name, rights and until when, without any secret."""
    reply = door.log_in("ann")
    info = door.accounts.who_am_i(reply.token)
    assert (info.name, info.admin, info.expires_at) == ("ann", False, reply.expires_at)
    assert reply.token not in repr(reply)
    assert info.session not in reply.token
    with pytest.raises(Forbidden):
        door.accounts.administrator(reply.token)


def test_the_first_start_makes_an_administrator(door: Door, tmp_path: Path) -> None:
    """The file is its owner's alone, and its name, password and key work; the next start leaves both alone."""
    file = tmp_path / "credentials" / "admin.json"
    assert ensure_administrator(door.store, file, 0.0) == "admin"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = msgspec.json.decode(file.read_bytes(), type=AdminCredentials)
    assert door.log_in(found.username, found.password, "never").admin
    assert door.accounts.administrator(found.api_key).account == "admin"
    file.write_text("changed by hand")
    ensure_administrator(door.store, file, 0.0)
    assert file.read_text() == "changed by hand"


def test_closed_registration_reveals_no_name(tmp_path: Path) -> None:
    """Who asks for an account of a name that exists gets the refusal that a free name gets."""
    door = Door(tmp_path, registration_open=False)
    door.store.write(lambda tx: insert_account(tx, "ann", PasswordHash.of("a secret word"), admin=False, at=1.0))
    said = []
    for name in ("ann", "free"):
        with pytest.raises(Forbidden) as refused:
            door.log_in(name, register="must")
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert door.log_in("ann").account == "ann"
    door.store.close()


def test_an_administrator_whose_account_was_deleted_stays_away(door: Door, tmp_path: Path) -> None:
    """The credentials file makes the first administrator, not one that was deleted beside another."""
    file = tmp_path / "admin.json"
    ensure_administrator(door.store, file, 0.0)
    found = msgspec.json.decode(file.read_bytes(), type=AdminCredentials)
    door.store.write(lambda tx: insert_account(tx, "zoe", PasswordHash.of("a secret word"), admin=True, at=1.0))
    door.store.write(lambda tx: tx.run(people.DELETE_ACCOUNT, of_account="admin"))
    assert ensure_administrator(door.store, file, 0.0) == "zoe"
    with pytest.raises(NotLoggedIn):
        door.log_in(found.username, found.password, "never")


class Meanwhile:
    """Does something while a log-in compares or makes hashes, which takes a quarter of a second in real life."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
        self._do: Callable[[], object] | None = do
        for name in ("matches", "of"):
            real = getattr(PasswordHash, name)
            monkeypatch.setattr(PasswordHash, name, self._then(real))

    def _then(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def hash(*args: Any, **options: Any) -> Any:
            found = real(*args, **options)
            do, self._do = self._do, None
            if do is not None:
                do()
            return found

        return hash


def weaken(door: Door, name: str) -> None:
    """Store the account's password as an older version hashed it."""
    weak = REAL_OF.__get__(None, PasswordHash)("a secret word", 4, 1)
    door.store.write(lambda tx: people.set_password(tx, name, weak, must_change=False))


CHANGES: dict[str, Callable[[Tx, PasswordHash], object]] = {
    "reset": lambda tx, other: people.set_password(tx, "ann", other, must_change=True),
    "disabled": lambda tx, _: people.set_state(tx, "ann", administrator=False, read_only=False, disabled=True),
    "deleted": lambda tx, _: tx.run(people.DELETE_ACCOUNT, of_account="ann"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("weak", [False, True], ids=["", "hashed anew"])
def test_a_log_in_under_way_ends_with_the_account(
    door: Door, monkeypatch: pytest.MonkeyPatch, change: Callable[[Tx, PasswordHash], object], weak: bool
) -> None:
    """A reset that comes while the old password is compared is not undone by the log-in, which gets no token."""
    door.log_in("ann")
    if weak:
        weaken(door, "ann")
    other = PasswordHash.of("one-time password")
    Meanwhile(monkeypatch, lambda: door.store.write(lambda tx: change(tx, other)))
    with pytest.raises(NotLoggedIn, match="was changed while you logged in"):
        door.log_in("ann", register="never")
    with door.store.read() as reader:
        row = reader.one(people.PASSWORD, name="ann")
        assert len(reader.all(people.SESSIONS_OF, of_account="ann", count=10)) == 1, "of before the change"
    if change is CHANGES["reset"]:
        assert row is not None
        assert bytes(row[1]) == other.hash


def test_a_change_of_password_under_way_does_not_undo_a_reset(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows the old password, and keeps changing it, must not win against an administrator's reset."""
    door.log_in("ann")
    other = PasswordHash.of("one-time password")
    Meanwhile(monkeypatch, lambda: door.store.write(lambda tx: CHANGES["reset"](tx, other)))
    with pytest.raises(NotLoggedIn, match="was changed while you logged in"):
        door.log_ins.change_password(ChangePasswordRequest("ann", "a secret word", "the thief's own word"))
    with door.store.read() as reader:
        row = reader.one(people.PASSWORD, name="ann")
    assert row is not None
    assert bytes(row[1]) == other.hash


def test_a_first_start_cut_short_is_finished_with_the_same_values(door: Door, tmp_path: Path) -> None:
    """A file without an account gives the account its values; one that cannot be used says what to do."""
    file = tmp_path / "admin.json"
    given = AdminCredentials("admin", "from the file", "lsk_" + "k" * 43, "LSX", "secret")
    file.write_bytes(b"{}")
    with pytest.raises(SetupError, match="move it away"):
        ensure_administrator(door.store, file, 0.0)
    file.write_bytes(msgspec.json.encode(given))
    ensure_administrator(door.store, file, 0.0)
    assert door.log_in("admin", "from the file", "never").admin
    assert door.accounts.administrator(given.api_key).admin


def test_password_hashes_are_slow_and_salted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real parameters are those of RFC 7914 with N = 2**15, and equal passwords hash differently."""
    monkeypatch.setattr(PasswordHash, "of", REAL_OF)
    first, second = PasswordHash.of("secret"), PasswordHash.of("secret")
    assert first.hash != second.hash
    assert first.matches("secret")
    assert not first.matches("Secret")
    assert first.log_n == second.log_n == passwords.NOBODY.log_n == 15
    assert first.p == passwords.NOBODY.p == 3


def test_a_weaker_hash_is_replaced_at_log_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one of today's setting, of the same password; a wrong password replaces nothing."""
    door.log_in("ann")

    def stored() -> tuple[object, ...]:
        with door.store.read() as reader:
            row = reader.one(people.PASSWORD, name="ann")
        assert row is not None
        return row[:4]

    before = stored()
    monkeypatch.setattr(passwords, "CURRENT", (5, 3))
    monkeypatch.setattr(PasswordHash, "of", classmethod(lambda cls, password: REAL_OF.__func__(cls, password, 5, 3)))
    with pytest.raises(NotLoggedIn):
        door.log_in("ann", "a wrong word")
    assert stored() == before
    door.log_in("ann")
    assert stored()[2:] == (5, 3)
    again = stored()
    door.log_in("ann")
    assert stored() == again
