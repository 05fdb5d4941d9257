"""The `lockstep` command: what it does, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from blake3 import blake3
from click.testing import CliRunner, Result

from lockstep_store.client.cli import main
from lockstep_store.client.cli.exit_codes import ENDINGS, combined, exit_code
from lockstep_store.client.cli.names import parse_name
from lockstep_store.client.cli.programs import PROGRAMS
from lockstep_store.client.editing import NotSaved
from lockstep_store.client.local_storage import NameRefused
from lockstep_store.client.lock_holder import GivenUp
from lockstep_store.runtime.tls.certificate_authority import CertificateAuthority
from lockstep_store.runtime.tls.identity import JoinToken
from lockstep_store.wire import errors
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.cluster import EnrolReply, EnrolRequest
from tests import ROOT
from tests.fakes.people_core import ADMIN, ADMIN_PASSWORD
from tests.fakes.rest import RestServer
from tests.unit.people import noise, start_server

MIB = 1024 * 1024


class Shell:
    """One person's shell: a configuration of their own, and the command."""

    def __init__(self, server: RestServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.config = folder / "config"
        self.environment = {
            "LOCKSTEP_URL": server.url,
            "LOCKSTEP_CA": str(server.ca_file),
            "LOCKSTEP_CONFIG_DIR": str(self.config),
            "LOCKSTEP_LOCAL_STORAGE": str(folder / "local_storage"),
            "LOCKSTEP_API_KEY": None,
            "LOCKSTEP_PROFILE": None,
            "LOCKSTEP_CLUSTER_FILE": str(folder / "no-cluster.json"),
            "VISUAL": None,
            "EDITOR": None,
        }

    def run(self, *words: str | Path, input: str | bytes = "", code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], input=input, env=self.environment)
        assert result.exit_code == code, f"{words} ended with {result.exit_code}:\n{result.output}{result.exception!r}"
        assert "Traceback" not in result.output
        return result

    def json(self, *words: str | Path, **given: Any) -> Any:
        return json.loads(self.run(*words, "--json", **given).stdout)

    def login(self, name: str = "ann", password: str = "secret") -> None:
        self.run("login", name, input=f"{password}\n")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    server = start_server(tmp_path_factory)
    yield server
    server.close()


@pytest.fixture
def new_shell(server: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shell]:
    monkeypatch.chdir(tmp_path)
    return lambda name: Shell(server, tmp_path / name)


@pytest.fixture
def shell(new_shell: Callable[[str], Shell]) -> Shell:
    shell = new_shell("ann")
    shell.login()
    return shell


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in sorted(main.commands.items()):
        if command.hidden:
            continue
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in sorted(command.commands)]
    return found


# ---------------------------------------------------------------- help and documents


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself_and_is_in_the_documents(words: tuple[str, ...]) -> None:
    """Each command has help that begins with a sentence, and a row in docs/command-line.md."""
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
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


# ---------------------------------------------------------------- log-in


def test_log_in_is_remembered_for_its_owner_only(new_shell: Callable[[str], Shell]) -> None:
    """The token lies in a file of mode 0600 and is used by the next command; logging out ends it."""
    shell = new_shell("ann")
    result = shell.run("login", "ann", input="secret\n")
    assert "new account created" in result.stdout
    file = shell.config / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()
    assert "ann at" in shell.run("whoami").stdout
    token = next(iter(shell.server.core.tokens))
    shell.run("logout")
    assert token not in shell.server.core.tokens
    assert token not in file.read_text()
    assert "run `lockstep login` first" in shell.run("whoami", code=4).stderr
    assert "does not match" in shell.run("login", "ann", input="wrong\n", code=4).stderr
    assert "new account" not in shell.run("login", input="ann\nsecret\n").stdout


def test_a_token_is_not_shown_to_another_cluster(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same token goes to a proxy of the same authority, and never to one of another."""
    from tests.fakes.rest import make_identity

    stranger = RestServer(make_identity(tmp_path_factory.mktemp("stranger")))
    try:
        stranger.core.tokens |= shell.server.core.tokens
        shell.run("ls", "--url", stranger.url, "--ca", stranger.ca_file, code=4)
    finally:
        stranger.close()
    sibling = start_server(tmp_path_factory)
    try:
        sibling.core.tokens |= shell.server.core.tokens
        shell.run("ls", "--url", sibling.url)
    finally:
        sibling.close()


def test_profiles_live_side_by_side(shell: Shell) -> None:
    """A second log-in under another profile leaves the first alone."""
    shell.run("login", "bob", "--profile", "work", input="secret\n")
    assert "ann" in shell.run("whoami").stdout
    assert "bob" in shell.run("whoami", "--profile", "work").stdout


def test_a_running_cluster_is_found_and_its_administrator_logs_in_from_the_file(shell: Shell, tmp_path: Path) -> None:
    """Without --url and --ca, cluster.json says where to go; --credentials reads the file beside it."""
    shell.environment |= {"LOCKSTEP_URL": None, "LOCKSTEP_CA": None}
    shell.environment["LOCKSTEP_CLUSTER_FILE"] = str(tmp_path / "cluster.json")
    shell.environment["LOCKSTEP_CONFIG_DIR"] = str(tmp_path / "fresh")
    shell.run("ls", code=8)
    (tmp_path / "cluster.json").write_text(
        json.dumps(
            {
                "ca_file": str(shell.server.ca_file),
                "admin_credentials_file": "admin.json",
                "programs": [{"program": "client_proxy", "id": "1", "url": shell.server.url}],
            }
        )
    )
    (tmp_path / "admin.json").write_text(json.dumps({"username": ADMIN, "password": ADMIN_PASSWORD, "api_key": ""}))
    assert "administrator" in shell.run("login", "--credentials", tmp_path / "admin.json").stdout
    (tmp_path / "cluster.json").unlink()
    shell.run("ls")


def test_s3_keys_are_made_listed_rotated_and_revoked(shell: Shell) -> None:
    """The secret is shown once; a rotated key is another one under the same name."""
    made = shell.run("keys", "create", "laptop", "--s3")
    assert "aws_access_key_id = LS" in made.stdout
    assert "aws_secret_access_key = secret of LS" in made.stdout
    first = shell.json("keys", "list")["s3_keys"][0]
    assert "secret of" not in shell.run("keys", "list").output
    rotated = shell.json("keys", "rotate", "laptop")
    assert rotated["access_key_id"] != first["access_key_id"]
    assert "aws_session_token = session" in shell.run("keys", "create", "job", "--s3", "--valid", "600").stdout
    shell.run("keys", "revoke", "laptop")
    assert [key["name"] for key in shell.json("keys", "list")["s3_keys"]] == ["job"]
    shell.run("keys", "create", "x", "--valid", "600", code=2)


def test_api_keys_stand_in_for_a_log_in(shell: Shell) -> None:
    """A key is printed once, works from LOCKSTEP_API_KEY, and stops working when it is revoked."""
    secret = shell.run("keys", "create", "script").stdout.strip()
    assert secret.startswith("lsk_")
    assert secret not in shell.run("keys", "list").output
    shell.run("logout")
    shell.environment["LOCKSTEP_API_KEY"] = secret
    shell.run("ls")
    assert shell.json("keys", "list")["keys"][0]["name"] == "script"
    shell.run("keys", "revoke", "script")
    shell.run("ls", code=4)


def test_a_damaged_credentials_file_is_said(shell: Shell) -> None:
    """A file that cannot be read as JSON ends in one sentence that says what to do."""
    (shell.config / "credentials.json").write_text("{")
    assert "log in again" in shell.run("ls", code=8).stderr


# ---------------------------------------------------------------- files


def test_put_get_cat_ls_and_rm(shell: Shell, tmp_path: Path) -> None:
    """A file goes there, is listed with its facts, comes back equal, and is removed."""
    (tmp_path / "notes.txt").write_text("hello\n")
    result = shell.run("put", "notes.txt")
    assert "2/2 copies fsynced" in result.stdout
    shell.run("put", "notes.txt", "docs/")
    shell.run("put", "notes.txt", "docs/other.txt")
    assert shell.run("ls").stdout.split() == ["docs/notes.txt", "docs/other.txt", "notes.txt"]
    assert shell.run("ls", "docs/o").stdout.split() == ["docs/other.txt"]
    assert shell.run("ls", "--prefix", "no").stdout.split() == ["notes.txt"]
    assert shell.run("ls", "--folders").stdout.split() == ["docs/", "notes.txt"]
    detailed = shell.run("ls", "-l", "notes.txt").stdout
    assert "6 B" in detailed
    assert "ann" in detailed
    assert shell.run("cat", "notes.txt").stdout == "hello\n"
    shell.run("get", "docs/other.txt")
    assert (tmp_path / "other.txt").read_text() == "hello\n"
    (tmp_path / "into").mkdir()
    shell.run("get", "notes.txt", "into")
    assert (tmp_path / "into" / "notes.txt").read_text() == "hello\n"
    assert "already" in shell.run("get", "notes.txt", "into").stdout
    shell.run("rm", "notes.txt")
    shell.run("cat", "notes.txt", code=3)
    shell.run("rm", "notes.txt", code=3)
    shell.run("rm", "-r", "docs")
    assert shell.run("ls").stdout == ""


def test_binary_content_passes_through_pipes_unchanged(shell: Shell) -> None:
    """Standard input and output carry bytes, of any kind and without a known length."""
    data = noise(1, 3 * MIB)
    shell.run("put", "-", "bin", input=data)
    assert shell.run("cat", "bin").stdout_bytes == data
    assert shell.run("get", "bin", "-").stdout_bytes == data


def test_trees_go_there_and_back(shell: Shell, tmp_path: Path) -> None:
    """put -r and get -r move whole folders; a second run finds everything in place."""
    for name in ("tree/a.txt", "tree/sub/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert shell.json("put", "-r", "tree")["moved"] == 2
    assert "2 already there" in shell.run("put", "-r", "tree").stdout
    shell.run("get", "-r", "tree", "copy")
    assert (tmp_path / "copy" / "sub" / "b.txt").read_text() == "tree/sub/b.txt"
    shell.run("put", "tree", code=8)


def test_a_tree_with_names_that_lead_outside_ends_with_its_own_code(shell: Shell, tmp_path: Path) -> None:
    """get -r leaves such names alone, names them, and says so by its exit code."""
    shell.server.core.save("t//x", b"")
    result = shell.run("get", "-r", "t", "target", code=8)
    assert "t//x" in result.stderr
    assert not list((tmp_path / "target").rglob("*")) if (tmp_path / "target").exists() else True


def test_cp_mv_versions_and_restore(shell: Shell, tmp_path: Path) -> None:
    """Copies and moves happen in the cluster; an old version becomes current again, also after a removal."""
    for text in ("one", "two"):
        (tmp_path / "f").write_text(text)
        shell.run("put", "f")
    shell.run("cp", "f", "g")
    shell.run("mv", "g", "folder/")
    assert shell.run("ls").stdout.split() == ["f", "folder/g"]
    first = shell.json("versions", "f")["versions"][-1]["version"]
    assert shell.run("cat", "--version", first, "f").stdout == "one"
    shell.run("rm", "f")
    shell.run("restore", "f", first)
    assert shell.run("cat", "f").stdout == "one"
    shell.run("restore", "f", "no-such-version", code=3)
    shell.run("restore", "f", "v0", code=3)


def test_conditions_are_kept(shell: Shell, tmp_path: Path) -> None:
    """--new and --if-match write only if what they say is true."""
    (tmp_path / "f").write_text("one")
    digest = shell.json("digest", "f")["digest"]
    shell.run("put", "--new", "f")
    shell.run("put", "--new", "f", code=6)
    (tmp_path / "f").write_text("two")
    shell.run("put", "--if-match", digest, "f")
    shell.run("put", "--if-match", digest, "f", code=6)
    shell.run("put", "--if-match", "nonsense", "f", code=2)


def test_digest_agrees_with_b3sum(shell: Shell, tmp_path: Path) -> None:
    """Of a small file the digest is BLAKE3 of its bytes; no cluster is asked."""
    (tmp_path / "f").write_bytes(b"abc")
    before = len(shell.server.requests)
    assert shell.run("digest", "f").stdout.split() == [blake3(b"abc").hexdigest(), "f"]
    assert len(shell.server.requests) == before
    shell.run("digest", "absent", code=8)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("put", ".", "x/"), 8, ". is a folder: send it with -r"),
        (("put", ".."), 8, ".. is a folder: send it with -r"),
        (("put", "-"), 2, "standard input has no name"),
        (("get", "files:"), 2, "files: is a bucket: give a file in it"),
        (("rm", "files:"), 2, "files: is a bucket: `lockstep buckets delete`"),
        (("get", "-r", "misspelt", "there"), 3, "there is no file below files:misspelt/"),
    ],
)
def test_a_wrong_name_is_called_what_it_is(shell: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    """The sentence is about what was typed, and what is not there does not look like something done."""
    assert said in shell.run(*words, code=code).stderr


def test_several_files_need_a_folder(shell: Shell, tmp_path: Path) -> None:
    """Two files are not saved under one name."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    shell.run("put", "a", "b", "c", code=2)
    shell.run("put", "a", "b", "c/")
    assert shell.run("ls").stdout.split() == ["c/a", "c/b"]


def test_buckets(shell: Shell, tmp_path: Path) -> None:
    """Buckets are made, listed, changed, used by name, and deleted when they are empty."""
    (tmp_path / "f").write_text("x")
    shell.run("buckets", "create", "photos", "--versioning", "off")
    shell.run("buckets", "create", "photos", code=6)
    shell.run("buckets", "create", "UPPER", code=2)
    assert {one["name"] for one in shell.json("buckets", "list")["buckets"]} == {"files", "photos"}
    shell.run("put", "f", "photos:")
    assert shell.run("ls", "photos:").stdout.split() == ["f"]
    assert shell.json("buckets", "change", "photos", "--shared", "--versioning", "enabled")["shared"] is True
    shell.run("buckets", "delete", "photos", code=6)
    shell.run("buckets", "create", "empty1")
    shell.run("buckets", "delete", "empty1")
    shell.run("buckets", "delete", "empty1", code=3)


# ---------------------------------------------------------------- locks and edit


def test_a_lock_is_used_by_the_commands_after_it(
    shell: Shell, new_shell: Callable[[str], Shell], tmp_path: Path
) -> None:
    """The holder writes under the lock without naming it; everyone else is refused and told by whom."""
    (tmp_path / "f").write_text("mine")
    shell.run("lock", "f", "g")
    bob = new_shell("bob")
    bob.login("bob")
    assert "ann" in bob.run("put", "f", code=5).stderr
    assert "ann" in bob.run("lock", "g", code=5).stderr
    bob.run("unlock", "f", code=3)
    shell.run("put", "f")
    assert shell.server.core.history["files", "f"][-1].lock_number == 1
    assert "f and 1 more" in shell.run("locks", "--mine").stdout
    shell.run("unlock", "f")
    bob.run("put", "f")
    assert shell.json("locks")["locks"] == []


def test_a_lock_that_is_over_refuses_once(shell: Shell, tmp_path: Path) -> None:
    """After the lock ended, the first write is refused so that nothing is overwritten unseen; then it is forgotten."""
    (tmp_path / "f").write_text("late")
    lock = shell.json("lock", "f")
    shell.server.core.drop_lock(lock["id"])
    assert "dropped" in shell.run("put", "f", code=6).stderr
    shell.run("put", "f")


def test_put_release_gives_the_lock_back(shell: Shell, tmp_path: Path) -> None:
    """A put with --release ends the lock in the same commit."""
    (tmp_path / "f").write_text("x")
    shell.run("lock", "f")
    shell.run("put", "--release", "f")
    assert shell.server.core.locks == {}
    shell.run("put", "f")


def test_a_lock_is_held_while_a_command_runs(shell: Shell, tmp_path: Path) -> None:
    """The command finds the number in its environment, its exit code is ours, and the lock is given back."""
    script = "import os, sys; open('seen', 'w').write(os.environ['LOCKSTEP_LOCK']); sys.exit(7)"
    shell.run("lock", "f", "--", sys.executable, "-c", script, code=7)
    assert (tmp_path / "seen").read_text() == "1"
    assert shell.server.core.locks == {}
    shell.run("lock", "f", "--", "no-such-program-here", code=8)
    assert shell.server.core.locks == {}


def test_an_administrator_breaks_a_lock(shell: Shell, new_shell: Callable[[str], Shell], tmp_path: Path) -> None:
    """Only an administrator can; afterwards the broken holder's write is refused."""
    (tmp_path / "f").write_text("x")
    shell.run("lock", "f")
    bob = new_shell("bob")
    bob.login("bob")
    bob.run("locks", "--break", "f", code=4)
    admin = new_shell("admin")
    admin.login(ADMIN, ADMIN_PASSWORD)
    assert "broke the lock of ann" in admin.run("locks", "--break", "f").stdout
    shell.run("put", "f", code=6)
    admin.run("locks", "--break", "f", code=3)


def editor(folder: Path, script: str) -> str:
    """An editor that runs `script` on the file, which it finds in `path`."""
    program = folder / "editor.py"
    program.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[-1])\n{script}\n")
    return f"{sys.executable} {program}"


def test_edit_saves_what_changed_and_releases(shell: Shell, tmp_path: Path) -> None:
    """The editor gets the content, the change is shown, saved under the lock and the lock is given back."""
    shell.server.core.save("notes.txt", b"one\ntwo\n")
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text(path.read_text().replace('two', 'TWO'))")
    result = shell.run("edit", "notes.txt")
    assert "-two" in result.stdout
    assert "+TWO" in result.stdout
    assert "1 line added, 1 line removed" in result.stdout
    assert shell.server.core.content("notes.txt") == b"one\nTWO\n"
    assert shell.server.core.history["files", "notes.txt"][-1].lock_number == 1
    assert shell.server.core.locks == {}


def test_edit_without_a_change_only_releases(shell: Shell, tmp_path: Path) -> None:
    """No version is made of an edit that changed nothing, nor of a new file left empty."""
    shell.server.core.save("notes.txt", b"one\n")
    shell.environment["EDITOR"] = editor(tmp_path, "pass")
    assert "nothing changed" in shell.run("edit", "notes.txt").stdout
    shell.run("edit", "new.txt")
    assert len(shell.server.core.history) == 1
    assert shell.server.core.locks == {}


def test_edit_makes_a_new_file(shell: Shell, tmp_path: Path) -> None:
    """A name that does not exist yet begins empty."""
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text('fresh')")
    assert "created" in shell.run("edit", "folder/new.txt").stdout
    assert shell.server.core.content("folder/new.txt") == b"fresh"


def test_an_edit_that_cannot_be_saved_is_kept(shell: Shell, tmp_path: Path) -> None:
    """When the lock is lost meanwhile, the edit lies in local storage and the message says where."""
    shell.server.core.save("notes.txt", b"one\n")
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text('precious work')")

    def the_lease_ends() -> None:
        for lock in list(shell.server.core.locks):
            shell.server.core.drop_lock(lock)

    shell.server.core.before_commit = the_lease_ends
    result = shell.run("edit", "notes.txt", code=6)
    (kept,) = (shell.folder / "local_storage").iterdir()
    assert kept.read_text() == "precious work"
    assert str(kept) in result.stderr
    assert shell.server.core.content("notes.txt") == b"one\n"


def test_an_editor_that_fails_saves_nothing(shell: Shell, tmp_path: Path) -> None:
    """A failed editor ends in a sentence; what it had changed is kept; no editor at all is said too."""
    shell.server.core.save("notes.txt", b"one\n")
    shell.run("edit", "notes.txt", code=8)
    shell.environment["EDITOR"] = editor(tmp_path, "path.write_text('half done'); sys.exit(3)")
    shell.run("edit", "notes.txt", code=8)
    (kept,) = (shell.folder / "local_storage").iterdir()
    assert kept.read_text() == "half done"
    assert shell.server.core.content("notes.txt") == b"one\n"
    assert shell.server.core.locks == {}


# ---------------------------------------------------------------- the cluster


def test_status_shows_the_cluster_or_at_least_the_proxy(shell: Shell) -> None:
    """With a log-in all servers are shown, without one the proxy's health and what to do."""
    text = shell.run("status").stdout
    assert "1 of 1 file server up" in text
    assert "every file has its copies" in text
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    assert shell.json("status")["cluster"]["copies"] == 2
    shell.run("logout")
    assert "log in" in shell.run("status").stdout


def test_nobody_there_is_unavailable(shell: Shell) -> None:
    """A proxy that does not run ends in one sentence and the code for it."""
    result = shell.run("ls", "--url", "https://127.0.0.1:1", code=7)
    assert result.stderr.count("\n") == 1
    assert "does not answer" in result.stderr


def test_a_missing_ca_file_is_said(shell: Shell, tmp_path: Path) -> None:
    """A CA file that does not exist is named."""
    assert "no-such.pem" in shell.run("ls", "--ca", "no-such.pem", code=8).stderr


def test_certs_are_shown_checked_and_renewed(shell: Shell, tmp_path: Path) -> None:
    """`show` reads files, `check` makes a verified handshake with each program, `renew` extends what is here."""
    certs = shell.server.ca_file.parent
    assert "client_proxy 1" in shell.run("certs", "show", "--certs", certs).stdout
    (tmp_path / "cluster.json").write_text(
        json.dumps(
            {
                "ca_file": str(certs / "ca.pem"),
                "admin_credentials_file": "",
                "programs": [{"program": "client_proxy", "id": "1", "url": shell.server.url}],
            }
        )
    )
    shell.environment["LOCKSTEP_CLUSTER_FILE"] = str(tmp_path / "cluster.json")
    elsewhere, shell.server.core.servers = shell.server.core.servers, []
    text = shell.run("certs", "check").stdout
    assert "TLSv1.3" in text
    assert "days left" in text
    assert "CN=client_proxy-1" in text
    before = (certs / "client_proxy-1" / "cert.pem").read_bytes()
    assert shell.json("certs", "renew")["renewed"][0]["name"] == "client_proxy 1"
    assert (certs / "client_proxy-1" / "cert.pem").read_bytes() != before
    shell.server.core.servers = elsewhere
    assert "file_server 1 127.0.0.1:5060" in shell.run("certs", "check", code=7).stdout
    shell.server.close()
    result = shell.run("certs", "check", code=7)
    assert "FAILED" in result.stdout
    assert "refused the connection" in result.stdout


def test_another_machine_joins_with_a_token(shell: Shell, new_shell: Callable[[str], Shell], tmp_path: Path) -> None:
    """invite prints a token; join checks the proxy by the CA inside it and files a certificate that fits its key."""
    core, certs = shell.server.core, shell.server.ca_file.parent
    authority = CertificateAuthority.load(certs)

    def enrol(request: EnrolRequest) -> EnrolReply:
        return EnrolReply(
            ca_pem=authority.ca_pem,
            cert_pem=authority.sign_request(request.csr_pem, request.role, request.id, request.hosts),
            peer_token=authority.peer_token(request.role, request.id),
            storage_keys_json=(certs / "storage-keys.json").read_text(),
            directory_url="https://127.0.0.1:5050",
        )

    core.enrol_reply = enrol
    shell.run("invite", code=4)
    admin = new_shell("admin")
    admin.login(ADMIN, ADMIN_PASSWORD)
    result = admin.run("invite", "--valid", "600")
    token = result.stdout.strip()
    assert JoinToken.decode(token).url == shell.server.url
    assert "this machine only" in result.stderr
    machine = new_shell("machine")
    joined = machine.json("join", token, "--id", "9", "--host", "127.0.0.1", "--certs", tmp_path / "theirs")
    assert joined["role"] == "file_server"
    assert "https://127.0.0.1:5050" in joined["command"]
    assert (tmp_path / "theirs" / "file_server-9" / "key.pem").stat().st_mode & 0o077 == 0
    core.enrol_reply = None
    machine.run("join", token, "--id", "10", "--certs", tmp_path / "theirs", code=4)
    machine.run("join", token[:-5], code=8)


def test_serve_starts_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """serve replaces itself by the program, with every option passed on."""
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, command: started.append(command))
    for word, module in PROGRAMS.items():
        CliRunner().invoke(main, ["serve", word, "--port", "1", "--help"])
        assert started.pop()[1:] == ["-m", module, "--port", "1", "--help"]
    assert CliRunner().invoke(main, ["serve", "nothing"]).exit_code == 2


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell_name: str) -> None:
    """Each script completes the command `lockstep`."""
    if shell_name == "bash" and os.name != "posix":
        pytest.skip("bash is for POSIX")
    result = CliRunner().invoke(main, ["completion", shell_name])
    assert result.exit_code == 0
    assert "lockstep" in result.stdout


def test_remote_names_are_completed(shell: Shell) -> None:
    """A shell that asks gets files and folders that begin like what was typed."""
    for path in ("notes.txt", "notes/deep/x", "other"):
        shell.server.core.save(path, b"")
    shell.environment |= {
        "_LOCKSTEP_COMPLETE": "bash_complete",
        "COMP_WORDS": "lockstep cat no",
        "COMP_CWORD": "2",
    }
    result = CliRunner().invoke(main, [], env=shell.environment, prog_name="lockstep")
    assert [line.partition(",")[2] for line in result.stdout.split()] == ["notes/", "notes.txt"]


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


def test_the_command_starts_as_a_module() -> None:
    """`python -m lockstep_store.client.cli` is the same command."""
    result = subprocess.run(
        [sys.executable, "-m", "lockstep_store.client.cli", "--version"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert result.stdout.startswith("lockstep, version")
