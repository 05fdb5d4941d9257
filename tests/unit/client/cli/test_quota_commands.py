"""Commands about quotas: what is set, what is shown, and what is no quota."""

from __future__ import annotations

import pytest

from tests.fakes.people_accounts import ADMIN, ADMIN_PASSWORD
from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def admin(shell: Shell) -> Shell:
    shell.login(ADMIN, ADMIN_PASSWORD)
    return shell


def test_quotas_are_set_with_sizes_and_removed_with_none(admin: Shell) -> None:
    """A size has a unit, the others stay, and the reply shows what holds now."""
    admin.run("quota", "set", "--bucket", "album", "bytes=10GiB", "files=100")
    text = admin.run("quota", "set", "--bucket", "album", "files=none", "versions=7").stdout
    assert admin.server.core.quotas == {("bucket", "album"): {"bytes": 10 * 1024**3, "versions": 7}}
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["bytes"] == ["10", "GiB", "2.0", "KiB"]
    assert lines["files"] == ["-", "-"]
    assert lines["versions"] == ["7", "2,048"]


def test_one_sees_ones_own_and_what_holds_for_everybody(shell: Shell) -> None:
    """Without a name it is one's own account; bounds that nobody set are marked."""
    shell.login("ann")
    text = shell.run("quota", "show").stdout
    assert text.startswith("account ann\n")
    assert "for every account" in next(line for line in text.splitlines() if line.startswith("locks"))
    assert shell.json("quota", "show", "--bucket", "album")["scope"] == "bucket"
    assert shell.json("quota", "show", "bob")["name"] == "bob"
    shell.run("quota", "set", "--account", "ann", "bytes=1", code=4)


def test_the_list_has_what_was_set(admin: Shell) -> None:
    """Built-in bounds are not listed."""
    assert "there are no quotas" in admin.run("quota", "list").stdout
    admin.run("quota", "set", "--account", "ann", "keys=3")
    rows = admin.run("quota", "list").stdout.splitlines()
    assert rows[-1].split() == ["account", "ann", "keys", "3", "2,048"]
    assert sum("ann" in row for row in rows) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("set", "bytes=1"),
        ("set", "--account", "ann", "--bucket", "album", "bytes=1"),
        ("set", "--bucket", "album", "locks=1"),
        ("set", "--account", "ann", "bytes"),
        ("set", "--account", "ann", "bytes=much"),
        ("set", "--account", "ann", "bytes=-1"),
        ("show", "ann", "--bucket", "album"),
    ],
)
def test_what_is_no_quota_is_refused_with_the_reason(admin: Shell, words: tuple[str, ...]) -> None:
    """Nothing is set, and the error says what to write."""
    ended = admin.run("quota", *words, code=2)
    assert ended.output.strip()
    assert admin.server.core.quotas == {}
