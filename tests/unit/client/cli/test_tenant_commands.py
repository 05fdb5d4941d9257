"""`lockstep tenant`, and quotas of tenants, against a real directory."""

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
def shell_of(people: RealPeople, tmp_path: Path) -> Callable[[str], Shell]:
    return lambda name: Shell(people.server, tmp_path / name)


def test_a_tenant_begins_with_its_administrator(people: RealPeople, shell_of: Callable[[str], Shell]) -> None:
    """The one-time password is all that is on standard output; then the tenant runs itself, and within its quota."""
    admin, boss = shell_of("admin"), shell_of("boss")
    admin.login(people.admin, people.admin_password)
    made = admin.run("tenant", "create", "acme", "--administrator", "boss", "--description", "next door")
    password = made.stdout.strip()
    assert " " not in password
    assert r"one-time password of acme\boss" in made.stderr
    boss.run("passwd", r"acme\boss", input=f"{password}\nmy own words\n")
    assert boss.json("whoami")["tenant_admin"] is True
    created = boss.run("users", "create", r"acme\ann")
    assert r"one-time password of acme\ann" in created.stderr
    assert [one["name"] for one in boss.json("users", "list")["users"]] == [r"acme\ann", r"acme\boss"]
    assert r"acme\ann" in boss.run("users", "create", "ann", code=2).stderr
    shown = admin.run("tenant", "list").stdout.splitlines()
    assert shown[1].split() == ["acme", "2", "0", r"acme\boss", "next", "door"]
    admin.run("quota", "set", "--tenant", "acme", "accounts=2", "bytes=1GiB")
    assert "accounts" in boss.run("quota", "show", "--tenant", "acme").stdout
    assert r"over quota: tenant 'acme'" in boss.run("users", "create", r"acme\ben", code=6).stderr
    assert "administrator" in boss.run("tenant", "list", code=4).stderr
    assert "still has accounts (2)" in admin.run("tenant", "delete", "acme", code=6).stderr
    for name in ("ann", "boss"):
        admin.run("users", "delete", rf"acme\{name}")
    assert "deleted tenant acme" in admin.run("tenant", "delete", "acme").stdout
    assert "there are no tenants" in admin.run("tenant", "list").stdout


def test_without_an_administrator_it_says_how_to_make_one(people: RealPeople, shell_of: Callable[[str], Shell]) -> None:
    """And a name that is none is refused."""
    admin = shell_of("admin")
    admin.login(people.admin, people.admin_password)
    assert r"lockstep users create 'acme\ann' --role administrator" in admin.run("tenant", "create", "acme").stdout
    assert "lower-case letters" in admin.run("tenant", "create", "A b", code=2).stderr
    admin.run("quota", "set", "--tenant", "acme", "locks=2", code=2)
    admin.run("quota", "set", "--tenant", "acme", "--account", "ann", "files=2", code=2)
