"""Commands about share links: what is made, listed and revoked, and what is no time, size or password."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep_store.wire.messages.shares import DAY_SECONDS, ShareLink
from tests.fakes.people_shares import NOW
from tests.unit.client.cli.command_shell import Shell


@pytest.fixture
def ann(shell: Shell) -> Shell:
    shell.login("ann")
    return shell


def made(shell: Shell) -> ShareLink:
    return shell.server.core.links[-1]


def test_a_link_is_made_and_its_address_printed(ann: Shell) -> None:
    """The address is the proxy's own with the token; without options the link reads and lasts 30 days."""
    text = ann.run("share", "create", "plans/roof.txt").stdout
    assert text.splitlines()[0] == f"{ann.server.url}/s/{'T' * 27}"
    link = made(ann)
    assert (link.bucket, link.path, link.mode, link.folder) == ("files", "plans/roof.txt", "read", False)
    assert link.expires_at == NOW + 30 * DAY_SECONDS
    assert link.id in text
    found = ann.json("share", "create", "album:", "--note", "for ben")
    assert found["address"].endswith("T" * 27)
    assert (made(ann).bucket, made(ann).path, made(ann).folder, made(ann).note) == ("album", "", True, "for ben")


def test_a_drop_box_has_bounds(ann: Shell) -> None:
    """Size and number are passed on."""
    ann.run("share", "create", "in/", "--upload", "--max-size", "100MiB", "--max-uses", "7", "--expires", "2y")
    link = made(ann)
    assert (link.mode, link.max_bytes, link.max_uses) == ("upload", 100 * 1024**2, 7)
    assert link.expires_at == NOW + 2 * 365.25 * DAY_SECONDS


@pytest.mark.parametrize(("time", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43200), ("2w", 14 * DAY_SECONDS)])
def test_a_time_has_a_unit(ann: Shell, time: str, seconds: float) -> None:
    """Seconds to years."""
    ann.run("share", "create", "f", "--expires", time)
    assert made(ann).expires_at == NOW + seconds


def test_never_is_a_time_too(ann: Shell) -> None:
    """The link then has no end."""
    assert "never expires" in ann.run("share", "create", "f", "--expires", "never").stdout
    assert made(ann).expires_at is None


def test_a_password_is_asked_for_or_read_from_a_file(ann: Shell, tmp_path: Path) -> None:
    """It is never an argument, where other people of the machine could see it."""
    ann.run("share", "create", "f", "--password", input="open sesame\n")
    file = tmp_path / "password"
    file.write_text("second line\nignored\n")
    ann.run("share", "create", "f", "--password-file", file)
    assert ann.server.core.link_passwords == ["open sesame", "second line"]
    ended = ann.run("share", "create", "f", "--password", code=2)
    assert "standard input ended before the link's password" in ended.stderr
    file.write_text("\n")
    ann.run("share", "create", "f", "--password-file", file, code=2)
    ann.run("share", "create", "f", "--password-file", file, "--password", code=2)


def test_links_are_listed_and_revoked(ann: Shell) -> None:
    """All pages of them, with what each is for; an unknown id is an error."""
    assert ann.run("share", "list").stdout == "no links\n"
    for name in ("a", "b/", "album:c", "d", "e"):
        ann.run("share", "create", name, "--max-uses", "3")
    rows = ann.run("share", "list").stdout.splitlines()
    assert len(rows) == 6
    assert "files:b/" in rows[2]
    assert "0/3" in rows[2]
    assert len(ann.json("share", "list", "--bucket", "album")["shares"]) == 1
    id = made(ann).id
    ann.run("share", "revoke", id)
    assert len(ann.json("share", "list")["shares"]) == 4
    ann.run("share", "revoke", id, code=3)


@pytest.mark.parametrize(
    "words",
    [
        ("create", "f", "--expires", "soon"),
        ("create", "f", "--expires", "0d"),
        ("create", "f", "--expires", "30"),
        ("create", "f", "--upload", "--max-size", "big"),
        ("create", "f", "--max-size", "1MiB"),
        ("create", "f", "--max-uses", "0"),
        ("create", "../f"),
        ("rule", "album", "sometimes"),
    ],
)
def test_what_is_no_link_is_refused_with_the_reason(ann: Shell, words: tuple[str, ...]) -> None:
    """Nothing is made."""
    result = ann.run("share", *words, code=2)
    assert result.stderr
    assert ann.server.core.links == []
