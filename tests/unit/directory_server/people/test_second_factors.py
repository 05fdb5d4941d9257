"""Second factors: enrolment, codes, recovery codes, what may be required, and what guessing costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from directory_server.metadata.statements import people
from directory_server.metadata.statements import second_factor as rows
from directory_server.people import totp
from directory_server.people.guessing import CODE_FAILURES, CODE_REFILL_SECONDS, FREE_FAILURES, CodeGuesses
from directory_server.people.own_second_factor import OwnSecondFactor
from directory_server.people.passwords import NO_PASSWORD
from directory_server.people.person import Person
from lockstep_store.wire.errors import Conflict, Damaged, NotFound, NotLoggedIn, SecondFactorNeeded, TooManyRequests
from lockstep_store.wire.messages.people import LoginReply, PasswordRequest
from lockstep_store.wire.messages.second_factor import SecondFactorRequest
from lockstep_store.wire.messages.users import (
    AuditRequest,
    ChangePasswordRequest,
    ChangeUserRequest,
    CreateUserRequest,
    DeleteUserRequest,
)
from tests.authenticator import Authenticator, make_secrets_known
from tests.fakes.clock import ManualClock
from tests.unit.directory_server.people.test_accounts import Door

ADMIN = Person("admin", True, "session-1")
PASSWORD = "a secret word"


class Phone(Authenticator):
    """A person's authenticator app, whose clock is the directory's."""

    def __init__(self, door: Door, secret: str) -> None:
        super().__init__(secret, door.clock.wall)
        self._door = door

    def next(self) -> str:
        """The code of the next step, once it has come."""
        self._door.time.advance(totp.STEP_SECONDS)
        return self.code()


class House(Door):
    """A door with second factors."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.own = OwnSecondFactor(self.log_ins, self.factors, self.accounts)

    def enter(self, code: str = "", name: str = "ann", password: str = PASSWORD, address: str = "home") -> LoginReply:
        return self.log_ins.log_in(PasswordRequest(name, password, "never", address=address, code=code))

    def request(self, code: str = "", name: str = "ann", password: str = PASSWORD) -> SecondFactorRequest:
        return SecondFactorRequest(name, password, code, address="home")

    def enrol(self, name: str = "ann") -> tuple[Phone, list[str]]:
        """Enable a second factor; the phone, and the recovery codes."""
        phone = Phone(self, self.own.begin(self.request(name=name)).secret)
        return phone, self.own.confirm(self.request(phone.code(), name)).recovery_codes

    def events(self) -> list[str]:
        return [event.kind for event in self.audit.read(AuditRequest("")).events]


@pytest.fixture(autouse=True)
def known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    make_secrets_known(monkeypatch)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.log_in("ann")
    yield house
    house.store.close()


def reason_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(SecondFactorNeeded) as refused:
        attempt()
    return str(refused.value.facts["reason"])


def test_a_second_factor_counts_once_it_is_confirmed(house: House) -> None:
    """Until then the password is enough; then a code is asked for, and the first one is used up."""
    begun = house.own.begin(house.request())
    phone = Phone(house, begun.secret)
    assert begun.secret in begun.uri
    assert house.enter().token
    assert reason_of(lambda: house.own.confirm(house.request(phone.wrong()))) == "wrong"
    assert not house.factors.state("ann").enabled
    confirmed = house.own.confirm(house.request(phone.code()))
    assert house.accounts.authenticate(confirmed.login.token).account == "ann"
    assert reason_of(house.enter) == "missing"
    assert reason_of(lambda: house.enter(phone.wrong())) == "wrong"
    assert reason_of(lambda: house.enter(phone.code())) == "used"
    assert house.enter(phone.next()).account == "ann"
    state = house.factors.state("ann")
    assert (state.enabled, state.recovery_codes_left, state.required) == (True, 10, False)
    assert state.enabled_at is not None


def test_enabling_ends_other_log_ins(house: House) -> None:
    """They were made without a code; the reply is a new one."""
    token = house.enter().token
    assert house.accounts.authenticate(token)
    house.enrol()
    with pytest.raises(NotLoggedIn):
        house.accounts.authenticate(token)


def test_beginning_again_replaces_what_was_not_confirmed(house: House) -> None:
    """And nothing replaces a second factor that counts: it has to be disabled, with a code."""
    first, second = (Phone(house, house.own.begin(house.request()).secret) for _ in range(2))
    assert reason_of(lambda: house.own.confirm(house.request(first.code()))) == "wrong"
    house.own.confirm(house.request(second.code()))
    for again in (house.own.begin, house.own.confirm):
        with pytest.raises(Conflict):
            again(house.request(second.next()))


def test_every_change_asks_for_the_password(house: House) -> None:
    """With a wrong one, nothing else is looked at: the answer is that of a log-in."""
    phone, _ = house.enrol()
    before = house.factors.state("ann")
    for change in (house.own.begin, house.own.confirm, house.own.disable, house.own.new_recovery_codes):
        with pytest.raises(NotLoggedIn, match="the name or the password is wrong") as refused:
            change(house.request(phone.next(), password="a wrong word"))
        assert not isinstance(refused.value, SecondFactorNeeded)
    assert house.factors.state("ann") == before


def test_a_code_is_good_around_its_time(house: House) -> None:
    """That of the step before and of the step after too; none that is older than one that was used."""
    phone, _ = house.enrol()
    house.time.advance(10 * totp.STEP_SECONDS)
    assert reason_of(lambda: house.enter(phone.code(2))) == "wrong"
    assert reason_of(lambda: house.enter(phone.code(-2))) == "wrong"
    assert house.enter(phone.code(-1)).token
    assert house.enter(phone.code(1)).token
    assert reason_of(lambda: house.enter(phone.code())) == "used"
    typed = phone.next()
    assert reason_of(lambda: house.enter(typed)) == "used"
    typed = phone.next()
    assert house.enter(f" {typed[:3]}-{typed[3:]} ").token, "as people write it"


@pytest.mark.parametrize("typed", ["12345", "1234567", "abcdef", "²²²²²²", "\x00", "-", "a" * 16, "0" * 16])
def test_what_is_no_code_is_refused(house: House, typed: str) -> None:
    """Digits of other scripts are none."""
    house.enrol()
    assert reason_of(lambda: house.enter(typed)) in ("wrong", "missing")


def test_recovery_codes_work_once(house: House) -> None:
    """In any case, with or without hyphens. Only their hashes are stored."""
    _, codes = house.enrol()
    assert len(set(codes)) == 10
    for used, code in enumerate(reversed(codes)):
        typed = code.upper() if used % 2 else code.replace("-", " ")
        assert house.factors.state("ann").recovery_codes_left == 10 - used
        assert house.enter(typed).token
        assert reason_of(lambda typed=typed: house.enter(typed, address=f"place-{typed}")) == "wrong"
    with house.store.read() as reader:
        assert rows.count_recovery_codes(reader, "ann") == 0
    raw = (Path(house.folder) / "metadata.db").read_bytes() + (Path(house.folder) / "metadata.db-wal").read_bytes()
    assert not any(code.replace("-", "").encode() in raw for code in codes)


def test_new_recovery_codes_replace_the_old_ones(house: House) -> None:
    """And ask for a code: one of the app, or an old one."""
    phone, old = house.enrol()
    assert reason_of(lambda: house.own.new_recovery_codes(house.request())) == "missing"
    assert reason_of(lambda: house.own.new_recovery_codes(house.request(phone.wrong()))) == "wrong"
    new = house.own.new_recovery_codes(house.request(old[0])).recovery_codes
    assert reason_of(lambda: house.enter(old[1])) == "wrong"
    assert house.enter(new[1]).token


def test_disabling_asks_for_a_code(house: House) -> None:
    """Afterwards the password is enough, and neither secret nor recovery codes are left."""
    phone, codes = house.enrol()
    assert reason_of(lambda: house.own.disable(house.request())) == "missing"
    assert reason_of(lambda: house.own.disable(house.request(phone.wrong()))) == "wrong"
    assert reason_of(house.enter) == "missing"
    house.own.disable(house.request(phone.next()))
    assert house.enter().token
    with house.store.read() as reader:
        assert (rows.find(reader, "ann"), rows.count_recovery_codes(reader, "ann")) == (None, 0)
    for change in (house.own.disable, house.own.new_recovery_codes):
        with pytest.raises(Conflict, match="no second factor"):
            change(house.request(codes[0]))


def test_a_password_change_asks_for_a_code(house: House) -> None:
    """It gives a log-in: without a code, the password would be enough for one. Nothing changes without it."""
    phone, _ = house.enrol()
    house.time.advance(totp.STEP_SECONDS)

    def change(code: str) -> LoginReply:
        return house.log_ins.change_password(ChangePasswordRequest("ann", PASSWORD, "another word", code=code))

    assert reason_of(lambda: change("")) == "missing"
    assert reason_of(lambda: change(phone.wrong())) == "wrong"
    assert house.accounts.authenticate(change(phone.code()).token).account == "ann"
    assert reason_of(lambda: house.enter(password="another word")) == "missing"


def test_a_one_time_password_does_not_pass_the_second_factor(house: House) -> None:
    """An administrator's reset replaces the password alone; it enrols nobody either."""
    phone, _ = house.enrol()
    one_time = house.users.reset(ADMIN, "ann").password
    house.time.advance(totp.STEP_SECONDS)
    with pytest.raises(NotLoggedIn, match="one-time password"):
        house.enter(phone.code(), password=one_time)
    for call in (house.own.begin, house.own.confirm, house.own.disable, house.own.new_recovery_codes):
        with pytest.raises(NotLoggedIn, match="one-time password"):
            call(house.request(phone.code(), password=one_time))
    wanted = ChangePasswordRequest("ann", one_time, "another word")
    assert reason_of(lambda: house.log_ins.change_password(wanted)) == "missing"
    wanted.code = phone.code()
    assert house.log_ins.change_password(wanted).token


def test_an_administrator_resets_a_lost_one(house: House) -> None:
    """Which ends the log-ins; the password stays. Who has none is not found."""
    _, codes = house.enrol()
    token = house.enter(codes[0]).token
    assert house.accounts.authenticate(token)
    assert house.users.all(ADMIN).users[0].second_factor
    assert not house.users.reset_second_factor(ADMIN, "ann").second_factor
    with pytest.raises(NotLoggedIn):
        house.accounts.authenticate(token)
    assert house.enter().token
    with pytest.raises(NotFound, match="ann has no second factor"):
        house.users.reset_second_factor(ADMIN, "ann")
    house.own.begin(house.request())
    with pytest.raises(NotFound):
        house.users.reset_second_factor(ADMIN, "ann")


def test_disabled_and_deleted_accounts(house: House) -> None:
    """A right code does not open a disabled account, and a new account of the same name has no second factor."""
    phone, codes = house.enrol()
    house.log_in("boss")
    house.users.change(ADMIN, ChangeUserRequest("", "ann", disabled=True))
    with pytest.raises(NotLoggedIn, match="disabled"):
        house.enter(phone.next())
    house.users.change(ADMIN, ChangeUserRequest("", "ann", disabled=False))
    assert reason_of(house.enter) == "missing"
    house.users.delete(ADMIN, DeleteUserRequest("", "ann"))
    house.users.create(ADMIN, CreateUserRequest("", "ann", password=PASSWORD))
    with house.store.read() as reader:
        assert (rows.find(reader, "ann"), rows.count_recovery_codes(reader, "ann")) == (None, 0)
    assert house.enter().token
    house.enrol()
    assert reason_of(lambda: house.enter(codes[0])) == "wrong"


def test_what_is_refused_is_written_down(house: House) -> None:
    """Enabling, wrong codes, recovery codes, new ones, disabling and resets; with the address where it came from."""
    phone, codes = house.enrol()
    assert reason_of(lambda: house.enter(phone.wrong(), address="cafe")) == "wrong"
    house.enter(codes[0])
    house.own.new_recovery_codes(house.request(phone.next()))
    house.own.disable(house.request(phone.next()))
    house.enrol()
    house.users.reset_second_factor(ADMIN, "ann")
    kinds = [kind for kind in house.events() if kind not in ("log-in", "account made")]
    assert kinds == [
        *("second factor enabled", "log-in refused", "recovery code used", "recovery codes made"),
        *("second factor disabled", "second factor enabled", "second factor reset"),
    ]
    events = {event.kind: event for event in house.audit.read(AuditRequest("")).events}
    refused = events["log-in refused"]
    assert (refused.account, refused.address, refused.detail) == ("ann", "cafe", "wrong code")
    assert events["recovery code used"].detail == "9 left"
    assert (events["second factor reset"].account, events["second factor reset"].subject) == ("admin", "ann")


# ---------------------------------------------------------------- required


def test_an_account_can_be_required_to_have_one(house: House) -> None:
    """Its log-ins end; it can do nothing but enrol, and not disable it again."""
    token = house.enter().token
    assert house.users.change(ADMIN, ChangeUserRequest("", "ann", second_factor_required=True)).second_factor_required
    with pytest.raises(NotLoggedIn):
        house.accounts.authenticate(token)
    assert reason_of(house.enter) == "enrol"
    changed = house.log_ins.change_password(ChangePasswordRequest("ann", PASSWORD, "another word"))
    assert (changed.token, changed.must_enrol) == ("", True)
    house.log_ins.change_password(ChangePasswordRequest("ann", "another word", PASSWORD))
    phone, codes = house.enrol()
    assert house.enter(phone.next()).token
    with pytest.raises(Conflict, match="must have a second factor"):
        house.own.disable(house.request(codes[0]))
    assert house.enter(codes[0]).token, "the code was not used up"
    token = house.enter(phone.next()).token
    house.users.change(ADMIN, ChangeUserRequest("", "ann", second_factor_required=False))
    assert house.accounts.authenticate(token), "who has one is not logged out"
    house.own.disable(house.request(phone.next()))


def test_administrators_can_be_required_to_have_one(tmp_path: Path) -> None:
    """All of them, and nobody else; who becomes one without it is logged out. A start ends older log-ins."""
    house = House(tmp_path, required_of="administrators")
    house.log_in("ann")
    token = house.enter().token
    house.factors.end_sessions_without()
    house.accounts.forget_all()
    assert house.accounts.authenticate(token)
    assert not house.factors.state("ann").required
    house.users.change(ADMIN, ChangeUserRequest("", "ann", role="administrator"))
    assert house.factors.state("ann").required
    with pytest.raises(NotLoggedIn):
        house.accounts.authenticate(token)
    assert reason_of(house.enter) == "enrol"
    _, codes = house.enrol()
    house.factors.end_sessions_without()
    assert house.enter(codes[0]).admin
    house.store.close()


def test_everyone_can_be_required_to_have_one(tmp_path: Path) -> None:
    """A new account is made, and enrols before it gets a token."""
    house = House(tmp_path, required_of="everyone")
    made = house.log_in("ann")
    assert (made.created, made.token, made.must_enrol) == (True, "", True)
    phone, _ = house.enrol()
    assert house.enter(phone.next()).token
    house.store.close()


def test_a_start_ends_log_ins_from_before_it_was_required(tmp_path: Path) -> None:
    """Of those without a second factor, but not those by single sign-on: the provider asks for its own."""
    before = House(tmp_path)
    tokens = {name: before.log_in(name).token for name in ("ann", "ben", "eve")}
    before.store.write(lambda tx: people.set_password(tx, "eve", NO_PASSWORD, must_change=False))
    phone, _ = before.enrol("ben")
    tokens["ben"] = before.enter(phone.next(), "ben").token
    before.store.close()
    after = House(tmp_path, required_of="everyone")
    after.factors.end_sessions_without()
    assert all(after.accounts.authenticate(tokens[name]) for name in ("ben", "eve"))
    with pytest.raises(NotLoggedIn):
        after.accounts.authenticate(tokens["ann"])
    after.store.close()


# ---------------------------------------------------------------- stored


def test_the_secret_is_sealed(house: House) -> None:
    """Neither it nor its base32 text is in the metadata, and it opens under its own account's name only."""
    begun = house.own.begin(house.request())
    phone = Phone(house, begun.secret)
    house.own.confirm(house.request(phone.code()))
    raw = b"".join(file.read_bytes() for file in Path(house.folder).glob("metadata.db*"))
    assert phone.secret not in raw
    assert begun.secret.encode() not in raw
    house.log_in("eve")
    with house.store.read() as reader:
        row = rows.find(reader, "ann")
    assert row is not None
    stolen = rows.FactorRow("eve", row.sealed, -1, row.enabled_at)
    house.store.write(lambda tx: rows.put(tx, stolen))
    with pytest.raises(Damaged, match="an administrator can reset it"):
        house.enter(phone.next(), "eve")


def test_sealed_again_it_still_counts(house: House) -> None:
    """A rotation of the storage keys replaces the sealed bytes unless they have changed."""
    phone, _ = house.enrol()
    with house.store.read() as reader:
        (row,) = house.factors.sealed_rows(reader)
    house.ring.rotate(0.0)
    sealed = house.sealer.seal(row.name, house.sealer.open(row.name, row.sealed))
    assert house.store.write(lambda tx: row.replace(tx, sealed)) == 1
    assert house.store.write(lambda tx: row.replace(tx, sealed)) == 0
    assert house.enter(phone.next()).token


def test_a_used_code_stays_used_across_a_start(house: House, tmp_path: Path) -> None:
    """The last step is in the metadata."""
    phone, _ = house.enrol()
    code = phone.next()
    assert house.enter(code).token
    house.store.close()
    again = House(tmp_path)
    again.time.advance(house.clock.wall() - again.clock.wall())
    assert reason_of(lambda: again.enter(code)) == "used"
    again.store.close()


# ---------------------------------------------------------------- guessing


def test_wrong_codes_are_held_like_wrong_passwords(house: House) -> None:
    """By name and address: the right password between them does not make the address a known one."""
    phone, codes = house.enrol()
    for _ in range(FREE_FAILURES):
        assert reason_of(house.enter) == "missing"
        assert reason_of(lambda: house.enter(phone.wrong())) == "wrong"
    with pytest.raises(TooManyRequests):
        house.enter(phone.code())
    assert house.enter(codes[0], address="elsewhere").token


def test_codes_cannot_be_guessed_from_many_addresses(house: House) -> None:
    """Not even from one where the owner logged in before; a recovery code still opens the door."""
    phone, codes = house.enrol()
    for number in range(CODE_FAILURES):
        assert reason_of(lambda: house.enter(phone.wrong(), address=f"bot-{number}")) == "wrong"  # noqa: B023
    for address in ("bot-0", "bot-new", "home"):
        with pytest.raises(TooManyRequests, match="use a recovery code") as refused:
            house.enter(phone.code(), address=address)
        assert 0 < refused.value.facts["retry_after"] <= CODE_REFILL_SECONDS
    assert house.enter(codes[0]).token
    house.time.advance(CODE_REFILL_SECONDS)
    assert house.enter(phone.code()).token


def test_only_wrong_codes_count_for_the_bound() -> None:
    """Guesses that are under way count too, so that many at once are not more."""
    clock = ManualClock()
    guesses = CodeGuesses(clock.monotonic)
    for _ in range(1000):
        guesses.take("ann")
        guesses.give_back("ann")
    for _ in range(CODE_FAILURES):
        guesses.take("ann")
    with pytest.raises(TooManyRequests):
        guesses.take("ann")
    guesses.take("ben")
    guesses.give_back("ann")
    guesses.take("ann")
    clock.advance(2 * CODE_REFILL_SECONDS)
    guesses.take("ann")
    guesses.take("ann")
    with pytest.raises(TooManyRequests):
        guesses.take("ann")


def test_right_codes_of_others_forget_no_wrong_ones() -> None:
    """Only so many accounts are remembered: those without a wrong code must not displace one that is attacked."""
    guesses = CodeGuesses(ManualClock().monotonic)
    for _ in range(CODE_FAILURES):
        guesses.take("ann")
    for number in range(10_001):
        guesses.take(f"mine-{number}")
        guesses.give_back(f"mine-{number}")
    with pytest.raises(TooManyRequests):
        guesses.take("ann")


@pytest.mark.parametrize("kind", ["code of the app", "recovery code"])
def test_a_code_lets_one_in_of_many_at_once(house: House, kind: str) -> None:
    """Eight log-ins with one code at the same moment: one token."""
    phone, codes = house.enrol()
    house.time.advance(totp.STEP_SECONDS)
    code = phone.code() if kind == "code of the app" else codes[0]
    start = threading.Barrier(8)
    results: list[str] = []

    def enter(number: int) -> None:
        start.wait()
        try:
            house.enter(code, address=f"place-{number}")
            results.append("in")
        except SecondFactorNeeded as refused:
            results.append(refused.facts["reason"])

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results).count("in") == 1, results
    assert set(results) <= {"in", "used", "wrong"}
    with house.store.read() as reader:
        sessions = reader.all(people.SESSIONS_OF, of_account="ann", count=100)
    assert len(sessions) == 2, "that of enrolment, and one more"
