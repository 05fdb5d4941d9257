"""User names and passwords that look the same are the same (RFC 8265), and older accounts keep working."""

from __future__ import annotations

import unicodedata

import pytest

from directory_server.people.accounts import insert_account
from directory_server.people.names import prepared_name, prepared_password
from directory_server.people.passwords import PasswordHash
from lockstep_store.wire.errors import AlreadyExists, BadName, BadRequest, NotLoggedIn
from tests.unit.directory_server.people.test_accounts import Door, door

__all__ = ["door"]

COMPOSED = "Jürgen"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ann", "ann"),
        ("Ann", "ann"),
        (COMPOSED, "jürgen"),
        (DECOMPOSED, "jürgen"),
        ("ｂｏｂ", "bob"),
        ("ann  lee", "ann lee"),
        ("ann.lee@example.org", "ann.lee@example.org"),
    ],
)
def test_names_that_look_the_same_are_stored_the_same(typed: str, stored: str) -> None:
    """Case, width, composition and runs of spaces do not tell two people apart, and preparing twice changes nothing."""
    assert prepared_name(typed) == stored
    assert prepared_name(stored) == stored


@pytest.mark.parametrize("name", ["ﬁona", "a\u200db", "Ⅳ", "a\u0378b", "\u00a0"])
def test_a_name_with_lookalike_characters_is_refused(name: str) -> None:
    """Ligatures, invisible joiners, compatibility numerals and unassigned characters imitate other names."""
    with pytest.raises(BadName):
        prepared_name(name)


def test_passwords_are_composed_and_keep_their_case() -> None:
    """Only composition and the kind of spaces are mapped."""
    assert prepared_password(f"{DECOMPOSED} x") == f"{COMPOSED} x"
    assert prepared_password("a\u00a0b") == "a b"
    assert prepared_password("tab\t") is None


def test_another_spelling_logs_in_to_the_same_account(door: Door) -> None:
    """One account, whatever the keyboard composes, and the reply names it as it is stored."""
    assert door.log_in(COMPOSED, f"{COMPOSED} 1").created
    again = door.log_in(DECOMPOSED, f"{DECOMPOSED} 1")
    assert (again.account, again.created) == ("jürgen", False)
    with pytest.raises(NotLoggedIn):
        door.log_in(DECOMPOSED, "wrong")
    with pytest.raises(AlreadyExists):
        door.log_in("JÜRGEN", register="must")


@pytest.mark.parametrize("stored", ["Ann", DECOMPOSED, "ﬁona"])
def test_an_older_account_keeps_its_name_and_password(door: Door, stored: str) -> None:
    """It was stored as typed, and so was the hash of its password."""
    password = f"{DECOMPOSED}\t2"
    door.store.write(lambda tx: insert_account(tx, stored, PasswordHash.of(password), admin=False, at=1.0))
    assert door.log_in(stored, password, register="never").account == stored


@pytest.mark.parametrize(("stored", "typed"), [("Ann", "ann"), (DECOMPOSED, COMPOSED), (DECOMPOSED, "jürgen")])
def test_nobody_registers_beside_an_older_account(door: Door, stored: str, typed: str) -> None:
    """Another spelling of an older name means that account; it makes no second one."""
    door.store.write(lambda tx: insert_account(tx, stored, PasswordHash.of("a secret word"), admin=False, at=1.0))
    assert door.log_in(typed).account == stored
    with pytest.raises(AlreadyExists):
        door.log_in(typed, register="must")


def test_older_accounts_that_look_the_same_stay_two(door: Door) -> None:
    """Each is found by its exact spelling; any other spelling means the older one."""
    for at, name in enumerate((DECOMPOSED, COMPOSED)):
        hashed = PasswordHash.of(f"secret {at}")
        door.store.write(lambda tx, n=name, h=hashed, a=at: insert_account(tx, n, h, admin=False, at=float(a)))  # type: ignore[misc]
    assert door.log_in(DECOMPOSED, "secret 0", register="never").account == DECOMPOSED
    assert door.log_in(COMPOSED, "secret 1", register="never").account == COMPOSED
    assert door.log_in("jürgen", "secret 0", register="never").account == DECOMPOSED


def test_a_new_account_needs_an_allowed_name_and_password(door: Door) -> None:
    """Refused before anything is stored; an unknown name without registration is refused like a wrong password."""
    with pytest.raises(BadName):
        door.log_in("ﬁona")
    with pytest.raises(BadRequest):
        door.log_in("fiona", "bell\x07")
    with pytest.raises(NotLoggedIn):
        door.log_in("ﬁona", register="never")
    assert door.log_in("fiona").created
