"""The menu's requests about people, against a real directory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.client.menu import second_factor_requests as requests
from lockstep_store.client.menu.terminal import Terminal
from lockstep_store.wire.messages.second_factor import NewSecondFactor
from tests.authenticator import Authenticator
from tests.unit.client.menu.menu_person import Menu, Person
from tests.unit.client.real_people import RealPeople

PASSWORD = "a secret word"


def test_a_password_is_changed_in_the_menu(menu: Menu) -> None:
    """The new one is asked twice; none is printed; the person stays logged in."""
    said = menu("ann", "a secret word", "11", "a secret word", "my own words", "my own word", "10")
    assert "the two passwords differ: nothing was changed" in said
    said = menu("ann", "a secret word", "11", "a secret word", "my own words", "my own words", "1", "10")
    assert "Your password was changed" in said
    assert "No files yet" in said
    assert "secret word" not in said
    assert "own words" not in said
    assert "wrong" in menu("ann", "a secret word", "ann", "my own words", "10")


def test_administrators_manage_accounts(people: RealPeople, menu: Menu) -> None:
    """Create, disable, enable, reset and remove, by the numbers of the list."""
    admin = (people.admin, people.admin_password)
    said = menu(*admin, "disable 1", "create ann", "16", "10")
    assert "show the accounts first" in said
    one_time = re.search(r"one-time password of ann: (\S+)", said)
    assert one_time is not None
    assert re.search(r"^2 +ann +member +one-time password", said, re.MULTILINE)
    said = menu("ann", one_time[1], "my own words", "my own words", "10")
    assert "set your own" in said
    assert "Welcome back, ann" in said
    assert "disabled ann" in menu(*admin, "accounts", "disable 2", "10")
    assert "disabled" in menu("ann", "my own words", "ann", "my own words", code=4)
    said = menu(*admin, "16", "enable 2", "reset 2", "remove 2", "anna", "16", "remove 2", "ann", "16", "10")
    assert "enabled ann" in said
    assert "Nothing was deleted" in said
    assert "deleted ann" in said
    assert not re.search(r"^2 ", said.rpartition("deleted ann")[2].partition("> 10")[0], re.MULTILINE)


def test_an_owner_is_removed_when_somebody_gets_the_buckets(people: RealPeople, menu: Menu) -> None:
    """The menu asks who."""
    from tests.unit.people import client

    menu("bob", "a secret word", "10")
    client(people.server, "ann", "a secret word").create_bucket("anns-files")
    said = menu(people.admin, people.admin_password, "16", "remove 2", "bob", "ann", "10")
    assert "ann owns 1 bucket. Which account gets them?" in said
    assert "deleted ann" in said
    assert client(people.server, "bob", "a secret word").bucket("anns-files").owner == "bob"


def test_security_events_are_shown(people: RealPeople, menu: Menu) -> None:
    """The newest, with who did what."""
    menu("ann", "a secret word", "10")
    said = menu(people.admin, people.admin_password, "17", "10")
    assert re.search(r"account made +ann +ann", said)
    assert "lockstep audit" in said


def test_members_see_no_requests_of_administrators(menu: Menu) -> None:
    """Neither in the menu nor by number or word."""
    said = menu("ann", "a secret word", "16", "accounts", "create bob", "17", "10")
    assert "11  change your password" in said
    assert "16  " not in said
    assert said.count("is not a request") == 4


class Phone:
    """Knows the secret that a menu showed last, and types the words CODE and WRONG as codes."""

    def __init__(self, people: RealPeople, monkeypatch: pytest.MonkeyPatch) -> None:
        self._wall = people.cluster.directory.clock.wall
        self.app: Authenticator | None = None
        self.recovery: list[str] = []
        show, recover, ask = requests.secret_text, requests.recovery_text, Terminal.ask

        def shown(made: NewSecondFactor, **given: Any) -> str:
            self.app = Authenticator(made.secret, self._wall)
            return show(made, **given)

        def recovered(codes: list[str]) -> str:
            self.recovery = codes
            return recover(codes)

        def asked(terminal: Terminal, question: str, *more: Any, **options: Any) -> str:
            line = ask(terminal, question, *more, **options)
            if line == "RECOVERY":
                return self.recovery.pop()
            assert self.app is not None or line not in ("CODE", "WRONG")
            return {"CODE": self.app.code(), "WRONG": self.app.wrong()}.get(line, line) if self.app else line

        monkeypatch.setattr(requests, "secret_text", shown)
        monkeypatch.setattr(requests, "recovery_text", recovered)
        monkeypatch.setattr(Terminal, "ask", asked)


@pytest.fixture
def phone(people: RealPeople, monkeypatch: pytest.MonkeyPatch) -> Phone:
    return Phone(people, monkeypatch)


def test_a_second_factor_is_set_up_and_asked_for(people: RealPeople, menu: Menu, phone: Phone) -> None:
    """A wrong first code is asked again; the next log-in asks for a code after the password."""
    said = menu("ann", PASSWORD, "12", "no", "mfa", "yes", PASSWORD, "WRONG", "CODE", "12", "", "10")
    assert "No second factor." in said
    assert "the code is wrong" in said
    assert re.search(r"^address: otpauth://totp/Lockstep:ann\?secret=", said, re.MULTILINE)
    assert len(re.findall(r"^[a-z2-7]{4}(?:-[a-z2-7]{4}){3}$", said, re.MULTILINE)) == 10
    assert "10 recovery codes left." in said
    assert PASSWORD not in said
    said = menu("ann", PASSWORD, "CODE", "RECOVERY", "10")
    assert said.index("Password: ") < said.index("Code from your authenticator app") < said.index("used already")
    assert "Welcome back, ann." in said
    said = menu("ann", PASSWORD, code=4)
    assert "Code from your authenticator app" in said


def test_recovery_codes_and_disabling_in_the_menu(people: RealPeople, menu: Menu, phone: Phone) -> None:
    """Both ask for the password and a code; a wrong password does not log the person out."""
    menu("ann", PASSWORD, "mfa", "yes", PASSWORD, "CODE", "10")
    said = menu("ann", PASSWORD, "RECOVERY", "mfa", "codes", "a wrong word", "mfa", "codes", PASSWORD, "RECOVERY", "10")
    assert "Not done: the name or the password is wrong" in said
    assert "Your log-in has ended" not in said
    assert "The earlier recovery codes no longer work" in said
    said = menu("ann", PASSWORD, "RECOVERY", "11", PASSWORD, "my own words", "my own words", "RECOVERY", "10")
    assert "Your password was changed" in said
    said = menu("ann", "my own words", "RECOVERY", "mfa", "disable", "my own words", "RECOVERY", "10")
    assert "the password alone logs you in" in said
    assert "Code of your" not in menu("ann", "my own words", "10")


def test_who_must_have_one_sets_it_up_at_the_log_in(people: RealPeople, menu: Menu, phone: Phone) -> None:
    """Also after a one-time password; an administrator resets a lost one by its number."""
    menu("ann", PASSWORD, "10")
    admin = (people.admin, people.admin_password)
    require = people.cluster.ask("PATCH", "/users/ann", b'{"second_factor_required": true}')
    assert require.status == 200
    said = menu("ann", PASSWORD, "CODE", "10")
    assert "must have a second factor" in said
    assert "Welcome back, ann." in said
    said = menu(*admin, "16", "reset-mfa 2", "reset 2", "10")
    assert re.search(r"^2 +ann +member +enabled +yes ", said, re.MULTILINE)
    assert "ann no longer has a second factor" in said
    one_time = re.search(r"one-time password of ann: (\S+)", said)
    assert one_time is not None
    said = menu("ann", one_time[1], "my own words", "my own words", "CODE", "10")
    assert "Your password was changed" in said
    assert "Welcome back, ann." in said


def test_a_qr_code_is_drawn_on_a_terminal_only(people: RealPeople, tmp_path: Path) -> None:
    """In black on white, whatever the terminal's colours are."""
    person = Person(people.server, tmp_path / "local", terminal=True)
    person.sees("User name")
    person.types("ann")
    person.sees("Password: ")
    person.types(PASSWORD)
    person.sees("no account 'ann'")
    person.types("y")
    person.sees("again: ")
    person.types(PASSWORD)
    person.sees("ann> ")
    person.types("mfa")
    person.sees("Type yes")
    person.types("yes")
    person.sees("Password: ")
    person.types(PASSWORD)
    drawn = person.sees("address: otpauth://")
    lines = [line for line in drawn.splitlines() if line.startswith("\x1b[97;40m")]
    assert len(lines) > 15
    person.sees("The code that the app shows now")
    person.types("")
    person.sees("the code is wrong")
    person.types("")
    person.types("")
    person.sees("ann> ")
    person.leaves()
