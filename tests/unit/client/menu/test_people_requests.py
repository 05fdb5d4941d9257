"""The menu's requests about people, against a real directory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockstep_store.client.menu import run_menu
from tests.unit.client.real_people import RealPeople, real_people

Menu = Callable[..., str]


@pytest.fixture
def people(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPeople]:
    with real_people(tmp_path, tmp_path_factory.getbasetemp() / "people-certs") as people:
        yield people


@pytest.fixture
def menu(people: RealPeople, tmp_path: Path) -> Menu:
    def menu(*lines: str, code: int = 0) -> str:
        """What the menu says to somebody who types these lines, the first of them to log in."""
        reading, writing = os.pipe()
        os.write(writing, "".join(f"{line}\n" for line in lines).encode())
        os.close(writing)
        output = io.StringIO()
        with os.fdopen(reading) as source:
            ended = run_menu(people.server.url, people.server.ca_file, tmp_path / "local", source, output)
        assert ended == code, output.getvalue()
        return output.getvalue()

    return menu


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
    said = menu(*admin, "disable 1", "create ann", "12", "10")
    assert "show the accounts first" in said
    one_time = re.search(r"one-time password of ann: (\S+)", said)
    assert one_time is not None
    assert re.search(r"^2 +ann +member +one-time password", said, re.MULTILINE)
    said = menu("ann", one_time[1], "my own words", "my own words", "10")
    assert "set your own" in said
    assert "Welcome back, ann" in said
    assert "disabled ann" in menu(*admin, "accounts", "disable 2", "10")
    assert "disabled" in menu("ann", "my own words", "ann", "my own words", code=4)
    said = menu(*admin, "12", "enable 2", "reset 2", "remove 2", "anna", "12", "remove 2", "ann", "12", "10")
    assert "enabled ann" in said
    assert "Nothing was deleted" in said
    assert "deleted ann" in said
    assert not re.search(r"^2 ", said.rpartition("deleted ann")[2].partition("> 10")[0], re.MULTILINE)


def test_an_owner_is_removed_when_somebody_gets_the_buckets(people: RealPeople, menu: Menu) -> None:
    """The menu asks who."""
    from tests.unit.people import client

    menu("bob", "a secret word", "10")
    client(people.server, "ann", "a secret word").create_bucket("anns-files")
    said = menu(people.admin, people.admin_password, "12", "remove 2", "bob", "ann", "10")
    assert "ann owns 1 bucket. Which account gets them?" in said
    assert "deleted ann" in said
    assert client(people.server, "bob", "a secret word").bucket("anns-files").owner == "bob"


def test_security_events_are_shown(people: RealPeople, menu: Menu) -> None:
    """The newest, with who did what."""
    menu("ann", "a secret word", "10")
    said = menu(people.admin, people.admin_password, "13", "10")
    assert re.search(r"account made +ann +ann", said)
    assert "lockstep audit" in said


def test_members_see_no_requests_of_administrators(menu: Menu) -> None:
    """Neither in the menu nor by number or word."""
    said = menu("ann", "a secret word", "12", "accounts", "create bob", "13", "10")
    assert "11  change your password" in said
    assert "12  " not in said
    assert said.count("is not a request") == 4
