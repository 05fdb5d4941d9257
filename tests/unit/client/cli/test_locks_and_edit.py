"""Locks held between commands, and `lockstep edit`."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep_store.client.cli import locks as commands
from lockstep_store.client.lock_watcher import LockWatcher
from tests.fakes.people_accounts import ADMIN, ADMIN_PASSWORD
from tests.unit.client.cli.command_shell import Shell
from tests.waiting import wait_until


def test_a_lock_is_used_by_the_commands_after_it(
    shell: Shell, new_shell: Callable[[str], Shell], tmp_path: Path
) -> None:
    """The holder writes under the lock without naming it; everyone else is refused and told by whom."""
    (tmp_path / "f").write_text("mine")
    shell.run("lock", "f", "g")
    bob = new_shell("bob")
    bob.login("bob")
    assert "ann" in bob.run("put", "f", code=5).stderr
    assert "ann" in bob.run("lock", "g", code=5).stderr
    bob.run("unlock", "f", code=3)
    shell.run("put", "f")
    assert shell.server.core.history["files", "f"][-1].lock_number == 1
    assert "f and 1 more" in shell.run("locks", "--mine").stdout
    shell.run("unlock", "f")
    bob.run("put", "f")
    assert shell.json("locks")["locks"] == []


def test_a_lock_that_is_over_refuses_once(shell: Shell, tmp_path: Path) -> None:
    """After the lock ended, the first write is refused so that nothing is overwritten unseen; then it is forgotten."""
    (tmp_path / "f").write_text("late")
    lock = shell.json("lock", "f")
    shell.server.core.drop_lock(lock["id"])
    assert "dropped" in shell.run("put", "f", code=6).stderr
    shell.run("put", "f")


def test_put_release_gives_the_lock_back(shell: Shell, tmp_path: Path) -> None:
    """A put with --release ends the lock in the same commit."""
    (tmp_path / "f").write_text("x")
    shell.run("lock", "f")
    shell.run("put", "--release", "f")
    assert shell.server.core.locks == {}
    shell.run("put", "f")


def test_a_lock_is_held_while_a_command_runs(shell: Shell, tmp_path: Path) -> None:
    """The command finds the number in its environment, its exit code is ours, and the lock is given back."""
    script = "import os, sys; open('seen', 'w').write(os.environ['LOCKSTEP_LOCK']); sys.exit(7)"
    shell.run("lock", "f", "--", sys.executable, "-c", script, code=7)
    assert (tmp_path / "seen").read_text() == "1"
    assert shell.server.core.locks == {}
    shell.run("lock", "f", "--", "no-such-program-here", code=8)
    assert shell.server.core.locks == {}


def test_an_administrator_breaks_a_lock(shell: Shell, new_shell: Callable[[str], Shell], tmp_path: Path) -> None:
    """Only an administrator can; afterwards the broken holder's write is refused."""
    (tmp_path / "f").write_text("x")
    shell.run("lock", "f")
    bob = new_shell("bob")
    bob.login("bob")
    bob.run("locks", "--break", "f", code=4)
    admin = new_shell("admin")
    admin.login(ADMIN, ADMIN_PASSWORD)
    assert "--break" in admin.run("locks", "--reason", "hurry", code=2).stderr
    assert "broke the lock of ann" in admin.run("locks", "--break", "f", "--reason", "hurry").stdout
    assert [request.reason for request in shell.server.core.broken] == ["hurry"]
    shell.run("put", "f", code=6)
    admin.run("locks", "--break", "f", code=3)


def editor(folder: Path, script: str) -> str:
    """An editor that runs `script` on the file, which it finds in `path`."""
    program = folder / "editor.py"
    program.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[-1])\n{script}\n")
    return f"{sys.executable} {program}"


def test_edit_saves_what_changed_and_releases(shell: Shell, tmp_path: Path) -> None:
    """The editor gets the content, the change is shown, saved under the lock and the lock is given back."""
    shell.server.core.save("notes.txt", b"one\ntwo\n")
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text(path.read_text().replace('two', 'TWO'))")
    result = shell.run("edit", "notes.txt")
    assert "-two" in result.stdout
    assert "+TWO" in result.stdout
    assert "1 line added, 1 line removed" in result.stdout
    assert shell.server.core.content("notes.txt") == b"one\nTWO\n"
    assert shell.server.core.history["files", "notes.txt"][-1].lock_number == 1
    assert shell.server.core.locks == {}


def test_edit_without_a_change_only_releases(shell: Shell, tmp_path: Path) -> None:
    """No version is made of an edit that changed nothing, nor of a new file left empty."""
    shell.server.core.save("notes.txt", b"one\n")
    shell.environment["EDITOR"] = editor(tmp_path, "pass")
    assert "nothing changed" in shell.run("edit", "notes.txt").stdout
    shell.run("edit", "new.txt")
    assert len(shell.server.core.history) == 1
    assert shell.server.core.locks == {}


def test_edit_makes_a_new_file(shell: Shell, tmp_path: Path) -> None:
    """A name that does not exist yet begins empty."""
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text('fresh')")
    assert "created" in shell.run("edit", "folder/new.txt").stdout
    assert shell.server.core.content("folder/new.txt") == b"fresh"


def test_an_edit_that_cannot_be_saved_is_kept(shell: Shell, tmp_path: Path) -> None:
    """When the lock is lost meanwhile, the edit lies in local storage and the message says where."""
    shell.server.core.save("notes.txt", b"one\n")
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text('precious work')")

    def the_lease_ends() -> None:
        for lock in list(shell.server.core.locks):
            shell.server.core.drop_lock(lock)

    shell.server.core.before_commit = the_lease_ends
    result = shell.run("edit", "notes.txt", code=6)
    (kept,) = (shell.folder / "local_storage").iterdir()
    assert kept.read_text() == "precious work"
    assert str(kept) in result.stderr
    assert shell.server.core.content("notes.txt") == b"one\n"


def test_an_editor_that_fails_saves_nothing(shell: Shell, tmp_path: Path) -> None:
    """A failed editor ends in a sentence; what it had changed is kept; no editor at all is said too."""
    shell.server.core.save("notes.txt", b"one\n")
    shell.run("edit", "notes.txt", code=8)
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text('half done'); sys.exit(3)")
    shell.run("edit", "notes.txt", code=8)
    (kept,) = (shell.folder / "local_storage").iterdir()
    assert kept.read_text() == "half done"
    assert shell.server.core.content("notes.txt") == b"one\n"
    assert shell.server.core.locks == {}


def test_locks_are_shown_again_when_they_change(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --watch: now, and after each change; with --json as one object a line. Ctrl-C ends with 130."""
    before = set(threading.enumerate())

    def watched(*given: Any, **more: Any) -> Iterator[Any]:
        shell.server.core.drop_lock("lock-by-bob-new")
        states = iter(LockWatcher(*given, **more))
        yield next(states)
        shell.server.core.take_lock("new")
        yield next(states)
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "LockWatcher", watched)
    shell.run("lock", "old")
    shown = shell.run("locks", "--watch", code=130).stdout
    first, second = shown.split("\n\n")[:2]
    assert ("old" in first, "new" in first, "old" in second, "new" in second) == (True, False, True, True)
    lines = shell.run("locks", "--watch", "--mine", "--json", code=130).stdout.splitlines()
    assert [[lock["paths"][0]["path"] for lock in json.loads(line)["locks"]] for line in lines] == [["old"]] * 2

    def is_over() -> bool:
        shell.server.core.take_lock(f"{time.monotonic()}")  # a server notices that its client has gone when it sends
        return not any(thread.name == "lock feed" for thread in set(threading.enumerate()) - before)

    wait_until(is_over, what="the server ends its streams")
