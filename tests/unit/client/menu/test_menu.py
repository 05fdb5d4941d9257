"""The numbered menu, used through pipes and on a terminal, against the proxy's real routes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from lockstep_store.client.menu import run_menu
from tests.fakes.people_accounts import ADMIN, ADMIN_PASSWORD
from tests.fakes.rest import RestServer
from tests.unit.client.menu.menu_person import Person, script
from tests.unit.people import noise


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


def test_the_menu_fits_80_columns_and_numbers_all_requests(server: RestServer, folder: Path) -> None:
    """Every line of the menu and of its tables fits an 80-column terminal."""
    server.core.save("a/very/long/folder/name/" + "x" * 100 + ".txt", b"x", author="somebody-with-a-long-name")
    server.core.take_lock("another/quite/long/name/" + "y" * 60)
    name = "a/very/long/folder/name/" + "x" * 100 + ".txt"
    output = script(server, folder, "1", "8", "9", f"7 {name}", "10")
    for number in range(1, 12):
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
    output = script(server, folder, "list", "read n", "3.14", "99", "dance", "", "quit")
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
    os.write(writing, f"{ADMIN}\n{ADMIN_PASSWORD}\n8\nbreak 1 The roof leaks.\n".encode())
    os.close(writing)
    text = io.StringIO()
    with os.fdopen(reading) as source:
        run_menu(server.url, server.ca_file, folder, source, text)
    assert "broke the lock of bob" in text.getvalue()
    assert [request.reason for request in server.core.broken] == ["The roof leaks."]


def test_ctrl_d_leaves_the_menu_on_a_terminal(server: RestServer, folder: Path) -> None:
    """The end of input typed at the prompt logs out and leaves."""
    person = Person(server, folder, terminal=True)
    person.logs_in("ann")
    os.write(person._ours, b"\x04")
    person.sees("Logged out ann")
    person.ends()
    assert person.code == 0
