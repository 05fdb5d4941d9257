"""The command that shows what takes space: lockstep du."""

from __future__ import annotations

import pytest

from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def olga(shell: Shell) -> Shell:
    shell.login("olga")
    shell.run("buckets", "create", "album")
    core = shell.server.core
    core.save("plans/a", b"12345")
    core.save("plans/deep/b", b"1234567")
    core.save("c", b"1")
    core.save("other/d", b"1", bucket="album")
    return shell


def test_a_folder_and_the_folders_in_it_are_shown(olga: Shell) -> None:
    """The largest first, and the folder itself last."""
    lines = [line.split() for line in olga.run("du").stdout.splitlines()]
    assert lines[0] == ["size", "files", "folder"]
    assert lines[-2:] == [["12", "B", "2", "plans/"], ["13", "B", "3", "files:"]]
    assert olga.run("du", "plans").stdout == olga.run("du", "plans/").stdout
    assert olga.json("du", "plans")["folders"] == [{"path": "plans/deep/", "files": 1, "bytes": 7}]
    assert olga.json("du", "album:")["bytes"] == 1


@pytest.mark.parametrize(
    ("group", "name"), [("bucket", "album"), ("account", "olga"), ("type", "text/plain"), ("month", "2026-03")]
)
def test_buckets_are_shown_by_what_they_have(olga: Shell, group: str, name: str) -> None:
    """With old versions."""
    assert name in olga.run("du", "--by", group).stdout
    assert name in olga.run("du", "--by", group, "--bucket", "album").stdout


def test_what_is_saved_is_said_once(olga: Shell) -> None:
    """To administrators, beside the buckets."""
    assert "Saved: 13 B because equal files are stored once" in olga.run("du", "--by", "bucket").stdout
    assert "Saved" not in olga.run("du", "--by", "bucket", "--bucket", "album").stdout
    assert "Saved" not in olga.run("du", "--by", "account").stdout
    assert "nothing is stored" in olga.run("du", "--by", "tenant").stdout
    assert olga.json("du", "--by", "day")["days"][0]["name"] == "2026-03-09"


@pytest.mark.parametrize("words", [("plans", "--by", "type"), ("--bucket", "album"), ("--by", "colour"), ("/x",)])
def test_what_makes_no_sense_is_refused(olga: Shell, words: tuple[str, ...]) -> None:
    olga.run("du", *words, code=2)
