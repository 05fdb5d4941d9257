"""Exit codes, and failures of every kind as one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lockstep_store.client.cli import main
from lockstep_store.client.cli.exit_codes import ENDINGS, combined, exit_code
from lockstep_store.client.cli.names import parse_name
from lockstep_store.client.editing import NotSaved
from lockstep_store.client.local_storage import NameRefused
from lockstep_store.client.lock_holder import GivenUp
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadName
from tests import ROOT
from tests.unit.client.cli.command_shell import Shell

CONTEXT = click.Context(main)


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in main.list_commands(CONTEXT):
        command = main.get_command(CONTEXT, name)
        assert command is not None
        if command.hidden:
            continue
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in sorted(command.commands)]
    return found


def test_each_command_is_found_under_its_own_name() -> None:
    """The table of commands and the commands themselves say the same; a former name is of the same command."""
    names = main.list_commands(CONTEXT)
    assert [getattr(main.get_command(CONTEXT, name), "name", None) for name in names] == names
    former, present = (main.get_command(CONTEXT, name) for name in ("join-token", "invite"))
    assert former is not None
    assert present is not None
    assert (former.hidden, former.callback) == (True, present.callback)
    assert not present.hidden
    assert main.get_command(CONTEXT, "joint") is None


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself_and_is_in_the_documents(words: tuple[str, ...]) -> None:
    """Each command has help that begins with a sentence, and a row in docs/command-line.md."""
    command: click.Command | None = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(CONTEXT, word)
    assert command is not None
    if command.context_settings.get("help_option_names") == []:
        # It becomes the program that it names, which shows its own help: here it would take the place of the test run.
        lockstep = [sys.executable, "-P", "-m", "lockstep_store.client.cli"]
        shown = subprocess.run([*lockstep, *words, "--help"], capture_output=True, text=True, check=True).stdout
    else:
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0
        shown = result.output
    assert "usage" in shown.lower()
    assert (command.help or "").strip()[0].isupper()
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    assert f"| `{' '.join(words)}" in page, f"docs/command-line.md has no row for {' '.join(words)}"


def test_the_exit_codes_are_one_table() -> None:
    """--help and the document list every code with the same words."""
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    shown = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    for ending in ENDINGS:
        assert f"| {ending.code} | {ending.meaning} |" in page
        assert f"{ending.code} {ending.meaning}" in shown
    assert len({ending.code for ending in ENDINGS}) == len(ENDINGS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadName("x"), 2),
        (errors.NotFound("x"), 3),
        (errors.NotLoggedIn("x"), 4),
        (errors.PeerRefused("x"), 4),
        (errors.Locked("x"), 5),
        (GivenUp("x"), 5),
        (errors.LockStale("x"), 6),
        (errors.PreconditionFailed("x"), 6),
        (errors.AlreadyExists("x"), 6),
        (errors.TooFewHolders("x"), 7),
        (errors.PeerUnreachable("x"), 7),
        (NameRefused("x"), 8),
        (errors.SetupError("x"), 8),
        (errors.DamagedChunk("x"), 9),
        (errors.BadDigest("x"), 9),
        (errors.InternalError("x"), 1),
        (NotSaved(errors.Locked("x"), Path("kept")), 5),
    ],
)
def test_each_refusal_has_its_exit_code(error: errors.LockstepError, code: int) -> None:
    """The nearest row of the table decides; an edit that was not saved ends like its reason."""
    assert exit_code(error) == code


def test_several_failures_share_a_code_only_if_they_agree() -> None:
    """A script can tell "all were locked" from "several things went wrong"."""
    assert combined([errors.Locked("a"), errors.Locked("b")]) == 5
    assert combined([errors.Locked("a"), errors.NotFound("b")]) == 1


@pytest.mark.parametrize(
    ("text", "bucket", "path"),
    [
        ("a/b.txt", "files", "a/b.txt"),
        ("other:x", "other", "x"),
        ("files:a:b", "files", "a:b"),
        ("ü 🦊", "files", "ü 🦊"),
    ],
)
def test_a_name_is_a_path_or_a_bucket_and_a_path(text: str, bucket: str, path: str) -> None:
    """The first colon separates the bucket from the path."""
    assert parse_name(text) == (bucket, path)


@pytest.mark.parametrize("text", ["", "/abs", "../up", "B:x", "api:x", "files:", "a\nb", "x" * 1025])
def test_a_bad_name_is_refused_before_anything_is_asked(shell: Shell, text: str) -> None:
    """A name that cannot be is a usage error, and no request is made."""
    with pytest.raises(BadName):
        parse_name(text)
    before = len(shell.server.requests)
    shell.run("cat", text, code=2)
    assert len(shell.server.requests) == before


def test_nobody_there_is_unavailable(shell: Shell) -> None:
    """A proxy that does not run ends in one sentence and the code for it."""
    result = shell.run("ls", "--url", "https://127.0.0.1:1", code=7)
    assert result.stderr.count("\n") == 1
    assert "does not answer" in result.stderr


def test_a_missing_ca_file_is_said(shell: Shell, tmp_path: Path) -> None:
    """A CA file that does not exist is named."""
    assert "no-such.pem" in shell.run("ls", "--ca", "no-such.pem", code=8).stderr


def test_an_interruption_has_its_own_code(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and without a traceback."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lockstep_store.client.client.Client.list_pages", interrupted)
    assert "interrupted" in shell.run("ls", code=130).stderr


def test_a_defect_is_one_sentence_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even what nobody foresaw ends without a traceback, and says how to see it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("lockstep_store.client.client.Client.list_pages", broken)
    result = shell.run("ls", code=1)
    assert "ZeroDivisionError" in result.stderr
    assert "LOCKSTEP_DEBUG" in result.stderr
