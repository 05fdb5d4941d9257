"""`lockstep group`, against a real directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.client.cli.command_shell import Shell
from tests.unit.client.real_people import RealPeople, real_people


@pytest.fixture
def people(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPeople]:
    with real_people(tmp_path, tmp_path_factory.getbasetemp() / "people-certs") as people:
        yield people


@pytest.fixture
def shell_of(people: RealPeople, tmp_path: Path) -> Callable[[str, str], Shell]:
    def shell_of(name: str, password: str) -> Shell:
        shell = Shell(people.server, tmp_path / name)
        shell.login(name, password)
        return shell

    return shell_of


def test_a_group_is_made_filled_and_deleted(people: RealPeople, shell_of: Callable[[str, str], Shell]) -> None:
    """Its manager adds and removes people; an administrator deletes it."""
    admin, ann = shell_of(people.admin, people.admin_password), shell_of("ann", "a secret word")
    shell_of("ben", "a secret word")
    assert "you are in no group" in ann.run("group", "list").stdout
    made = admin.run("group", "create", "Editors", "--manager", "ann", "--description", "the magazine")
    assert "created group editors; grants name it group:editors" in made.stdout
    shown = ann.run("group", "add", "editors", "ben").stdout
    assert "group editors: the magazine" in shown
    assert [line.split() for line in shown.splitlines()[2:]] == [["ann", "manager"], ["ben", "member"]]
    assert ann.json("group", "show", "editors")["accounts"] == {"ann": "manager", "ben": "member"}
    assert ann.json("group", "list")["groups"][0]["role"] == "manager"
    assert "ben" not in ann.run("group", "remove", "editors", "ben").stdout
    assert "administrator" in ann.run("group", "delete", "editors", code=4).stderr
    assert "there is no account 'nobody'" in ann.run("group", "add", "editors", "nobody", code=3).stderr
    assert "deleted group editors" in admin.run("group", "delete", "editors").stdout
    assert "there is no group" in ann.run("group", "show", "editors", code=3).stderr
