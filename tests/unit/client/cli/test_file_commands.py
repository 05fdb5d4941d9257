"""Commands about files and buckets."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from tests.unit.client.cli.command_shell import Shell
from tests.unit.people import noise

MIB = 1024 * 1024


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
    shell.run("rm", "docs/notes.txt", "docs/other.txt")
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
        (("get", "-r", "misspelt", "there"), 3, "there are no files below files:misspelt/"),
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
