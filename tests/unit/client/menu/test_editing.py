"""Writing a file in the menu: lock, fetch, show, save, release, and the wait for a lock."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.client.menu.terminal import Terminal
from tests.fakes.rest import RestServer
from tests.unit.client.menu.menu_person import Person, script
from tests.waiting import wait_until


def test_writing_locks_fetches_shows_saves_and_releases(server: RestServer, folder: Path) -> None:
    """The whole of "write to a file", with the person editing while the menu waits for Enter."""
    server.core.save("notes.txt", b"one\ntwo\n")
    person = Person(server, folder)
    person.logs_in("ann")
    person.types("3 notes.txt")
    person.sees("press Enter to save")
    assert (folder / "notes.txt").read_text() == "one\ntwo\n"
    assert len(server.core.locks) == 1
    (folder / "notes.txt").write_text("one\n2\n")
    person.types("")
    said = person.sees("the lock is released")
    assert "-two" in said
    assert "+2" in said
    assert "saved notes.txt version v000002, 6 B, 2/2 copies fsynced" in said
    person.leaves()
    assert server.core.content("notes.txt") == b"one\n2\n"
    assert server.core.history["files", "notes.txt"][-1].lock_number == 1
    assert server.core.locks == {}


def test_a_new_file_begins_empty_or_with_what_is_there(server: RestServer, folder: Path) -> None:
    """Writing a name that does not exist makes it; a local file of that name is the beginning."""
    folder.mkdir()
    (folder / "prepared.txt").write_text("prepared")
    output = script(server, folder, "3 prepared.txt", "", "3 empty.txt", "", "10")
    assert server.core.content("prepared.txt") == b"prepared"
    assert "the new file is empty" in output
    assert server.core.content("empty.txt") is None
    assert sorted(file.name for file in folder.iterdir()) == ["prepared.txt"]


def test_nothing_changed_and_cancel_only_release(server: RestServer, folder: Path) -> None:
    """Neither makes a version, and both give the lock back."""
    server.core.save("f", b"content")
    person = Person(server, folder)
    person.logs_in("ann")
    person.types("3 f")
    person.sees("press Enter")
    person.types("")
    person.sees("nothing changed; the lock is released")
    person.types("3 f")
    person.sees("press Enter")
    (folder / "f").write_text("half-hearted")
    person.types("cancel")
    person.sees("not saved")
    person.leaves()
    assert len(server.core.history["files", "f"]) == 1
    assert server.core.locks == {}


def test_a_different_local_copy_is_set_aside(server: RestServer, folder: Path) -> None:
    """Fetching never destroys what the person has in the folder."""
    server.core.save("f", b"the cluster's")
    folder.mkdir()
    (folder / "f").write_text("my own work")
    output = script(server, folder, "3 f", "", "10")
    assert "kept as" in output
    assert (folder / "f").read_text() == "the cluster's"
    assert [file.read_text() for file in folder.glob("f.local-*")] == ["my own work"]


def test_an_edit_that_cannot_be_saved_is_kept_and_the_message_says_where(server: RestServer, folder: Path) -> None:
    """When the lock is lost during the edit, the save is refused and the work is in local storage."""
    server.core.save("f", b"before")
    person = Person(server, folder)
    person.logs_in("ann")
    person.types("3 f")
    person.sees("press Enter")
    (folder / "f").write_text("precious")
    for lock in list(server.core.locks):
        server.core.drop_lock(lock)
    person.types("")
    said = person.sees("ann> ")
    (kept,) = folder.glob("f.unsaved-*")
    assert kept.read_text() == "precious"
    assert str(kept) in said
    assert (folder / "f").read_text() == "precious"
    person.leaves()
    assert server.core.content("f") == b"before"


def test_ctrl_c_during_an_edit_says_where_the_copy_is(
    server: RestServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the question is a cancel: nothing is saved, the lock is free, and we say where the work is."""
    ask = Terminal.ask

    def interrupted(terminal: Terminal, question: str, *more: Any, **options: Any) -> str:
        if question.startswith("Edit it now"):
            raise KeyboardInterrupt
        return ask(terminal, question, *more, **options)

    monkeypatch.setattr(Terminal, "ask", interrupted)
    server.core.save("f", b"before")
    person = Person(server, folder)
    person.logs_in("ann")
    person.types("3 f")
    said = person.sees("your copy stays in")
    assert "not saved; the lock is released" in said
    person.sees("ann> ")
    assert server.core.locks == {}
    person.leaves()


def test_long_sentences_break_between_words_on_a_terminal(server: RestServer, folder: Path) -> None:
    """No word of a message is cut by the edge of an 80-column terminal."""
    person = Person(server, folder, terminal=True)
    person.logs_in("ann")
    person.types("4 " + " ".join(["word"] * 40))
    said = person.sees("check its name")
    lines = said.split("Not done:")[1].splitlines()
    assert len(lines) > 2
    assert all(len(line) < 80 for line in lines if " " in line)
    person.leaves()


def test_input_that_ends_during_an_edit_keeps_it_and_releases(server: RestServer, folder: Path) -> None:
    """Somebody who disappears leaves no lock behind and loses nothing."""
    server.core.save("f", b"before")
    person = Person(server, folder)
    person.logs_in("ann")
    person.types("3 f")
    person.sees("press Enter")
    (folder / "f").write_text("precious")
    person.closes_input()
    person.sees("your edit is kept in")
    person.ends()
    assert server.core.locks == {}
    assert server.core.content("f") == b"before"
    assert len(list(folder.glob("f.unsaved-*"))) == 1


@pytest.mark.parametrize("terminal", [False, True])
def test_waiting_shows_the_holder_and_the_place_and_goes_on_when_free(
    server: RestServer, folder: Path, terminal: bool
) -> None:
    """A wait says who holds the lock and which place is ours, and ends by itself when it is our turn."""
    server.core.save("f", b"x")
    lock = server.core.take_lock("f", "bob")
    person = Person(server, folder, terminal=terminal)
    person.logs_in("ann")
    person.types("3 f")
    said = person.sees("gives up")
    assert "bob holds f" in said
    assert "number 1 in line" in said
    server.core.drop_lock(lock.id)
    person.sees("locked f under number 2")
    person.sees("press Enter")
    person.types("")
    person.sees("nothing changed")
    person.leaves()
    assert person.code == 0


@pytest.mark.parametrize("terminal", [False, True])
def test_a_wait_can_be_given_up_with_enter(server: RestServer, folder: Path, terminal: bool) -> None:
    """Enter during the wait gives the place back and the menu goes on."""
    server.core.take_lock("f", "bob")
    person = Person(server, folder, terminal=terminal)
    person.logs_in("ann")
    person.types("3 f")
    person.sees("in line")
    assert len(server.core.queue) == 1
    person.types("")
    person.sees("gave up waiting")
    person.types("1")
    person.sees("No files yet")
    person.leaves()
    assert server.core.queue == []


def test_what_was_typed_ahead_is_no_answer_to_a_wait(server: RestServer, folder: Path) -> None:
    """Lines that were in the pipe before the wait answer the questions after it."""
    server.core.save("f", b"x")
    lock = server.core.take_lock("f", "bob")

    def bob_is_done_when_somebody_waits() -> None:
        wait_until(lambda: server.core.queue)
        server.core.drop_lock(lock.id)

    done = threading.Thread(target=bob_is_done_when_somebody_waits)
    done.start()
    output = script(server, folder, "3 f", "", "10")
    done.join()
    assert "bob holds f" in output
    assert "locked f under number 2" in output
    assert "nothing changed" in output


def test_input_that_ends_during_a_wait_gives_it_up(server: RestServer, folder: Path) -> None:
    """Nobody waits in line who is gone."""
    server.core.take_lock("f", "bob")
    person = Person(server, folder)
    person.logs_in("ann")
    person.types("3 f")
    person.sees("in line")
    person.closes_input()
    person.ends()
    assert person.code == 0
    assert server.core.queue == []
    assert len(server.core.locks) == 1


def test_on_a_terminal_the_password_is_not_echoed_and_the_editor_opens(
    server: RestServer, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The terminal shows no password, EDITOR edits the fetched file, and what it changed is saved."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho edited >> "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    server.core.save("f", b"before\n")
    person = Person(server, folder, terminal=True)
    person.sees("User name")
    person.types("ann")
    person.sees("Password: ")
    assert not _echoes(person), "before the question is asked"
    person.types("very-secret")
    said = person.sees("ann> ")
    assert "very-secret" not in said
    person.types("3 f")
    person.sees("+edited")
    person.sees("the lock is released")
    person.leaves()
    assert server.core.content("f") == b"before\nedited\n"


def _echoes(person: Person) -> bool:
    import termios

    return bool(termios.tcgetattr(person._ours)[3] & termios.ECHO)
