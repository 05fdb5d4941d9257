"""`lockstep passwd`, `users` and `audit`, against a real directory."""

from __future__ import annotations

import json
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
def shell_of(people: RealPeople, tmp_path: Path) -> Callable[..., Shell]:
    def shell_of(name: str, password: str = "") -> Shell:
        shell = Shell(people.server, tmp_path / name)
        if password:
            shell.login(name, password)
        return shell

    return shell_of


@pytest.fixture
def admin(people: RealPeople, shell_of: Callable[..., Shell]) -> Shell:
    return shell_of(people.admin, people.admin_password)


def test_a_new_account_sets_its_own_password(admin: Shell, shell_of: Callable[..., Shell]) -> None:
    """The one-time password is all that is on standard output; it logs in only after another one is set."""
    created = admin.run("users", "create", "ann")
    one_time = created.stdout.strip()
    assert " " not in one_time
    assert "one-time password of ann" in created.stderr
    assert [one["must_change"] for one in admin.json("users", "list")["users"] if one["name"] == "ann"] == [True]
    ann = shell_of("ann")
    refused = ann.run("login", "ann", input=f"{one_time}\n", code=4)
    assert "lockstep passwd" in refused.stderr
    assert "the password is too short" in ann.run("passwd", "ann", input=f"{one_time}\nshort\n", code=2).stderr
    assert "most common" in ann.run("passwd", "ann", input=f"{one_time}\npassword1\n", code=2).stderr
    assert "was changed" in ann.run("passwd", "ann", input=f"{one_time}\nmy own words\n").stdout
    assert "ann at" in ann.run("whoami").stdout
    ann.run("login", "ann", input="my own words\n")


def test_changing_a_password_ends_the_other_log_ins(shell_of: Callable[..., Shell], tmp_path: Path) -> None:
    """This shell goes on with a new log-in; a wrong password changes nothing."""
    here, there = shell_of("ann", "a secret word"), shell_of("ann", "a secret word")
    there.config = tmp_path / "there"
    there.environment["LOCKSTEP_CONFIG_DIR"] = str(there.config)
    there.login("ann", "a secret word")
    assert "wrong" in here.run("passwd", input="wrong word\nanother word\n", code=4).stderr
    here.run("passwd", input="a secret word\nanother word\n")
    here.run("whoami")
    there.run("whoami", code=4)
    assert "another" in here.run("passwd", input="another word\nanother word\n", code=2).stderr


def test_members_administrate_nobody(shell_of: Callable[..., Shell]) -> None:
    """Every command is refused with the reason."""
    ann = shell_of("ann", "a secret word")
    for words in (
        ("users", "list"),
        ("users", "create", "bob"),
        ("users", "role", "ann", "administrator"),
        ("users", "disable", "admin"),
        ("users", "reset", "admin"),
        ("users", "delete", "admin"),
        ("users", "access", "admin"),
        ("users", "revoke", "admin", "--all"),
        ("audit",),
    ):
        assert "administrator" in ann.run(*words, code=4).stderr, words


def test_an_account_is_disabled_enabled_and_given_a_role(admin: Shell, shell_of: Callable[..., Shell]) -> None:
    """What it may do changes with its next request."""
    ann = shell_of("ann", "a secret word")
    assert "disabled ann" in admin.run("users", "disable", "ann").stdout
    ann.run("ls", code=4)
    assert "disabled" in ann.run("login", "ann", input="a secret word\n", code=4).stderr
    assert "enabled ann" in admin.run("users", "enable", "ann").stdout
    ann.login("ann", "a secret word")
    assert "ann is now read-only" in admin.run("users", "role", "ann", "read-only").stdout
    ann.run("buckets", "create", "mine-1", code=4)
    admin.run("users", "role", "ann", "owner", code=2)
    admin.run("users", "role", "nobody", "member", code=3)
    listed = admin.run("users", "list").stdout
    assert "read-only" in next(line for line in listed.splitlines() if line.startswith("ann"))
    assert "last administrator" in admin.run("users", "role", "admin", "member", code=6).stderr


def test_access_is_listed_and_ended(admin: Shell, shell_of: Callable[..., Shell]) -> None:
    """One by its id or all of it; no secret is shown."""
    ann = shell_of("ann", "a secret word")
    secret = ann.run("keys", "create", "script").stdout.strip()
    ann.run("keys", "create", "laptop", "--s3")
    found = admin.json("users", "access", "ann")
    assert [key["name"] for key in found["api_keys"]] == ["script"]
    shown = admin.run("users", "access", "ann").output
    assert secret not in shown
    assert found["sessions"][0]["id"] in shown
    admin.run("users", "revoke", "ann", code=2)
    admin.run("users", "revoke", "ann", "session-0", code=3)
    assert "ended 1 log-in or key of ann" in admin.run("users", "revoke", "ann", found["sessions"][0]["id"]).stdout
    ann.run("whoami", code=4)
    assert "ended 2 log-ins and keys" in admin.run("users", "revoke", "ann", "--all").stdout


def test_a_deleted_accounts_buckets_get_another_owner(admin: Shell, shell_of: Callable[..., Shell]) -> None:
    """Without a name for them nothing is deleted."""
    ann, bob = shell_of("ann", "a secret word"), shell_of("bob", "a secret word")
    ann.run("buckets", "create", "anns-files")
    assert "anns-files" in admin.run("users", "delete", "ann", code=6).stderr
    ann.run("whoami")
    admin.run("users", "delete", "ann", "--buckets-to", "bob")
    ann.run("whoami", code=4)
    assert [one["owner"] for one in bob.json("buckets", "list")["buckets"] if one["name"] == "anns-files"] == ["bob"]


def test_security_events_are_json_lines(admin: Shell, shell_of: Callable[..., Shell]) -> None:
    """Each line is one event, the oldest first; --after continues; no password is in them."""
    ann = shell_of("ann", "a secret word")
    ann.run("login", "ann", input="a wrong guess\n", code=4)
    admin.run("users", "disable", "ann")
    lines = admin.run("audit").stdout
    events = [json.loads(line) for line in lines.splitlines()]
    kinds = [(event["kind"], event["account"], event.get("subject")) for event in events]
    for expected in (("account made", "ann", "ann"), ("account changed", "admin", "ann")):
        assert expected in kinds
    assert "log-in refused" in [kind for kind, _, _ in kinds]
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)
    assert "secret word" not in lines
    assert "wrong guess" not in lines
    later = [json.loads(line)["id"] for line in admin.run("audit", "--after", events[0]["id"]).stdout.splitlines()]
    assert later[: len(events) - 1] == [event["id"] for event in events[1:]]
