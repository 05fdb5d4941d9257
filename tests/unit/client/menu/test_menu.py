"""The numbered menu, used through pipes and on a terminal, against the proxy's real routes."""

from __future__ import annotations

import io
import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockstep_store.client.menu import run_menu
from lockstep_store.client.menu.terminal import Terminal
from tests.fakes.people_core import ADMIN, ADMIN_PASSWORD
from tests.fakes.rest import RestServer
from tests.unit.people import noise, start_server

PATIENCE_SECONDS = 60.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    server = start_server(tmp_path_factory)
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    return tmp_path / "local_storage"


def script(server: RestServer, folder: Path, *lines: str, name: str = "ann", code: int = 0) -> str:
    """The menu's whole output for lines that were all in the pipe from the start."""
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{line}\n" for line in (name, "secret", *lines)).encode())
    os.close(writing)
    output = io.StringIO()
    with os.fdopen(reading) as source:
        assert run_menu(server.url, server.ca_file, folder, source, output) == code
    return output.getvalue()


class Person:
    """Somebody who reads what the menu says before typing; over a pipe, or over a terminal."""

    def __init__(self, server: RestServer, folder: Path, *, terminal: bool = False) -> None:
        if terminal:
            self._ours, theirs = pty.openpty()
            self._reads = self._ours
            self._source = os.fdopen(theirs, "r")
            self._output = os.fdopen(os.dup(theirs), "w")
        else:
            reading, self._ours = os.pipe()
            self._reads, writing = os.pipe()
            self._source = os.fdopen(reading, "r")
            self._output = os.fdopen(writing, "w")
        self._open = {self._ours, self._reads}
        self.seen = ""
        self._new = threading.Condition()
        self.code: int | None = None
        self._menu = threading.Thread(target=self._run, args=(server, folder))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._menu.start()

    def _run(self, server: RestServer, folder: Path) -> None:
        self.code = run_menu(server.url, server.ca_file, folder, self._source, self._output)
        self._source.close()
        self._output.close()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._reads, 65536)
            except OSError:
                return
            if not data:
                return
            with self._new:
                self.seen += data.decode()
                self._new.notify_all()

    def sees(self, text: str) -> str:
        """Wait for `text`, and forget everything up to it."""
        with self._new:
            found = self._new.wait_for(lambda: text in self.seen, PATIENCE_SECONDS)
            assert found, f"{text!r} was not said; instead:\n{self.seen}"
            before, _, self.seen = self.seen.partition(text)
            return before + text

    def types(self, line: str) -> None:
        os.write(self._ours, f"{line}\n".encode())

    def logs_in(self, name: str, password: str = "secret") -> None:
        self.sees("User name")
        self.types(name)
        self.sees("Password: ")
        self.types(password)
        self.sees(f"{name}> ")

    def leaves(self) -> None:
        self.types("10")
        self.ends()

    def ends(self) -> None:
        self._menu.join(PATIENCE_SECONDS)
        assert not self._menu.is_alive(), f"the menu does not end:\n{self.seen}"
        self._reader.join(PATIENCE_SECONDS)  # or it might read on from whatever gets the descriptor's number next
        self.close()

    def closes_input(self) -> None:
        os.close(self._ours)
        self._open.discard(self._ours)

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition of the cluster."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


# ---------------------------------------------------------------- log-in and leaving


def test_a_new_name_makes_an_account_and_a_known_one_must_match(server: RestServer, folder: Path) -> None:
    """The first log-in says that the account is new; later the password must be right."""
    assert "account was created" in script(server, folder, "10")
    assert "Welcome back, ann" in script(server, folder, "10")
    output = script(server, folder, name="", code=0)  # an empty name is asked again, then the input ends
    assert "User name" in output
    reading, writing = os.pipe()
    os.write(writing, b"ann\nwrong\n")
    os.close(writing)
    text = io.StringIO()
    with os.fdopen(reading) as source:
        assert run_menu(server.url, server.ca_file, folder, source, text) == 4
    assert "does not match" in text.getvalue()


@pytest.mark.parametrize("last", ["10", "quit", "log out", "q", None])
def test_leaving_logs_out(server: RestServer, folder: Path, last: str | None) -> None:
    """Log out, quit and the end of the input all end the token and the menu."""
    output = script(server, folder, *([last] if last else []))
    assert "Logged out ann" in output
    assert server.core.tokens == {}


def test_the_end_of_the_input_ends_it_at_once(server: RestServer, folder: Path) -> None:
    """Nothing typed at all is not an error and not a busy loop."""
    output = io.StringIO()
    assert run_menu(server.url, server.ca_file, folder, io.StringIO(""), output) == 0
    assert len(output.getvalue()) < 300


def test_passwords_are_never_printed(server: RestServer, folder: Path) -> None:
    """The echo of a pipe leaves the password out."""
    assert "secret" not in script(server, folder, "1", "10")


def test_a_proxy_that_does_not_answer_is_said(server: RestServer, folder: Path) -> None:
    """Logging in to nobody ends with the code for "not available"."""
    server.close()
    assert "Cannot log in now" in script(server, folder, code=7)


def test_a_token_that_ends_is_asked_for_again(server: RestServer, folder: Path) -> None:
    """When the log-in expires, the person logs in again and goes on."""
    person = Person(server, folder)
    person.logs_in("ann")
    server.core.tokens.clear()
    person.types("1")
    person.sees("log-in has ended")
    person.logs_in("ann")
    person.types("1")
    person.sees("No files yet")
    person.leaves()
    assert person.code == 0


# ---------------------------------------------------------------- requests


def test_the_menu_fits_80_columns_and_numbers_all_requests(server: RestServer, folder: Path) -> None:
    """Every line of the menu and of its tables fits an 80-column terminal."""
    server.core.save("a/very/long/folder/name/" + "x" * 100 + ".txt", b"x", author="somebody-with-a-long-name")
    server.core.take_lock("another/quite/long/name/" + "y" * 60)
    name = "a/very/long/folder/name/" + "x" * 100 + ".txt"
    output = script(server, folder, "1", "8", "9", f"7 {name}", "10")
    for number in range(1, 11):
        assert f"{number:>3}  " in output
    own = [line for line in output.splitlines() if name not in line]
    assert [line for line in own if len(line) > 80] == []


def test_list_read_upload_download_delete(server: RestServer, folder: Path) -> None:
    """Files go both ways; each request takes the number alone or with the name."""
    folder.mkdir()
    (folder / "notes.txt").write_text("my notes\n")
    output = script(server, folder, "4 notes.txt", "1", "2 notes.txt", "6 notes.txt", "1", "10")
    assert "saved notes.txt version v000001, 9 B, 2/2 copies fsynced" in output
    assert "1 file, 9 B" in output
    assert "my notes" in output
    assert "deleted notes.txt" in output
    assert "No files yet" in output
    server.core.save("docs/plan.txt", b"the plan")
    output = script(server, folder, "5", "docs/plan.txt", "5 docs/plan.txt -> plan2.txt", "10")
    assert (folder / "docs" / "plan.txt").read_text() == "the plan"
    assert (folder / "plan2.txt").read_text() == "the plan"
    assert "verified" in output


def test_words_work_like_numbers(server: RestServer, folder: Path) -> None:
    """Somebody who types the word instead of the number is understood; nonsense is answered in words."""
    server.core.save("n", b"content of n")
    output = script(server, folder, "list", "read n", "3.14", "11", "dance", "", "quit")
    assert "content of n" in output
    assert output.count("is not a request") == 3


def test_a_folder_is_uploaded_whole(server: RestServer, folder: Path) -> None:
    """`4 folder` uploads everything below it."""
    for name in ("trip/a", "trip/b/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    assert "saved 2 files" in script(server, folder, "4 trip", "10")
    assert server.core.content("trip/b/c") == b"trip/b/c"


def test_what_is_not_text_is_not_poured_on_the_terminal(server: RestServer, folder: Path) -> None:
    """Binary and very long files are named, not shown; control characters in text are spelled out."""
    server.core.save("bin", noise(1, 2000))
    server.core.save("long", b"x" * (2 << 20))
    server.core.save("evil", b"\x1b[2Jhello\r\nworld\n")
    output = script(server, folder, "2 bin", "2 long", "2 evil", "10")
    assert "not text" in output
    assert "too much to show" in output
    assert "\x1b" not in output
    assert "hello\nworld" in output


def test_versions_are_shown_read_and_restored(server: RestServer, folder: Path) -> None:
    """`read N` and `restore N` speak of the list that was shown; a deleted file comes back."""
    server.core.save("f", b"first")
    server.core.save("f", b"second")
    output = script(server, folder, "restore 1", "7 f", "read 2", "6 f", "7 f", "read 1", "restore 3", "2 f", "10")
    assert "show a file's versions first" in output
    assert "2 versions" in output
    assert "has no content" in output
    assert "restored f version" in output
    assert server.core.content("f") == b"first"


def test_names_leading_outside_are_refused(server: RestServer, folder: Path) -> None:
    """No name reads or writes outside local storage, in either direction, also not through links."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret content")
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    for name in ("link/new.txt", "link/secret.txt"):
        server.core.save(name, b"from the cluster")
    before = len(server.core.history)
    lines = []
    for number in (3, 4, 5):
        lines += [f"{number} {name}" for name in ("../outside/secret.txt", "/etc/passwd", "link/secret.txt")]
    output = script(server, folder, *lines, "5 link/new.txt", "5 link/new.txt -> ../x", "10")
    assert output.count("Not done") == 11
    assert sorted(file.name for file in outside.iterdir()) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret content"
    assert len(server.core.history) == before
    assert server.core.locks == {}


def test_errors_are_sentences_and_the_menu_goes_on(server: RestServer, folder: Path) -> None:
    """A request that is refused says why, and the next one is taken."""
    server.core.take_lock("f")
    folder.mkdir()
    (folder / "f").write_text("x")
    output = script(server, folder, "2 absent", "4 f", "4 absent", "5 absent", "6 absent", "7 absent", "1", "10")
    assert output.count("Not done") == 6
    assert "locked by bob" in output
    assert "No files yet" in output


def test_locks_and_cluster_are_shown(server: RestServer, folder: Path) -> None:
    """Mine, everyone's and the queue; servers and copies; an administrator can break a lock from the list."""
    server.core.take_lock("theirs", "bob")
    mine = server.core.take_lock("mine", "ann")
    output = script(server, folder, "8", "release 1", "8", "break 1", "9", "10")
    assert "2 locks, 1 of them yours" in output
    assert "released mine" in output
    assert mine.id not in server.core.locks
    assert "only an administrator" in output
    assert "every file has its copies" in output
    reading, writing = os.pipe()
    os.write(writing, f"{ADMIN}\n{ADMIN_PASSWORD}\n8\nbreak 1\n".encode())
    os.close(writing)
    text = io.StringIO()
    with os.fdopen(reading) as source:
        run_menu(server.url, server.ca_file, folder, source, text)
    assert "broke the lock of bob" in text.getvalue()


# ---------------------------------------------------------------- writing


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

    def interrupted(terminal: Terminal, question: str) -> str:
        if question.startswith("Edit it now"):
            raise KeyboardInterrupt
        return ask(terminal, question)

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
        until(lambda: server.core.queue)
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


# ---------------------------------------------------------------- on a terminal


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


def test_ctrl_d_leaves_the_menu_on_a_terminal(server: RestServer, folder: Path) -> None:
    """The end of input typed at the prompt logs out and leaves."""
    person = Person(server, folder, terminal=True)
    person.logs_in("ann")
    os.write(person._ours, b"\x04")
    person.sees("Logged out ann")
    person.ends()
    assert person.code == 0
