"""`lockstep mfa`, and codes at log-in, against a real directory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from directory_server.people.totp import STEP_SECONDS
from lockstep_store.client.cli import second_factor as commands
from tests.authenticator import Authenticator
from tests.unit.client.cli.command_shell import Shell
from tests.unit.client.real_people import RealPeople, real_people

PASSWORD = "a secret word"


@pytest.fixture
def people(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPeople]:
    with real_people(tmp_path, tmp_path_factory.getbasetemp() / "people-certs") as people:
        yield people


@pytest.fixture
def shell_of(people: RealPeople, tmp_path: Path) -> Callable[..., Shell]:
    def shell_of(name: str, password: str = PASSWORD) -> Shell:
        shell = Shell(people.server, tmp_path / name)
        shell.login(name, password)
        return shell

    return shell_of


@pytest.fixture
def admin(people: RealPeople, shell_of: Callable[..., Shell]) -> Shell:
    return shell_of(people.admin, people.admin_password)


class Enrolment:
    """`lockstep mfa enable`, whose input waits for the secret to be shown, as a person does."""

    def __init__(self, people: RealPeople, shell: Shell, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
        self.app: Authenticator | None = None
        clock = people.cluster.directory.clock
        begin = commands.secret_text

        def shown(made: Any, **given: Any) -> str:
            self.app = Authenticator(made.secret, clock.wall)
            return begin(made, **given)

        monkeypatch.setattr(commands, "secret_text", shown)
        read = commands.read_line

        def read_line(**given: Any) -> str:
            line = read(**given)
            return self.app.code() if line == "CODE" and self.app is not None else line

        monkeypatch.setattr(commands, "read_line", read_line)
        self.result: Result = shell.run("mfa", "enable", *words, input=f"{PASSWORD}\nCODE\n")

    @property
    def codes(self) -> list[str]:
        return self.result.stdout.split()


def next_step(people: RealPeople) -> None:
    people.cluster.pass_time(STEP_SECONDS)


def test_it_is_enabled_and_asked_for(
    people: RealPeople, shell_of: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is on standard error, the recovery codes alone on standard output; then a log-in needs a code."""
    ann = shell_of("ann")
    assert ann.run("mfa", "status").stdout == "no second factor\n"
    made = Enrolment(people, ann, monkeypatch)
    assert made.app is not None
    assert len(made.codes) == 10
    assert re.search(r"address: otpauth://totp/Lockstep:ann\?secret=[A-Z2-7]{32}&issuer=Lockstep", made.result.stderr)
    assert "ann now needs a code" in made.result.stderr
    assert "otpauth" not in made.result.stdout
    assert "10 recovery codes left" in ann.run("mfa", "status").stdout, "it stays logged in"
    refused = ann.run("login", "ann", input=f"{PASSWORD}\n", code=4)
    assert "--code or LOCKSTEP_MFA_CODE" in refused.stderr
    next_step(people)
    assert "logged in as ann" in ann.run("login", "ann", input=f"{PASSWORD}\n{made.app.code()}\n").stdout
    assert "used already" in ann.run("login", "ann", input=f"{PASSWORD}\n{made.app.code()}\n", code=4).stderr
    next_step(people)
    ann.run("login", "ann", "--code", made.app.code(), input=f"{PASSWORD}\n")
    next_step(people)
    ann.environment["LOCKSTEP_MFA_CODE"] = made.app.code()
    ann.run("login", "ann", "--password-stdin", input=f"{PASSWORD}\n")
    assert (
        "the code is wrong" in ann.run("login", "ann", "--code", made.app.wrong(), input=f"{PASSWORD}\n", code=4).stderr
    )
    ann.run("login", "ann", "--code", made.codes[0], input=f"{PASSWORD}\n")
    assert "9 recovery codes left" in ann.run("mfa", "status").stdout


def test_a_credentials_file_does_not_wait_for_a_code(
    people: RealPeople, shell_of: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A script with a file and an open standard input gets an answer; the code is an option."""
    ann = shell_of("ann")
    made = Enrolment(people, ann, monkeypatch)
    file = tmp_path / "ann.json"
    file.write_text(json.dumps({"username": "ann", "password": PASSWORD}))
    monkeypatch.setattr(commands, "read_line", lambda **given: pytest.fail("standard input was read"))
    assert "a code from your authenticator app" in ann.run("login", "--credentials", file, code=4).stderr
    ann.run("login", "--credentials", file, "--code", made.codes[0])


def test_json_has_the_recovery_codes(
    people: RealPeople, shell_of: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else; the secret is on standard error as ever."""
    made = Enrolment(people, shell_of("ann"), monkeypatch, "--json")
    assert [len(code) for code in json.loads(made.result.stdout)["recovery_codes"]] == [19] * 10
    assert "otpauth://" in made.result.stderr


def test_changes_ask_for_password_and_code(
    people: RealPeople, shell_of: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New recovery codes, another password, disabling."""
    ann = shell_of("ann")
    made = Enrolment(people, ann, monkeypatch)
    assert "already" in ann.run("mfa", "enable", input=f"{PASSWORD}\n", code=6).stderr
    ann.run("mfa", "recovery-codes", input=f"{PASSWORD}\n", code=4)
    new = ann.run("mfa", "recovery-codes", input=f"{PASSWORD}\n{made.codes[0]}\n").stdout.split()
    assert len(set(new) | set(made.codes)) == 20
    ann.run("passwd", input=f"{PASSWORD}\nanother word\n", code=4)
    ann.run("passwd", input=f"{PASSWORD}\nanother word\n{new[0]}\n")
    ann.run("whoami")
    ann.run("mfa", "disable", input="a wrong word\n", code=4)
    ann.run("mfa", "disable", input=f"another word\n{made.codes[1]}\n", code=4)
    assert "no longer has a second factor" in ann.run("mfa", "disable", input=f"another word\n{new[1]}\n").stdout
    ann.run("login", "ann", input="another word\n")
    ann.run("mfa", "disable", input="another word\n", code=6)


def test_administrators_require_and_reset(
    people: RealPeople, admin: Shell, shell_of: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who must have one can only set one up; a lost one is reset; the list shows both."""

    def shown() -> str:
        return next(line for line in admin.run("users", "list").stdout.splitlines() if line.startswith("ann "))

    ann = shell_of("ann")
    assert re.search(r" no +1 +0 +0$", shown())
    assert "must have a second factor" in admin.run("users", "require-mfa", "ann").stdout
    assert " required " in shown()
    ann.run("whoami", code=4)
    assert "lockstep mfa enable" in ann.run("login", "ann", input=f"{PASSWORD}\n", code=4).stderr
    refused = ann.run("passwd", "ann", input=f"{PASSWORD}\nanother word\n", code=4)
    assert "the password was changed, and this account must have a second factor" in refused.stderr
    monkeypatch.setattr(f"{__name__}.PASSWORD", "another word")
    made = Enrolment(people, ann, monkeypatch, "ann")
    ann.run("whoami")
    assert " yes " in shown()
    assert "must have" in ann.run("mfa", "disable", input=f"another word\n{made.codes[0]}\n", code=6).stderr
    assert "may log in without" in admin.run("users", "require-mfa", "ann", "--off").stdout
    assert "no longer has a second factor" in admin.run("users", "reset-mfa", "ann").stdout
    ann.run("whoami", code=4)
    admin.run("users", "reset-mfa", "ann", code=3)
    ann.run("login", "ann", input="another word\n")
    for words in (("require-mfa", "admin"), ("reset-mfa", "admin")):
        ann.run("users", *words, code=4)


def test_keys_are_never_asked(
    people: RealPeople, shell_of: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API key goes on working, before and after, and makes no difference to the second factor."""
    ann = shell_of("ann")
    key = ann.run("keys", "create", "script").stdout.strip()
    Enrolment(people, ann, monkeypatch)
    ann.environment["LOCKSTEP_API_KEY"] = key
    ann.run("whoami")
    assert "second factor since" in ann.run("mfa", "status").stdout
