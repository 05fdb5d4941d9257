"""The menu on a terminal: editing lines, logging in, the pager, and waiting for the cluster."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.client.menu.line_editor import KEPT_LINES, LineHistory
from lockstep_store.client.menu.terminal import HISTORY, Terminal
from tests.fakes.rest import RestServer
from tests.unit.client.menu.menu_person import Menu, Person, script
from tests.unit.client.real_people import RealPeople

PASSWORD = "a secret word"
CTRL_C, UP, TAB = "\x03", "\x1b[A", "\t"


@pytest.fixture
def person(server: RestServer, folder: Path) -> Person:
    server.core.save("plans/first floor.txt", b"walls")
    server.core.save("plans/second floor.txt", b"roof")
    server.core.save("notes.txt", b"remember")
    person = Person(server, folder, terminal=True)
    person.logs_in("ann")
    return person


def test_tab_completes_files_local_files_and_requests(person: Person, folder: Path) -> None:
    """Names as far as they are clear; several are shown; folders end with a slash."""
    person.presses(f"2 no{TAB}")
    person.sees("notes.txt")
    person.types("")
    person.sees("remember")
    person.presses(f"read pl{TAB}")
    person.sees("plans/")
    person.presses(f"f{TAB}")
    person.sees("first floor.txt")
    person.types("")
    person.sees("walls")
    folder.mkdir()
    (folder / "drawing.svg").write_text("<svg/>")
    person.presses(f"4 dr{TAB}")
    person.sees("drawing.svg")
    person.types("")
    person.sees("saved drawing.svg")
    person.presses(f"vers{TAB}")
    person.sees("versions")
    person.types(" drawing.svg")
    person.sees("1 version")
    person.leaves()


def test_requests_come_back_with_up_in_this_session_and_the_next(person: Person, tmp_path: Path) -> None:
    """In a file that only its owner reads; answers to questions and passwords are not in it."""
    person.types("2 notes.txt")
    person.sees("remember")
    person.presses(f"{UP}\n")
    person.sees("remember")
    person.types("2")
    person.sees("File to read")
    person.types("plans/first floor.txt")
    person.sees("walls")
    person.leaves()
    file = tmp_path / "configuration" / HISTORY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().splitlines() == ["2 notes.txt", "2", "10"]
    assert list(LineHistory(file).load_history_strings()) == ["10", "2", "2 notes.txt"]


def test_the_history_is_bounded_and_does_without_a_file(tmp_path: Path) -> None:
    """The newest lines are kept, and a folder that cannot be made is no error."""
    file = tmp_path / "history"
    file.write_text("".join(f"{number}\n" for number in range(3 * KEPT_LINES)))
    kept = list(LineHistory(file).load_history_strings())
    assert (len(kept), kept[0], kept[-1]) == (KEPT_LINES, str(3 * KEPT_LINES - 1), str(2 * KEPT_LINES))
    assert len(file.read_text().splitlines()) == KEPT_LINES
    nowhere = LineHistory(file / "a file is no folder")
    nowhere.append_string("10")
    assert list(nowhere.load_history_strings()) == []
    assert nowhere.get_strings() == ["10"]


def test_ctrl_c_clears_the_line_and_leaves_from_an_empty_one(person: Person) -> None:
    """What was begun is not carried out."""
    person.presses(f"6 notes.txt{CTRL_C}2 notes.txt\n")
    person.sees("remember")
    person.sees("ann> ")
    person.presses(CTRL_C)
    person.sees("Logged out ann")
    person.ends()


def test_what_is_typed_ahead_goes_to_the_questions_in_order(server: RestServer, folder: Path) -> None:
    """Also the password, which is not shown, and a block of lines that is pasted."""
    server.core.save("a", b"first")
    server.core.save("b", b"second")
    person = Person(server, folder, terminal=True)
    person.sees("User name")
    person.presses("ann\nvery-secret\n2 a\n")
    assert "very-secret" not in person.sees("first")
    person.presses("\x1b[200~2 b\n2 a\n\x1b[201~\n")
    person.sees("second")
    person.sees("first")
    person.leaves()


def test_a_new_name_is_created_only_when_the_person_means_it(people: RealPeople, menu: Menu, folder: Path) -> None:
    """A mistyped name is asked again; a new account needs its password twice."""
    menu("ada", PASSWORD, "10")
    person = Person(people.server, folder, terminal=True)
    person.sees("User name")
    person.types("adda")
    person.sees("Password: ")
    person.types(PASSWORD)
    person.sees("There is no account 'adda'. Create it? [y/N]")
    person.types("")
    person.sees("User name")
    person.types("bob")
    person.sees("Password: ")
    person.types(PASSWORD)
    person.sees("no account 'bob'")
    person.types("y")
    person.sees("again: ")
    person.types("another word")
    person.sees("the two passwords differ")
    person.sees("User name")
    person.types("bob")
    person.sees("Password: ")
    person.types(PASSWORD)
    person.sees("Create it?")
    person.types("yes")
    person.sees("again: ")
    person.types(PASSWORD)
    assert PASSWORD not in person.sees("Your account was created.")
    person.leaves()
    said = menu(people.admin, people.admin_password, "16", "10")
    assert [name for name in ("ada", "adda", "bob") if f"  {name} " in said] == ["ada", "bob"]


def test_a_wrong_password_is_asked_again_without_the_name(server: RestServer, folder: Path) -> None:
    """Enter goes back to the name."""
    script(server, folder)
    script(server, folder, name="bob")
    person = Person(server, folder, terminal=True)
    person.sees("User name")
    person.types("ann")
    person.sees("Password: ")
    person.types("wrong")
    person.sees("Press Enter for another user name.")
    person.sees("Password: ")
    person.types("")
    person.sees("User name")
    person.types("bob")
    person.sees("Password: ")
    person.types("wrong again")
    person.sees("another user name")
    person.sees("Password: ")
    person.types("secret")
    person.sees("Welcome back, bob.")
    person.leaves()


class Screen:
    """A terminal of ten lines on the process's own output, with a pager that writes to a file."""

    def __init__(self, terminal: Terminal, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._terminal = terminal
        self._monkeypatch = monkeypatch
        self.paged, self.printed = folder / "paged", folder / "printed"

    def shows(self, count: int) -> None:
        self._monkeypatch.setattr(sys, "stdout", self._terminal.output)
        self._terminal.page(f"line {number}\nof {number}" for number in range(count))


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    pager = tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\ncat >"{tmp_path}/paged"\necho "$LESSSECURE" >>"{tmp_path}/paged"\n')
    pager.chmod(0o755)
    monkeypatch.setenv("PAGER", str(pager))
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "80")
    with (tmp_path / "printed").open("w") as output, Path(os.devnull).open() as input:
        terminal = Terminal(input, output)
        terminal.interactive = True
        yield Screen(terminal, tmp_path, monkeypatch)


def test_long_lists_go_through_a_pager_that_starts_nothing_else(screen: Screen) -> None:
    """What fits on the screen is printed."""
    screen.shows(4)
    assert not screen.paged.exists()
    assert screen.printed.read_text().splitlines()[-1] == "of 3"
    screen.shows(400)
    assert screen.paged.read_text().splitlines()[-2:] == ["of 399", "1"]


@pytest.mark.parametrize(("pager", "printed"), [("no-such-pager -x", 80_000), (" ", 80_000), ("true", 0)])
def test_a_pager_that_is_missing_or_ends_early_is_no_error(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, pager: str, printed: int
) -> None:
    """Without one everything is printed; one that was left needs no more lines."""
    monkeypatch.setenv("PAGER", pager)
    screen.shows(40_000)
    assert len(screen.printed.read_text().splitlines()) == printed


def test_after_two_seconds_without_an_answer_the_person_hears_why(
    server: RestServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that is slow to answer does not look like a menu that has died."""
    monkeypatch.setattr("lockstep_store.client.api.transport.DELAY_SECONDS", 0.05)
    person = Person(server, folder)
    person.logs_in("ann")
    with server.core._guard:
        person.types("1")
        person.sees("The cluster has not answered yet; still trying (Ctrl-C gives up).")
    person.sees("No files yet")
    person.leaves()


def test_files_are_found_and_shared_in_the_menu(menu: Menu, tmp_path: Path) -> None:
    """Search by words; a link for some days, its list, and its end."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "budget 2027.txt").write_text("much")
    find = ["find budget", "4 budget 2027.txt", "13 BUDGET", "13 bugdet"]
    share = ["share budget 2027.txt", "7", "", "14 budget 2027.txt", "many", "14 budget 2027.txt", "", "a password"]
    end = ["15", "revoke 3", "revoke 2", "15", "10"]
    said = menu("ann", PASSWORD, *find, *share, *end)
    nothing, _, rest = said.partition("saved budget 2027.txt")
    assert "Nothing found for budget." in nothing
    found, _, rest = rest.partition("these are similar")
    assert found.count("budget 2027.txt  ") == 2
    assert rest.count("/s/") == 2
    assert "'many' is no number of days: nothing was shared" in rest
    listed, _, ended = rest.partition("type revoke and a number from that list")
    assert listed.count("files:budget") == 2
    assert listed.count("read, password") == 1
    assert "revoked the link to budget 2027.txt" in ended
    assert ended.count("files:budget") == 1
    assert "a password" not in said
