"""Commands about access: who has it, why, and what is granted."""

from __future__ import annotations

import pytest

from lockstep_store.wire.messages.access import EVERYBODY
from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def olga(shell: Shell) -> Shell:
    shell.login("olga")
    return shell


def test_grants_are_made_changed_and_removed(olga: Shell) -> None:
    """One account at a time; the others stay."""
    olga.run("access", "grant", "album:in/", "ben", "read")
    olga.run("access", "grant", "album:in/", "ann", "manage")
    text = olga.run("access", "grant", "album:in/", "ben", "write").stdout
    assert olga.server.core.grants == {("album", "in/"): {"ben": "write", "ann": "manage"}}
    assert text.startswith("album:in/, not public\n")
    rows = {line.split()[0]: line for line in text.splitlines()[2:]}
    assert rows["ben"].split() == ["ben", "write", "a", "grant", "says", "so"]
    assert "may matter" in rows["ann"]
    assert rows["other"].split()[:3] == ["other", "accounts", "nothing"]
    olga.run("access", "revoke", "album:in/", "ben")
    assert olga.server.core.grants == {("album", "in/"): {"ann": "manage"}}


def test_everybody_is_let_in_and_out(olga: Shell) -> None:
    """A whole bucket, too."""
    assert ", public" in olga.run("access", "public", "album:").stdout
    assert olga.server.core.grants == {("album", ""): {EVERYBODY: "read"}}
    assert "not public" in olga.run("access", "public", "album:", "--off").stdout
    assert olga.json("access", "show", "album:")["public"] is False


def test_one_sees_what_others_have_granted(olga: Shell) -> None:
    """With the name to use, and the level."""
    assert "nobody has granted" in olga.run("access", "shared-with-me").stdout
    olga.run("access", "grant", "album:in/", "olga", "read")
    assert "album:in/" in olga.run("access", "shared-with-me").stdout
    assert olga.json("access", "shared-with-me")["items"][0]["level"] == "read"


@pytest.mark.parametrize(
    "words", [("grant", "f", "ben", "own"), ("grant", "../f", "ben", "read"), ("show", "/f"), ("grant", "f", "ben")]
)
def test_what_is_no_access_is_refused(olga: Shell, words: tuple[str, ...]) -> None:
    """Nothing is granted."""
    olga.run("access", *words, code=2)
    assert olga.server.core.grants == {}
