"""Nobody gets an account whose name can be taken for another's, or a password that is guessed first."""

from __future__ import annotations

import pytest

from directory_server.people.accounts import insert_account
from directory_server.people.look_alikes import skeleton
from directory_server.people.passwords import PasswordHash
from directory_server.people.person import Person
from lockstep_store.wire.errors import AlreadyExists, BadRequest, NotLoggedIn
from lockstep_store.wire.messages.users import CreateUserRequest, DeleteUserRequest
from tests.unit.directory_server.people.test_accounts import Door, door

__all__ = ["door"]

CYRILLIC_A = "\u0430"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anna", f"ann{CYRILLIC_A}"),
        ("Anna", f"{CYRILLIC_A}nna"),
        ("paypal", "paypa1"),
        ("bob", "b0b"),
        ("modern", "modem"),
        ("rene", "ren\u0435"),
        ("co-op", "co\u2010op"),
        ("\u0391\u03bd\u03b1", "Ava"),  # Greek
    ],
)
def test_names_that_can_be_taken_for_each_other_have_one_skeleton(one: str, other: str) -> None:
    """Letters of other scripts, digits, and letters side by side."""
    assert skeleton(one) == skeleton(other)


def test_names_that_differ_have_skeletons_that_differ() -> None:
    """Numbers, accents and similar words tell people apart."""
    names = [*(f"person-{number}" for number in range(2000)), "jurgen", "jürgen", "anna", "anne", "ann", "tim", "jim"]
    assert len({skeleton(name) for name in names}) == len(names)


def test_a_look_alike_is_refused(door: Door) -> None:
    """The sentence does not name the other account to strangers; the account itself logs in as ever."""
    assert door.log_in("anna", "a secret word").created
    for typed in (f"ann{CYRILLIC_A}", f"ANN{CYRILLIC_A.upper()}"):
        with pytest.raises(AlreadyExists, match="looks like the name of another account") as refused:
            door.log_in(typed, "a secret word")
        assert "'anna'" not in str(refused.value)
        with pytest.raises(NotLoggedIn):
            door.log_in(typed, "a secret word", register="never")
    assert not door.log_in("Anna", "a secret word").created


def test_an_administrator_is_told_which_account_it_is(door: Door) -> None:
    """And may make it when the other one has been deleted."""
    door.log_in("anna", "a secret word")
    users = door.users
    admin = Person("admin", True, "session-1")
    request = CreateUserRequest("", f"ann{CYRILLIC_A}")
    with pytest.raises(AlreadyExists, match="looks like the account 'anna'"):
        users.create(admin, request)
    users.delete(admin, DeleteUserRequest("", "anna"))
    assert users.create(admin, request).user.name == request.name
    with pytest.raises(AlreadyExists):
        users.create(admin, CreateUserRequest("", "anna"))


def test_older_accounts_that_look_alike_stay(door: Door) -> None:
    """Both log in; a third is refused."""
    for name in ("anna", f"ann{CYRILLIC_A}"):
        hashed = PasswordHash.of("a secret word")
        door.store.write(lambda tx, n=name, h=hashed: insert_account(tx, n, h, admin=False, at=1.0))  # type: ignore[misc]
    for name in ("anna", f"ann{CYRILLIC_A}"):
        assert door.log_in(name, "a secret word").account == name
    with pytest.raises(AlreadyExists):
        door.log_in(f"{CYRILLIC_A}nna", "a secret word")


@pytest.mark.parametrize("password", ["password", "Password1", "12345678", "PASSW0RD", "iloveyou", "lockstep"])
def test_common_passwords_are_refused(door: Door, password: str) -> None:
    """In any case; for new accounts and for changed passwords."""
    with pytest.raises(BadRequest, match="most common"):
        door.log_in("anna", password)
    assert door.log_in("anna", "a secret word").created
