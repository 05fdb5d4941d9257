"""Commands about the facts of files: lockstep describe, lockstep tag."""

from __future__ import annotations

import pytest

from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def olga(shell: Shell) -> Shell:
    shell.login("olga")
    shell.server.core.save("offer.txt", b"content").metadata["origin"] = "scan"
    return shell


def test_a_file_is_described_until_the_description_is_removed(olga: Shell) -> None:
    """Every line of it is shown, beside what else is known; there is no new version."""
    olga.run("tag", "offer.txt", "team=roof")
    olga.run("describe", "offer.txt", "Offer for the roof\nsecond line")
    lines = olga.run("describe", "offer.txt").stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:3]] == [
        ["description", "Offer for the roof"],
        ["second", "line"],
        ["tags", "team=roof"],
    ]
    assert ["metadata", "origin", "scan"] in [line.split() for line in lines]
    assert olga.json("describe", "offer.txt")["description"] == "Offer for the roof\nsecond line"
    assert len(olga.server.core.history["files", "offer.txt"]) == 1
    olga.run("describe", "offer.txt", "--remove")
    assert olga.json("describe", "offer.txt")["description"] == ""
    assert "-" in olga.run("describe", "offer.txt").stdout.splitlines()[0]


def test_tags_are_set_shown_and_removed(olga: Shell) -> None:
    """One by one; the others stay, unless they are cleared."""
    assert olga.run("tag", "offer.txt").stdout == "no tags\n"
    assert olga.run("tag", "offer.txt", "team=roof", "draft", "x=a=b").stdout == "draft\nteam=roof\nx=a=b\n"
    assert olga.run("tag", "offer.txt", "team=floor", "-r", "draft").stdout == "team=floor\nx=a=b\n"
    assert olga.json("tag", "offer.txt")["tags"] == {"team": "floor", "x": "a=b"}
    assert olga.run("tag", "offer.txt", "new", "--clear").stdout == "new\n"
    assert olga.run("tag", "offer.txt", "--clear").stdout == "no tags\n"


@pytest.mark.parametrize(
    "words",
    [
        ("describe", "offer.txt", "text", "--remove"),
        ("describe", "offer.txt", "  "),
        ("describe", "../offer.txt", "text"),
        ("tag", "offer.txt", "=value"),
        ("tag", "offer.txt", "a=1", "a=2"),
        ("tag", "offer.txt", "a=1", "-r", "a"),
    ],
)
def test_what_makes_no_sense_is_refused(olga: Shell, words: tuple[str, ...]) -> None:
    """Nothing is changed."""
    olga.run(*words, code=2)
    assert olga.server.core.facts == {}


def test_a_missing_file_has_no_facts(olga: Shell) -> None:
    """As for every command."""
    assert "no file" in olga.run("describe", "none", code=3).stderr
