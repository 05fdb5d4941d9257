"""`lockstep trash`, against a whole cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep_store.wire.errors import AlreadyExists
from tests.unit.client.cli.command_shell import Shell
from tests.unit.client.real_people import RealPeople, real_people
from tests.unit.people import client


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPeople]:
    with real_people(tmp_path_factory.mktemp("trash"), tmp_path_factory.getbasetemp() / "people-certs") as people:
        yield people


@pytest.fixture
def shell(people: RealPeople, tmp_path: Path) -> Iterator[Shell]:
    """The administrator's shell, with an empty bucket `files` and an empty trash."""
    shell = Shell(people.server, tmp_path)
    shell.login(people.admin, people.admin_password)
    yield shell
    shell.run("rm", "-r", "files:")
    shell.run("trash", "empty", "--yes")


def fill(shell: Shell, *names: str) -> None:
    for name in names:
        shell.run("put", "-", name, input=name)


def test_a_deleted_file_comes_back(shell: Shell) -> None:
    """It is listed with its size, restored under its own name or another, and a folder's files one by one."""
    assert "the trash is empty" in shell.run("trash", "list").stdout
    fill(shell, "docs/a", "docs/b", "c")
    shell.run("rm", "-r", "docs")
    listed = shell.run("trash", "list", "docs/").stdout
    assert "docs/a" in listed
    assert "2 files, 12 B with all versions" in listed
    shell.run("trash", "restore", "docs/a")
    assert shell.run("cat", "docs/a").stdout == "docs/a"
    fill(shell, "docs/b")
    assert "under another name" in shell.run("trash", "restore", "docs/b", code=6).stderr
    assert "as docs/old" in shell.run("trash", "restore", "docs/b", "docs/old").stdout
    assert shell.run("cat", "docs/old").stdout == "docs/b"
    shell.run("trash", "restore", "c", code=3)
    shell.run("trash", "restore", "docs/b", "other:b", code=2)


def test_the_trash_is_emptied(shell: Shell) -> None:
    """After a question, all of it or a part; what is locked stays and is named."""
    fill(shell, "a", "b/1", "b/2")
    shell.run("rm", "a", "b/1", "b/2")
    assert "for good" in shell.run("trash", "empty", input="n\n", code=130).stderr
    assert shell.json("trash", "empty", "b/", "--yes")["removed"] == 2
    shell.run("lock", "a")
    kept = shell.run("trash", "empty", "--yes", code=1).stderr
    assert "a: " in kept
    assert "1 file stays in the trash" in kept
    shell.run("unlock", "a")
    assert "removed 1 file for good (1 B)" in shell.run("trash", "empty", "--yes").stdout
    shell.run("versions", "a", code=3)


def test_a_bucket_keeps_its_trash_for_some_days(shell: Shell) -> None:
    """The list then shows until when; a bucket without versions has no trash."""
    assert "for 30 days" in shell.run("trash", "keep", "30").stdout
    fill(shell, "a")
    shell.run("rm", "a")
    assert "(until " in shell.run("trash", "list").stdout
    assert "by hand" in shell.run("trash", "keep", "always").stdout
    assert "(until " not in shell.run("trash", "list").stdout
    shell.run("trash", "keep", "0", code=2)
    shell.run("buckets", "create", "plain", "--versioning", "off")
    assert "turn versioning on" in shell.run("trash", "keep", "3", "--bucket", "plain", code=6).stderr


def test_programs_use_the_same_calls(shell: Shell, people: RealPeople) -> None:
    """List, totals, restore, remove one, empty."""
    fill(shell, "a", "b")
    shell.run("rm", "a", "b")
    with client(people.server, people.admin, people.admin_password) as api:
        b, a = api.trash()
        assert (api.trash_totals().files, b.path, a.path) == (2, "b", "a")
        assert api.restore_deleted("a", a.marker).version == a.version
        with pytest.raises(AlreadyExists):
            api.restore_deleted("b", b.marker, to="a")
        assert api.remove_deleted("b", b.marker).bytes == 1
        assert api.empty_trash().removed == 0
